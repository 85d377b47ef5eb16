#include "steadfast/model/onnx_reader.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "steadfast/base/error.h"
#include "steadfast/model/inspect.h"  // ParseBoundedJson
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/dequantize.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/rearrange.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

constexpr const char* kTensorsKey = "steadfast.tensors";
constexpr int64_t kPerChannelOpset = 13;  // before it QuantizeLinear and DequantizeLinear take one scale

std::string WithoutSuffix(const std::string& name, const std::string& suffix) {
  return name.size() > suffix.size() && name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : name;
}

// The operators of AllOperators by the type of node that they are read from.
const OnnxForm* FormOf(const std::string& type) {
  for (const OperatorDefinition* definition : AllOperators()) {
    for (const OnnxForm& form : definition->onnx_forms) {
      if (form.type == type) return &form;
    }
  }
  return nullptr;
}

// How many dimensions of size 1 a constant needs behind the channel to meet a value of this shape.
int TrailingDims(const ValueShape& shape) {
  return shape.flat ? 0 : 2;
}

// The format of a tensor of float16 or bfloat16.
std::optional<StorageFormat> FormatOfHalves(const onnx::TensorProto& tensor) {
  StorageFormat format;
  format.kind = StorageFormat::Kind::kFloat16;
  if (tensor.data_type() == onnx::TensorProto::FLOAT16) return format;
  format.kind = StorageFormat::Kind::kBfloat16;
  if (tensor.data_type() == onnx::TensorProto::BFLOAT16) return format;
  return std::nullopt;
}

// Whether a code stands for the same number under both, so that quantizing again changes nothing.
bool IsSameGrid(const ActivationCoding& a, const ActivationCoding& b) {
  return a.scale == b.scale && a.is_signed == b.is_signed &&
         a.zero_point + a.stored_offset() == b.zero_point + b.stored_offset();
}

// The width that bounds of codes say (QCDQ), with what they cut off of it.
std::optional<OnnxForms::StoredCodes> WidthOf(bool is_signed, int lowest, int highest) {
  for (int bits = 1; bits <= 8; ++bits) {
    const int first = is_signed ? -(1 << (bits - 1)) : 0, last = first + (1 << bits) - 1;
    if (highest == last && lowest == first) return OnnxForms::StoredCodes{bits, false, {}};
    if (highest == last && is_signed && bits > 1 && lowest == first + 1) return OnnxForms::StoredCodes{bits, true, {}};
  }
  return std::nullopt;
}

}  // namespace

OnnxReader::OnnxReader(const onnx::ModelProto& proto, const std::string& file, OnnxForms forms)
    : proto_(proto),
      source_{file, OpsetOf(proto, file)},
      newest_{file, kNewestOpset},
      forms_(std::move(forms)),
      tensors_(std::make_unique<nlohmann::json>()) {}
OnnxReader::~OnnxReader() = default;

QuantizedModel OnnxReader::Read() {
  const auto& graph = proto_.graph();
  model_.name = graph.name();
  for (const auto& entry : proto_.metadata_props()) {
    if (entry.key() != kTensorsKey)
      model_.metadata[entry.key()] = entry.value();
    else
      ReadTensorMetadata(entry.value());
  }
  if (graph.sparse_initializer_size() > 0) source_.Fail("graph", "has sparse initializers, which are not read");
  for (const auto& tensor : graph.initializer()) Define(tensor.name(), Constant{&tensor}, "initializer");
  model_.profile = forms_.profile;
  model_.format = forms_.format;
  model_.constant_scales = forms_.constant_scales;
  if (!proto_.producer_name().empty())
    model_.format += fmt::format(", by {}{}{}", proto_.producer_name(), proto_.producer_version().empty() ? "" : " ",
                                 proto_.producer_version());
  for (const auto& node : graph.node()) {
    for (const std::string& input : node.input()) users_[input].push_back(&node);
  }
  FindTail();
  ReadInput();
  for (const auto& node : graph.node()) {
    if (std::find(tail_.begin(), tail_.end(), &node) != tail_.end()) continue;
    const bool is_made = node.output_size() == 1 && forms_.made.contains(node.output(0));
    ReadNode(OnnxNode(node, is_made ? newest_ : source_));
  }
  ReadOutput();
  AddActivationScales();
  for (const Node& node : model_.nodes) {
    const auto& coding = model_.value(node.output).coding;
    if (!node.operation.definition().is_requantization || !coding) continue;
    const auto* pool = node.operation.As<AveragePool>();
    needs_reading_2_ |= coding->zero_point != 0 ||
                        (pool != nullptr && RequantizationOfMean(model_, node, pool->elements()).divisor != 1);
  }
  if (needs_reading_2_) model_.reading = 2;
  if (needs_reading_3_) model_.reading = 3;
  try {
    Validate(model_);
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", source_.file, error.what()));
  }
  return std::move(model_);
}

// ---- metadata of tensors ----

void OnnxReader::ReadTensorMetadata(const std::string& text) {
  *tensors_ = ParseBoundedJson(text);
  if (!tensors_->is_object()) source_.Fail(fmt::format("metadata {}", kTensorsKey), "is not a JSON object");
}

// An integer of a tensor's metadata, or the default.
int OnnxReader::TensorInt(const std::string& tensor, const char* key, int otherwise) const {
  if (!tensors_->is_object() || !tensors_->contains(tensor)) return otherwise;
  const auto& entry = tensors_->at(tensor);
  if (!entry.is_object() || !entry.contains(key)) return otherwise;
  if (!entry.at(key).is_number_integer() && !entry.at(key).is_boolean()) {
    source_.Fail(fmt::format("metadata {}", kTensorsKey), fmt::format("{}.{} is not a number", tensor, key));
  }
  const auto number = entry.at(key).is_boolean() ? int64_t{entry.at(key).get<bool>()} : entry.at(key).get<int64_t>();
  if (number < -65536 || number > 65536)
    source_.Fail(fmt::format("metadata {}", kTensorsKey), fmt::format("{}.{} is {}", tensor, key, number));
  return static_cast<int>(number);
}

int OnnxReader::LevelMultiplier(const std::string& tensor) const {
  if (!tensors_->is_object() || !tensors_->contains(tensor) || !tensors_->at(tensor).is_object()) return 1;
  const auto level = tensors_->at(tensor).value("level", nlohmann::json());
  if (level.is_null()) return 1;
  if (!level.is_array() || level.size() != 2 || !level[0].is_number_integer() || (level[0] != 1 && level[0] != 2)) {
    source_.Fail(fmt::format("metadata {}", kTensorsKey), fmt::format("{}.level must be [1 or 2, offset]", tensor));
  }
  return level[0].get<int>();
}

// ---- names ----

void OnnxReader::Define(const std::string& name, Meaning meaning, const std::string& where) {
  if (!meanings_.emplace(name, std::move(meaning)).second)
    source_.Fail(where, fmt::format("defines '{}' a second time", name));
}

const OnnxReader::Meaning& OnnxReader::Lookup(const OnnxNode& node, int input) const {
  const auto found = meanings_.find(node.input(input));
  if (found == meanings_.end()) node.Fail(fmt::format("input '{}' is not defined before it", node.input(input)));
  return found->second;
}

template <typename T>
const T& OnnxReader::Expect(const OnnxNode& node, int input, const char* what) const {
  const Meaning& meaning = Lookup(node, input);
  if (const T* found = std::get_if<T>(&meaning)) return *found;
  node.Fail(fmt::format("input '{}' is not {}", node.input(input), what));
}

float OnnxReader::Scalar(const OnnxNode& node, int input, const char* what) const {
  const auto values = FloatsOf(*Expect<Constant>(node, input, what).tensor, source_);
  if (values.size() != 1) node.Fail(fmt::format("{} has {} values, expected 1", what, values.size()));
  return values[0];
}

// Whether a value of these channels, rows and columns lies as it did.
bool OnnxReader::LiesAsBefore(const Moved& moved) const {
  const ValueShape& shape = value(moved.value).shape;
  return moved.groups == shape.channels && shape.height == 1 && !moved.transposed;
}

int OnnxReader::RealValue(const OnnxNode& node, int input) {
  if (const auto* viewed = std::get_if<Viewed>(&Lookup(node, input)); viewed != nullptr && !viewed->is_codes) {
    const std::string name = WithoutSuffix(node.input(input), ".real");
    const int value = Rearranged(node, *viewed, name, name);
    meanings_.insert_or_assign(node.input(input), Real{value});
    return value;
  }
  if (const auto* moved = std::get_if<Moved>(&Lookup(node, input)); moved != nullptr && LiesAsBefore(*moved))
    return moved->value;
  return Expect<Real>(node, input, "a dequantized value").value;
}
int OnnxReader::RealWeights(const OnnxNode& node, int input) const {
  const auto& levels = Expect<WeightLevels>(node, input, "dequantized weights");
  if (levels.is_transposed)
    node.Fail(fmt::format("input '{}' is transposed, which is not taken here", node.input(input)));
  return levels.weight;
}
OnnxReader::Matrix OnnxReader::RealMatrix(const OnnxNode& node, int input) const {
  const auto& levels = Expect<WeightLevels>(node, input, "dequantized weights");
  return {levels.weight, levels.is_transposed};
}
bool OnnxReader::IsRealValue(const OnnxNode& node, int input) const {
  const auto* moved = std::get_if<Moved>(&Lookup(node, input));
  const auto* viewed = std::get_if<Viewed>(&Lookup(node, input));
  return std::holds_alternative<Real>(Lookup(node, input)) || (viewed != nullptr && !viewed->is_codes) ||
         (moved != nullptr && LiesAsBefore(*moved));
}

// ---- input and output ----

void OnnxReader::ReadInput() {
  const auto& graph = proto_.graph();
  const onnx::ValueInfoProto* input = nullptr;
  for (const auto& candidate : graph.input()) {
    if (meanings_.contains(candidate.name())) continue;  // old files list initializers among the inputs
    if (input != nullptr) source_.Fail("graph", "has more than one input");
    input = &candidate;
  }
  if (input == nullptr) source_.Fail("graph", "has no input");
  const auto& type = input->type().tensor_type();
  const std::string where = fmt::format("input '{}'", input->name());
  model_.real_input = type.elem_type() == onnx::TensorProto::FLOAT;
  const bool is_int8 = type.elem_type() == onnx::TensorProto::INT8;
  if (type.elem_type() != onnx::TensorProto::UINT8 && !is_int8 && !model_.real_input)
    source_.Fail(
        where,
        "expected raw bytes (uint8) or int8 codes, to be dequantized in the graph, or float32, to be quantized "
        "in it");
  const auto& dims = type.shape().dim();
  if (dims.size() != 2 && dims.size() != 4)
    source_.Fail(where, fmt::format("has {} dimensions, expected [N, C, H, W] or [N, C]", dims.size()));
  ValueShape shape;
  shape.channels = dims.Get(1).dim_value();
  shape.flat = dims.size() == 2;
  if (dims.size() == 4) {
    shape.height = dims.Get(2).dim_value();
    shape.width = dims.Get(3).dim_value();
  }
  constexpr int64_t kLargest = int64_t{1} << 24;
  for (int64_t size : {shape.channels, shape.height, shape.width}) {
    if (size < 1 || size > kLargest)
      source_.Fail(where, fmt::format("has a dimension of {}, expected 1 to {}", size, kLargest));
  }
  model_.values.push_back({input->name(), shape, std::nullopt});
  Define(input->name(), model_.real_input ? Meaning(RealInput{}) : Meaning(Codes{0}), where);
}

void OnnxReader::ReadOutput() {
  const auto& graph = proto_.graph();
  if (graph.output_size() != 1) source_.Fail("graph", fmt::format("has {} outputs, expected 1", graph.output_size()));
  const std::string& name = output_;
  const auto found = meanings_.find(name);
  if (found == meanings_.end()) source_.Fail("graph", fmt::format("output '{}' is not computed", name));
  std::optional<int> value;
  std::optional<View> view;
  if (const auto* real = std::get_if<Real>(&found->second)) value = real->value;
  if (const auto* codes = std::get_if<Codes>(&found->second)) value = codes->value;
  if (const auto* viewed = std::get_if<Viewed>(&found->second)) {
    if (!viewed->view.from.empty()) source_.Fail("graph", fmt::format("output '{}' is moved about", name));
    value = viewed->value;
    view = viewed->view;
  }
  if (value) {
    const Value& last = this->value(*value);
    if (!last.coding) source_.Fail("graph", fmt::format("output '{}' is the network's input", name));
    AddDequantizedOutput(model_, *value, name == last.name ? name + ".real" : name);
    return CheckTail(view ? *view : ViewOf(this->value(*value).shape));
  }
  const auto* pending = std::get_if<Pending>(&found->second);
  if (pending == nullptr || !pending->may_be_real || pending->relu || pending->clipped || pending->threshold) {
    source_.Fail("graph",
                 fmt::format("output '{}' must be the real result of a convolution or a linear layer, or codes", name));
  }
  model_.output = Finish(*pending, name, std::nullopt, {});
  CheckTail(ViewOf(pending->shape));
}

void OnnxReader::FindTail() {
  const auto& graph = proto_.graph();
  if (graph.output_size() != 1) return;  // refused later
  output_ = graph.output(0).name();
  const std::string_view known[] = {"Softmax", "LogSoftmax", "ArgMax", "Identity", "Flatten", "Reshape", "Squeeze"};
  for (bool found = true; found && !users_.contains(output_);) {
    found = false;
    for (const auto& node : graph.node()) {
      const bool makes = node.output_size() == 1 && node.output(0) == output_;
      if (!makes || node.input_size() < 1 || std::count(std::begin(known), std::end(known), node.op_type()) == 0)
        continue;
      if (users_[node.input(0)].size() != 1) continue;
      tail_.push_back(&node);
      output_ = node.input(0);
      users_.erase(output_);
      found = true;
      break;
    }
  }
  // Other names for an answer are its own.
  while (!tail_.empty() && tail_.back()->op_type() == "Identity") {
    output_ = tail_.back()->output(0);
    tail_.pop_back();
  }
}

void OnnxReader::CheckTail(View view) {
  for (auto proto = tail_.rbegin(); proto != tail_.rend(); ++proto) {
    const OnnxNode node(**proto, source_);
    const std::string& type = node.type();
    try {
      if (type == "Flatten") {
        node.Check(std::vector<OnnxAttribute>{{"axis"}});
        const int64_t axis = node.Int("axis", 1), rank = static_cast<int64_t>(view.dims.size());
        int64_t first = 1;
        for (int64_t i = 0; i < (axis < 0 ? axis + rank : axis) && i < rank; ++i)
          first *= view.dims[static_cast<size_t>(i)];
        view.dims = {first, view.elements() / first};
      } else if (type == "Reshape") {
        node.Check(std::vector<OnnxAttribute>{{"allowzero", 14}});
        view = Reshaped(view, IntegersAt(node, 1), node.Int("allowzero", 0) == 0);
      } else if (type == "Squeeze") {
        node.Check(std::vector<OnnxAttribute>{{"axes", 1, 12}});
        view = WithoutAxes(view, AxesOf(node));
      } else if (type != "Identity") {
        const bool is_arg = type == "ArgMax";
        node.Check(is_arg ? std::vector<OnnxAttribute>{{"axis"}, {"keepdims"}, {"select_last_index", 12}}
                          : std::vector<OnnxAttribute>{{"axis"}});
        int64_t axis = node.Int("axis", is_arg ? 0 : node.opset() < 13 ? 1 : -1);
        if (axis < 0) axis += static_cast<int64_t>(view.dims.size());
        const bool is_one = axis >= 0 && axis < static_cast<int64_t>(view.dims.size()) &&
                            view.dims[static_cast<size_t>(axis)] == view.elements();
        const bool is_flat = !is_arg && node.opset() < 13 && axis == 1;  // over all axes from there on
        if (!is_one && !is_flat)
          node.Fail(
              fmt::format("is over axis {} of [{}], expected one of all classes", axis, fmt::join(view.dims, ", ")));
        if (node.Int("select_last_index", 0) != 0) node.Fail("takes the last of equal numbers, expected the first");
        model_.notes.push_back(
            fmt::format("{} at the end is left out: which of finite scores is the largest stays the same", type));
        if (is_arg && proto + 1 != tail_.rend()) node.Fail("is followed by other operators");
      }
    } catch (const InputError& error) {
      const std::string what = error.what();
      if (what.find(source_.file) == 0) throw;
      node.Fail(what);
    }
  }
}

// ---- nodes ----

const std::unordered_map<std::string, OnnxReader::Handler>& OnnxReader::Handlers() {
  static const std::vector<OnnxAttribute> quantizer = {
      {"axis", 13}, {"block_size", 21}, {"output_dtype", 21}, {"saturate", 19}, {"precision", 23}};
  static const std::vector<OnnxAttribute> dequantizer = {{"axis", 13}, {"block_size", 21}, {"output_dtype", 23}};
  static const std::unordered_map<std::string, Handler> handlers = {
      {"QuantizeLinear", {quantizer, &OnnxReader::ReadQuantize}},
      {"DequantizeLinear", {dequantizer, &OnnxReader::ReadDequantize}},
      {"Mul", {{}, &OnnxReader::ReadMul}},
      {"Reshape", {{{"allowzero", 14}}, &OnnxReader::ReadReshape}},
      {"Transpose", {{{"perm"}}, &OnnxReader::ReadTranspose}},
      {"Gather", {{{"axis"}}, &OnnxReader::ReadGather}},
      {"Shape", {{}, &OnnxReader::ReadShape}},
      {"Concat", {{{"axis"}}, &OnnxReader::ReadConcat}},
      {"Expand", {{}, &OnnxReader::ReadExpand}},
      {"Slice", {{{"axes", 1, 9}, {"ends", 1, 9}, {"starts", 1, 9}}, &OnnxReader::ReadSlice}},
      {"Add", {{}, &OnnxReader::ReadAdd}},
      {"BatchNormalization", {{{"epsilon"}, {"momentum"}, {"training_mode", 14}}, &OnnxReader::ReadBatchNormalization}},
      {"Relu", {{}, &OnnxReader::ReadRelu}},
      {"ThresholdedRelu", {{{"alpha"}}, &OnnxReader::ReadThresholdedRelu}},
      {"Clip", {{{"min", 1, 10}, {"max", 1, 10}}, &OnnxReader::ReadClip}},
      {"Identity", {{}, &OnnxReader::ReadIdentity}},
      {"Dropout", {{{"ratio", 1, 11}, {"seed", 12}}, &OnnxReader::ReadIdentity}},
      {"Squeeze", {{{"axes", 1, 12}}, &OnnxReader::ReadSqueeze}},
      {"Unsqueeze", {{{"axes", 1, 12}}, &OnnxReader::ReadUnsqueeze}},
      {"Cast", {{{"to"}, {"saturate", 19}}, &OnnxReader::ReadCast}},
      {"Constant",
       {{{"value"}, {"value_float", 12}, {"value_floats", 12}, {"value_int", 12}, {"value_ints", 12}},
        &OnnxReader::ReadConstant}}};
  return handlers;
}

void OnnxReader::ReadNode(const OnnxNode& node) {
  node.output();  // there must be one
  const auto handler = Handlers().find(node.type());
  if (handler != Handlers().end()) {
    node.Check(handler->second.attributes);
    return (this->*handler->second.read)(node);
  }
  const OnnxForm* form = FormOf(node.type());
  if (form == nullptr || node.opset() < form->first_opset) {
    std::vector<std::string> known;
    for (const auto& [type, unused] : Handlers()) known.push_back(type);
    for (const OperatorDefinition* definition : AllOperators()) {
      for (const OnnxForm& other : definition->onnx_forms) known.emplace_back(other.type);
    }
    std::sort(known.begin(), known.end());
    known.erase(std::unique(known.begin(), known.end()), known.end());
    node.Fail(fmt::format("this operator is not supported (known are {})", fmt::join(known, ", ")));
  }
  node.Check(form->attributes);
  form->read(*this, node);
}

std::vector<int64_t> OnnxReader::AxesOf(const OnnxNode& node) const {
  return node.opset() < 13 || !node.HasInput(1) ? node.Ints("axes") : IntegersAt(node, 1);
}

void OnnxReader::ReadSqueeze(const OnnxNode& node) {
  const std::vector<int64_t> axes = AxesOf(node);
  if (axes.empty()) node.Fail("names no axes");
  Move(node, [&](const View& view) { return WithoutAxes(view, axes); });
}

void OnnxReader::ReadUnsqueeze(const OnnxNode& node) {
  std::vector<int64_t> axes = AxesOf(node);
  Move(node, [&](const View& view) {
    std::vector<int64_t> dims = view.dims;
    const auto rank = static_cast<int64_t>(dims.size() + axes.size());
    for (int64_t& axis : axes) axis += axis < 0 ? rank : 0;
    std::sort(axes.begin(), axes.end());
    for (const int64_t axis : axes) {
      if (axis < 0 || axis > static_cast<int64_t>(dims.size())) node.Fail("names an axis that there is not");
      dims.insert(dims.begin() + axis, 1);
    }
    return Reshaped(view, dims, false);
  });
}

void OnnxReader::ReadConstant(const OnnxNode& node) {
  auto tensor = std::make_unique<onnx::TensorProto>();
  if (const auto* value = node.Tensor("value")) {
    *tensor = *value;
  } else if (node.Has("value_float") || node.Has("value_floats")) {
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    const auto values = node.Has("value_float") ? std::vector{static_cast<float>(node.Float("value_float", 0))}
                                                : node.Floats("value_floats");
    if (node.Has("value_floats")) tensor->add_dims(static_cast<int64_t>(values.size()));
    for (float one : values) tensor->add_float_data(one);
  } else {
    tensor->set_data_type(onnx::TensorProto::INT64);
    const auto values = node.Has("value_int") ? std::vector{node.Int("value_int", 0)} : node.Ints("value_ints");
    if (node.Has("value_ints")) tensor->add_dims(static_cast<int64_t>(values.size()));
    for (int64_t one : values) tensor->add_int64_data(one);
  }
  tensor->set_name(node.output());
  own_tensors_.push_back(std::move(tensor));
  Define(node, Constant{own_tensors_.back().get()});
}

void OnnxReader::ReadCast(const OnnxNode& node) {
  const auto* constant = std::get_if<Constant>(&Lookup(node, 0));
  if (constant == nullptr || node.Int("to", 0) != onnx::TensorProto::FLOAT)
    node.Fail("only constants are cast, to float32");
  const onnx::TensorProto& tensor = *constant->tensor;
  if (tensor.data_type() == onnx::TensorProto::FLOAT) return Define(node, Constant{&tensor});
  const std::optional<StorageFormat> format = FormatOfHalves(tensor);
  if (!format) node.Fail("only constants of float16 or bfloat16 are cast, to float32");
  const Parameter halves{.format = *format, .bits = HalvesOf(tensor, source_)};
  auto cast = std::make_unique<onnx::TensorProto>();
  cast->set_name(node.output());
  cast->set_data_type(onnx::TensorProto::FLOAT);
  for (const int64_t size : tensor.dims()) cast->add_dims(size);
  for (int64_t i = 0; i < halves.elements(); ++i) cast->add_float_data(halves.real(i));
  own_tensors_.push_back(std::move(cast));
  stored_as_[own_tensors_.back().get()] = &tensor;
  Define(node, Constant{own_tensors_.back().get()});
}

void OnnxReader::ReadIdentity(const OnnxNode& node) {
  if (std::holds_alternative<Pending>(Lookup(node, 0))) return Define(node, Take(node, 0));
  Define(node, Meaning(Lookup(node, 0)));
}

// ---- quantizing ----

void OnnxReader::CheckQuantizer(const OnnxNode& node) const {
  if (node.Int("block_size", 0) != 0) node.Fail("block_size is not supported");
  const int64_t precision = node.Int("precision", 0);
  if (precision != 0 && precision != onnx::TensorProto::FLOAT) node.Fail("precision must be float32");
}

OnnxReader::FileZeroPoint OnnxReader::ZeroPoint(const OnnxNode& node) const {
  const int64_t type = node.type() == "QuantizeLinear" ? node.Int("output_dtype", 0) : 0;
  if (type != 0 && type != onnx::TensorProto::UINT8 && type != onnx::TensorProto::INT8)
    node.Fail("activation codes must be uint8 or int8");
  if (!node.HasInput(2)) return {0, type == onnx::TensorProto::INT8};
  const auto& tensor = *Expect<Constant>(node, 2, "a constant").tensor;
  if (tensor.data_type() != onnx::TensorProto::UINT8 && tensor.data_type() != onnx::TensorProto::INT8)
    node.Fail("activation codes must be uint8 or int8");
  if (type != 0 && type != tensor.data_type()) node.Fail("output_dtype is not the type of its zero point");
  const auto values = IntegersOf(tensor, source_);
  if (values.size() != 1) node.Fail("expected one zero point");
  return {values[0], tensor.data_type() == onnx::TensorProto::INT8};
}

// What a QuantizeLinear makes, 8 bits wide.
ActivationCoding OnnxReader::CodingOf(const OnnxNode& node) const {
  CheckQuantizer(node);
  const FileZeroPoint zero = ZeroPoint(node);
  ActivationCoding coding{.scale = Scalar(node, 1, "scale"), .is_signed = zero.is_signed};
  coding.zero_point = zero.value - coding.stored_offset();
  if (!(coding.scale > 0) || !std::isfinite(coding.scale))
    node.Fail(fmt::format("scale {}, expected a positive number", coding.scale));
  return coding;
}

void OnnxReader::ReadQuantize(const OnnxNode& node) {
  const Meaning& meaning = Lookup(node, 0);
  if (std::holds_alternative<RealInput>(meaning)) return QuantizeInput(node);
  if (const auto* real = std::get_if<Real>(&meaning)) return QuantizeAgain(node, real->value);
  if (const auto* viewed = std::get_if<Viewed>(&meaning); viewed != nullptr && !viewed->is_codes) {
    if (IsSameGrid(*value(viewed->value).coding, CodingOf(node)))
      return Define(node, Codes{Rearranged(node, *viewed, WithoutSuffix(node.input(0), ".rearranged"), node.output())});
    return QuantizeAgain(node, RealValue(node, 0));
  }
  if (const auto* constant = std::get_if<Constant>(&meaning)) {
    if (IsOfWeights(node.output())) return QuantizeWeights(node, *constant->tensor);
    return QuantizeConstant(node, *constant->tensor);
  }
  const Pending pending = Take(node, 0);
  if (pending.axes.is_grouped || pending.axes.is_channels_last)
    node.Fail("quantizes a result whose axes are moved: move them back first, to [N, C, H, W]");
  Activation activation{.relu = pending.relu};
  ActivationCoding coding = WithClip(node, pending, CodingOf(node), activation);
  const int clip_bits = coding.bits;
  if (TensorInt(node.output(), "bits", clip_bits) != clip_bits) {
    node.Fail(fmt::format("its metadata says {} bits, and its Clip {}", TensorInt(node.output(), "bits", clip_bits),
                          clip_bits));
  }
  int threshold_code = 0;
  if (pending.threshold) {
    // It cuts before rounding. That is the same as cutting codes only if the threshold lies midway between two codes,
    // or at zero.
    const double code = *pending.threshold / double{coding.scale} + 0.5;
    if (!(code >= 0 && code <= 256)) node.Fail("its ThresholdedRelu cuts everything off");
    constexpr double kRounding = 5e-5;  // of (code - 1/2) * scale in float32, in steps of the scale
    const double first = std::ceil(code - kRounding);
    if (*pending.threshold != 0 && std::abs(code - std::round(code)) > kRounding) {
      node.Fail(
          fmt::format("its ThresholdedRelu cuts at {} steps of the scale, expected a half (10.5): midway between "
                      "two codes",
                      code - 0.5));
    }
    threshold_code = static_cast<int>(first) + coding.zero_point;
    if (threshold_code > coding.highest_code() + 1) node.Fail("its ThresholdedRelu cuts everything off");
    // Our own files name the code, which then decides.
    const bool cuts_what_rounds_up = std::fmod(first, 2) == 0 && first > 0 && code >= first;
    if (cuts_what_rounds_up && TensorInt(node.output(), "zero_below", -1) < 0) {
      node.Fail(fmt::format(
          "its ThresholdedRelu cuts off what lies exactly {} steps above zero, and QuantizeLinear would round "
          "it up to a code that stays: no code says which",
          first - 0.5));
    }
  }
  coding.zero_below = TensorInt(node.output(), "zero_below", threshold_code);
  if (coding.zero_below != threshold_code) {
    node.Fail(fmt::format("its metadata says that codes below {} become zero, and its ThresholdedRelu {}",
                          coding.zero_below, threshold_code));
  }
  const int quantized = Finish(pending, node.output(), coding, activation);
  ScaleTensorsOf(quantized).quantizer = ScaleTensor(node);
  Define(node, Codes{quantized});
}

// The first operator of a network that takes real numbers.
void OnnxReader::QuantizeInput(const OnnxNode& node) {
  const ActivationCoding coding = CodingOf(node);
  Value& input = model_.values[0];
  if (input.coding && !(*input.coding == coding))
    node.Fail("quantizes the input a second time, with another scale or zero point");
  input.coding = coding;
  if (ScaleTensorsOf(0).quantizer == nullptr) ScaleTensorsOf(0).quantizer = ScaleTensor(node);
  Define(node, Codes{0});
}

// Codes that were dequantized, and nothing else done to them but moved about.
void OnnxReader::QuantizeAgain(const OnnxNode& node, int index) {
  const ActivationCoding coding = CodingOf(node);
  if (IsSameGrid(*value(index).coding, coding)) return Define(node, Codes{index});
  Pending pending;
  pending.name = node.output();
  pending.make = [](const Weighted&) { return Operation(Elementwise{}); };
  pending.inputs = {index};
  pending.shape = value(index).shape;
  const int quantized = Finish(pending, node.output(), coding, {});
  ScaleTensorsOf(quantized).quantizer = ScaleTensor(node);
  Define(node, Codes{quantized});
}

// Whether what a name stands for is dequantized and becomes the weights of an operator.
bool OnnxReader::IsOfWeights(const std::string& name, int depth) const {
  const auto users = users_.find(name);
  if (users == users_.end() || depth > 6) return false;
  for (const onnx::NodeProto* user : users->second) {
    const std::string& type = user->op_type();
    const bool is_operator = type == "Conv" || type == "Gemm" || type == "MatMul";
    if (is_operator && user->input_size() > 1 && user->input(1) == name) return true;
    const bool passes = type == "DequantizeLinear" || type == "Clip" || type == "Identity" || type == "Transpose";
    if (passes && user->input(0) == name && user->output_size() == 1 && IsOfWeights(user->output(0), depth + 1))
      return true;
  }
  return false;
}

void OnnxReader::QuantizeWeights(const OnnxNode& node, const onnx::TensorProto& tensor) {
  CheckQuantizer(node);
  const int64_t type = node.Int("output_dtype", 0);
  if (type != 0 && type != onnx::TensorProto::UINT8 && type != onnx::TensorProto::INT8)
    node.Fail("weights must become uint8 or int8");
  model_.constant_scales.push_back(node.input(1));
  const std::vector<float> reals = FloatsOf(tensor, source_), scales = Floats(node, 1);
  std::vector<int> zeros = {0};
  bool is_signed = type == onnx::TensorProto::INT8;
  if (node.HasInput(2)) {
    const onnx::TensorProto& zero = *Expect<Constant>(node, 2, "a constant").tensor;
    if (zero.data_type() != onnx::TensorProto::INT8 && zero.data_type() != onnx::TensorProto::UINT8)
      node.Fail("weights must become uint8 or int8");
    is_signed = zero.data_type() == onnx::TensorProto::INT8;
    zeros = IntegersOf(zero, source_);
  }
  const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
  const auto rank = static_cast<int64_t>(dims.size());
  int64_t axis = node.Int("axis", 1), inner = 1;
  if (axis < 0) axis += rank;
  if (scales.size() > 1) {
    if (node.opset() < kPerChannelOpset) node.Fail("has several scales, which opset 13 brought");
    if (axis < 0 || axis >= rank || dims[static_cast<size_t>(axis)] != static_cast<int64_t>(scales.size()))
      node.Fail(fmt::format("has {} scales along axis {} of [{}]", scales.size(), axis, fmt::join(dims, ", ")));
    for (int64_t i = axis + 1; i < rank; ++i) inner *= dims[static_cast<size_t>(i)];
  }
  if (zeros.empty() || scales.empty() || (zeros.size() > 1 && zeros.size() != scales.size()))
    node.Fail("its scales and zero points are not as many");
  auto codes = std::make_unique<onnx::TensorProto>();
  codes->set_name(tensor.name() + ".codes");
  codes->set_data_type(is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8);
  for (const int64_t size : dims) codes->add_dims(size);
  const int lowest = is_signed ? -128 : 0;
  for (size_t i = 0; i < reals.size(); ++i) {
    const size_t channel =
        scales.size() == 1 ? 0 : static_cast<size_t>(static_cast<int64_t>(i) / inner) % scales.size();
    const float steps = std::rint(reals[i] / scales[channel]);
    const float clipped = steps > -1024.0f ? std::min(steps, 1024.0f) : -1024.0f;
    const int zero = zeros[zeros.size() == 1 ? 0 : channel];
    codes->add_int32_data(std::clamp(static_cast<int>(clipped) + zero, lowest, lowest + 255));
  }
  own_tensors_.push_back(std::move(codes));
  model_.notes.push_back(fmt::format("{}: stored as the codes that its QuantizeLinear gives", tensor.name()));
  Define(node, Constant{own_tensors_.back().get()});
}

// Codes that are the same for every image.
void OnnxReader::QuantizeConstant(const OnnxNode& node, const onnx::TensorProto& tensor) {
  model_.constant_scales.push_back(node.input(1));
  ActivationCoding coding = CodingOf(node);
  const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
  if (dims.size() != 4 || dims[0] != 1)
    node.Fail(fmt::format("quantizes a constant of shape [{}], expected [1, C, H, W] (weights must be stored as codes)",
                          fmt::join(dims, ", ")));
  Pending pending;
  pending.name = WithoutSuffix(tensor.name(), ".constant");  // expanded or not
  model::Constant made{{dims[1], dims[2], dims[3]}, {}};
  for (const float real : FloatsOf(tensor, source_)) made.codes.push_back(CodeOf(real, QuantizationOf(coding, {})));
  pending.shape = made.shape;
  pending.make = [made](const Weighted&) { return Operation(made); };
  pending.inputs = {0};
  coding.bits = TensorInt(node.output(), "bits", 8);
  if (coding.bits != 8) node.Fail("its metadata says that a constant has other than 8 bits");
  Define(node, Codes{Finish(pending, node.output(), coding, {})});
}

// Clip comes before rounding; clipping after it, to the codes that its bounds become, gives the same. If these are the
// lowest and highest codes of a narrower coding, the value has that many bits (`coding` comes with 8).
ActivationCoding OnnxReader::WithClip(const OnnxNode& node, const Pending& pending, ActivationCoding coding,
                                      Activation& activation) const {
  const auto code_of = [&](double bound) { return int{CodeOf(static_cast<float>(bound), QuantizationOf(coding, {}))}; };
  int lowest = pending.low ? code_of(*pending.low) : 0;
  const int highest = pending.high ? code_of(*pending.high) : 255;
  if (pending.low && pending.high && *pending.low > *pending.high) node.Fail("its Clip has bounds in the wrong order");
  if (activation.relu && highest < coding.zero_point) node.Fail("its Clip ends below zero, and there is a Relu");
  const bool from_zero = pending.low && lowest == coding.zero_point && coding.zero_point > 0;
  if (from_zero) lowest = 0;
  for (int bits = 1; bits <= 7 && pending.high; ++bits) {
    const int first = coding.is_signed ? 128 - (1 << (bits - 1)) : 0, last = first + (1 << bits) - 1;
    const bool starts = (activation.relu && lowest <= coding.zero_point) || from_zero ||
                        (lowest <= first && (first == 0 || lowest == first));
    if (highest != last || !starts || coding.zero_point < first || coding.zero_point > last) continue;
    coding.bits = bits;
    coding.zero_point -= first;
    activation.relu |= from_zero && coding.zero_point > 0;
    return coding;
  }
  activation.relu |= from_zero;
  activation.lowest = lowest;
  activation.highest = highest;
  return coding;
}

// ---- dequantizing ----

void OnnxReader::ReadDequantize(const OnnxNode& node) {
  CheckQuantizer(node);
  const int64_t type = node.Int("output_dtype", 0);
  if (type != 0 && type != onnx::TensorProto::FLOAT) node.Fail("output_dtype must be float32");
  const Meaning& meaning = Lookup(node, 0);
  if (const auto* codes = std::get_if<Codes>(&meaning)) return DequantizeValue(node, codes->value);
  if (const auto* viewed = std::get_if<Viewed>(&meaning); viewed != nullptr && viewed->is_codes) {
    Viewed real = *viewed;
    DequantizeValue(node, real.value);
    real.is_codes = false;
    meanings_.insert_or_assign(node.output(), real);
    return;
  }
  const auto* constant = std::get_if<Constant>(&meaning);
  if (constant == nullptr) node.Fail(fmt::format("input '{}' is neither codes nor a constant", node.input(0)));
  const auto& tensor = *constant->tensor;
  const bool is_bias = tensor.data_type() == onnx::TensorProto::INT32;
  const std::string zero_point = node.HasInput(2) ? node.input(2) : "";
  const auto found = dequantized_.find(&tensor);
  if (found == dequantized_.end()) {
    if (is_bias)
      DequantizeBias(node, tensor);
    else
      DequantizeWeights(node, tensor);
    const int parameter = static_cast<int>(parameter_of_.at(&tensor));
    dequantized_[&tensor] = {parameter, node.input(1), zero_point, node.Int("axis", 1)};
    return;
  }
  const Dequantized& first = found->second;
  if (shifted_weights_.contains(first.parameter))
    node.Fail(fmt::format("dequantizes '{}' a second time, and the first is shifted", node.input(0)));
  const bool has_scales =
      parameter(first.parameter).scale >= 0 && parameter(parameter(first.parameter).scale).elements() > 1;
  if (has_scales && first.axis != node.Int("axis", 1))
    node.Fail(fmt::format("dequantizes '{}' a second time, with scales along another axis", node.input(0)));
  if (first.scale != node.input(1) || first.zero_point != zero_point)
    node.Fail(fmt::format("dequantizes '{}' a second time, with another scale or zero point", node.input(0)));
  if (is_bias)
    Define(node, RealConstant{first.parameter, {tensor.dims().begin(), tensor.dims().end()}});
  else
    Define(node, WeightLevels{first.parameter});
}

void OnnxReader::DequantizeValue(const OnnxNode& node, int index) {
  Value& value = model_.values[static_cast<size_t>(index)];
  if (!value.coding) SetInputCoding(node);
  const ActivationCoding& coding = *value.coding;
  FileZeroPoint zero = ZeroPoint(node);
  if (!node.HasInput(2)) zero.is_signed = coding.is_signed;  // 0, of the type of the codes
  const float scale = Scalar(node, 1, "scale");
  if (scale != coding.scale || zero.is_signed != coding.is_signed ||
      zero.value - coding.stored_offset() != coding.zero_point) {
    node.Fail("dequantizes with another scale or zero point than QuantizeLinear used");
  }
  if (ScaleTensorsOf(index).dequantizer == nullptr) ScaleTensorsOf(index).dequantizer = ScaleTensor(node);
  Define(node, Real{index});
}

// The network's input is codes: what dequantizes it says what they mean.
void OnnxReader::SetInputCoding(const OnnxNode& dequantizer) {
  Value& value = model_.values[0];
  FileZeroPoint zero = ZeroPoint(dequantizer);
  const auto& inputs = proto_.graph().input();
  const bool is_int8 = std::any_of(inputs.begin(), inputs.end(), [&](const onnx::ValueInfoProto& input) {
    return input.name() == value.name && input.type().tensor_type().elem_type() == onnx::TensorProto::INT8;
  });
  if (dequantizer.HasInput(2) && zero.is_signed != is_int8)
    dequantizer.Fail("its zero point has another type than the network's input");
  const float scale = Scalar(dequantizer, 1, "scale");
  ActivationCoding coding{.scale = scale, .is_signed = is_int8};
  coding.zero_point = zero.value - coding.stored_offset();
  value.coding = coding;
  // A byte b is code b - 128 where the file says so; nothing says it of another scale.
  const bool are_bytes = !is_int8 || (zero.value == -128 && (scale == 1.0f || scale == 1.0f / 255.0f));
  model_.real_input = model_.needs_input_scaling = !are_bytes;
}

// The same where codes are moved about first: what dequantizes them behind that.
void OnnxReader::FindInputCoding(const OnnxNode& node) {
  std::string name = node.output();
  for (size_t steps = 0; steps < 64; ++steps) {
    const auto users = users_.find(name);
    if (users == users_.end()) break;
    for (const onnx::NodeProto* user : users->second) {
      if (user->op_type() == "DequantizeLinear" && user->input(0) == name)
        return SetInputCoding(OnnxNode(*user, source_));
    }
    if (users->second[0]->output_size() != 1) break;
    name = users->second[0]->output(0);
  }
  node.Fail("takes codes that nothing dequantizes");
}

OnnxReader::ScaleTensors& OnnxReader::ScaleTensorsOf(int value) {
  scale_tensors_.resize(std::max(scale_tensors_.size(), static_cast<size_t>(value) + 1));
  return scale_tensors_[static_cast<size_t>(value)];
}

const onnx::TensorProto* OnnxReader::ScaleTensor(const OnnxNode& node) const {
  return Expect<Constant>(node, 1, "a constant").tensor;
}

void OnnxReader::AddActivationScales() {
  for (size_t v = 0; v < model_.values.size(); ++v) {
    Value& value = model_.values[v];
    auto [quantizer, dequantizer] = ScaleTensorsOf(static_cast<int>(v));
    if (v == 0 && model_.real_input) quantizer = nullptr;  // images come as codes, fault-free
    if (!value.coding || (quantizer == nullptr && dequantizer == nullptr)) continue;
    value.scale = FloatParameterOf(quantizer != nullptr ? *quantizer : *dequantizer, Role::kActivationScale);
    if (quantizer != nullptr && dequantizer != nullptr && dequantizer != quantizer)
      value.dequantizing_scale = FloatParameterOf(*dequantizer, Role::kActivationScale);
    for (const int index : {value.scale, value.dequantizing_scale}) {
      if (index < 0) continue;
      needs_reading_3_ |= parameter(index).role != Role::kActivationScale;
      model_.parameters[static_cast<size_t>(index)].is_fixed = false;  // not the program's alone
    }
  }
  // Of real numbers that are only moved about before they are dequantized: still the scale that quantizes images.
  if (const auto* quantizer = ScaleTensorsOf(0).quantizer; model_.real_input && quantizer != nullptr) {
    const auto cast = stored_as_.find(quantizer);
    const auto known = parameter_of_.find(cast == stored_as_.end() ? quantizer : cast->second);
    if (model_.values[0].scale < 0 && known != parameter_of_.end()) model_.values[0].scale = known->second;
  }
}

int OnnxReader::FloatParameterOf(const onnx::TensorProto& tensor, Role role) {
  const auto cast = stored_as_.find(&tensor);
  const onnx::TensorProto& stored = cast == stored_as_.end() ? tensor : *cast->second;
  const auto found = parameter_of_.find(&stored);
  if (found != parameter_of_.end()) return found->second;
  const int index =
      AddFloats(model_, stored.name(), role, {tensor.dims().begin(), tensor.dims().end()}, FloatsOf(tensor, source_));
  if (&stored != &tensor) {
    Parameter& parameter = model_.parameters[static_cast<size_t>(index)];
    parameter.format = *FormatOfHalves(stored);
    parameter.bits = HalvesOf(stored, source_);
  }
  parameter_of_[&stored] = index;
  return index;
}

void OnnxReader::DequantizeBias(const OnnxNode& node, const onnx::TensorProto& tensor) {
  const auto codes = IntegersOf(tensor, source_);
  const int scale = FloatParameterOf(*Expect<Constant>(node, 1, "a constant").tensor, Role::kScale);
  const auto scales = static_cast<size_t>(parameter(scale).elements());
  if (scales != 1 && scales != codes.size()) node.Fail(fmt::format("{} scales for {} values", scales, codes.size()));
  if (scales > 1 && node.opset() < kPerChannelOpset) node.Fail("has several scales, which opset 13 brought");
  const int64_t axis = node.Int("axis", 1);
  if (scales > 1 && node.Has("axis") && (axis < 0 ? axis + tensor.dims_size() : axis) != 0)
    node.Fail("its scales must be along axis 0");
  if (node.HasInput(2)) {
    for (int zero : IntegersOf(*Expect<Constant>(node, 2, "a constant").tensor, source_)) {
      if (zero != 0) node.Fail("int32 codes must have zero point 0");
    }
  }
  Parameter bias{.name = tensor.name(), .role = Role::kBias, .shape = {tensor.dims().begin(), tensor.dims().end()}};
  bias.format.kind = StorageFormat::Kind::kInt32;
  bias.scale = scale;
  for (int code : codes) bias.bits.push_back(static_cast<uint32_t>(code));
  model_.parameters.push_back(std::move(bias));
  const int index = static_cast<int>(model_.parameters.size()) - 1;
  parameter_of_[&tensor] = index;
  Define(node, RealConstant{index, {tensor.dims().begin(), tensor.dims().end()}});
}

void OnnxReader::DequantizeWeights(const OnnxNode& node, const onnx::TensorProto& tensor) {
  Parameter weight{.name = tensor.name(), .role = Role::kWeight, .shape = {tensor.dims().begin(), tensor.dims().end()}};
  if (weight.shape.size() != 2 && weight.shape.size() != 4)
    node.Fail(fmt::format("weights '{}' have {} dimensions, expected 2 or 4", tensor.name(), weight.shape.size()));
  for (int64_t size : weight.shape) {
    if (size < 1) node.Fail(fmt::format("weights '{}' have a dimension of {}", tensor.name(), size));
  }
  const int type = static_cast<int>(tensor.data_type());
  CodeFormat& format = weight.format.codes;
  format.is_signed = type == onnx::TensorProto::INT8 || type == kInt4;
  OnnxForms::StoredCodes stored{.bits = type == kInt4 || type == kUint4 ? 4 : 8};
  if (const auto known = forms_.weights.find(tensor.name()); known != forms_.weights.end()) stored = known->second;
  if (const auto clipped = stored_codes_.find(&tensor); clipped != stored_codes_.end()) stored = clipped->second;
  format.bits = TensorInt(tensor.name(), "bits", stored.bits);
  if (format.bits < 1 || format.bits > 8)
    node.Fail(fmt::format("the metadata of '{}' says {} bits, expected 1 to 8", tensor.name(), format.bits));
  format.narrow = TensorInt(tensor.name(), "narrow", stored.narrow ? 1 : 0) != 0;
  format.levels = stored.levels;
  if (stored.levels == LevelMap{}) format.levels.multiplier = LevelMultiplier(tensor.name());
  const auto codes = IntegersOf(tensor, source_);
  const int highest = format.highest_code(), lowest = format.lowest_code();
  for (size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] < lowest || codes[i] > highest) {
      node.Fail(fmt::format("'{}' has code {} at index {}, expected {} to {} ({} bits{})", tensor.name(), codes[i], i,
                            lowest, highest, format.bits, format.narrow ? ", narrow" : ""));
    }
    weight.bits.push_back(format.pattern(codes[i]));
  }
  weight.scale = FloatParameterOf(*Expect<Constant>(node, 1, "a constant").tensor, Role::kScale);
  const auto dimensions = static_cast<int64_t>(weight.shape.size());
  const int64_t axis = node.Int("axis", 1);
  if (parameter(weight.scale).elements() > 1) {
    if (node.opset() < kPerChannelOpset) node.Fail("has several scales, which opset 13 brought");
    const int64_t from_front = axis < 0 ? axis + dimensions : axis;
    if (from_front != 0 && (from_front != 1 || dimensions != 2))
      node.Fail("per-channel scales must be along the outputs (axis 0; of a matrix behind MatMul, axis 1)");
    weight.output_axis = static_cast<int>(from_front);
  }
  if (node.HasInput(2)) {
    const auto& zero_tensor = *Expect<Constant>(node, 2, "a constant").tensor;
    if (static_cast<int>(zero_tensor.data_type()) != type) node.Fail("its zero point has another type than its codes");
    const auto zeros = IntegersOf(zero_tensor, source_);
    for (int zero : zeros) {
      if (zero != zeros[0]) node.Fail("zero points that differ between channels are not supported");
    }
    if (!zeros.empty()) format.levels.offset = -zeros[0] * format.levels.multiplier;
  }
  weight.is_fixed = TensorInt(tensor.name(), "fixed", 0) != 0;
  if (weight.is_fixed) {
    Parameter& scale = model_.parameters[static_cast<size_t>(weight.scale)];
    const bool are_ones = std::all_of(codes.begin(), codes.end(), [](int code) { return code == 1; });
    if (!are_ones || scale.elements() != 1 || scale.real(0) != 1)
      node.Fail(fmt::format("the metadata of '{}' says that it is fixed, and it is not 1 everywhere", tensor.name()));
    scale.is_fixed = true;
  }
  model_.parameters.push_back(std::move(weight));
  const int index = static_cast<int>(model_.parameters.size()) - 1;
  parameter_of_[&tensor] = index;
  Define(node, WeightLevels{index});
}

// Levels of a quantizer without zero: DequantizeLinear, then a constant is added.
void OnnxReader::ShiftWeights(const OnnxNode& node, int index) {
  Parameter& weight = model_.parameters[static_cast<size_t>(index)];
  const Parameter& scales = parameter(weight.scale);
  const auto& tensor = *Expect<Constant>(node, 1, "a constant").tensor;
  const auto shift = FloatsOf(tensor, source_);
  if (static_cast<int64_t>(shift.size()) != scales.elements()) node.Fail("must have one shift a scale");
  // One value a scale, along the axis of the scales.
  const size_t given = static_cast<size_t>(tensor.dims_size());
  std::vector<int64_t> dims(weight.shape.size() - std::min(weight.shape.size(), given), 1);
  dims.insert(dims.end(), tensor.dims().begin(), tensor.dims().end());
  std::vector<int64_t> expected(weight.shape.size(), 1);
  expected[static_cast<size_t>(std::max(weight.output_axis, 0))] = scales.elements();
  if (dims != expected) {
    node.Fail(fmt::format("its shift has shape [{}], expected one value an output: [{}]",
                          fmt::join(tensor.dims().begin(), tensor.dims().end(), ", "), fmt::join(expected, ", ")));
  }
  int uses = 0;
  for (const auto& [name, meaning] : meanings_) {
    const auto* levels = std::get_if<WeightLevels>(&meaning);
    uses += levels != nullptr && levels->weight == index;
  }
  if (uses > 1 || outputs_last_.contains(index)) node.Fail("shifts weights that are used without the shift too");
  meanings_.at(node.input(0)) = Consumed{};
  shifted_weights_.insert(index);
  LevelMap& map = weight.format.codes.levels;
  std::optional<int> whole;
  for (size_t i = 0; i < shift.size(); ++i) {
    const double levels = double{shift[i]} / (double{scales.real(static_cast<int64_t>(i))} / map.multiplier);
    if (!(std::abs(levels) <= 512)) node.Fail("is not a shift by whole levels");
    const int offset = static_cast<int>(std::lround(levels));
    if (std::abs(levels - offset) > 1e-3 || offset != whole.value_or(offset))
      node.Fail("is not a shift by whole levels");
    whole = offset;
  }
  map.offset += whole.value_or(0);
  Define(node, WeightLevels{index});
}

// ---- what follows an operator ----

int OnnxReader::PerChannel(const OnnxNode& node, int input, int64_t channels, int trailing, Role role) {
  const Meaning& meaning = Lookup(node, input);
  int index = 0;
  std::vector<int64_t> dims;
  const auto* stored = std::get_if<Constant>(&meaning);
  if (const auto* constant = std::get_if<RealConstant>(&meaning)) {
    index = constant->parameter;
    dims = constant->dims;
  } else if (stored != nullptr && forms_.addends.contains(node.input(input))) {
    const auto [known, is_new] = parameter_of_.emplace(stored->tensor, static_cast<int>(model_.parameters.size()));
    dims.assign(stored->tensor->dims().begin(), stored->tensor->dims().end());
    if (is_new) {
      Parameter bias{.name = stored->tensor->name(), .role = Role::kBias, .shape = dims};
      bias.format.kind = StorageFormat::Kind::kInt32;
      for (const int code : IntegersOf(*stored->tensor, source_)) bias.bits.push_back(static_cast<uint32_t>(code));
      model_.parameters.push_back(std::move(bias));
    }
    index = known->second;
  } else {
    const onnx::TensorProto& tensor = *Expect<Constant>(node, input, "a constant").tensor;
    index = FloatParameterOf(tensor, role);
    dims.assign(tensor.dims().begin(), tensor.dims().end());
  }
  if (parameter(index).elements() == 1) return index;
  std::vector<int64_t> expected = {channels};
  expected.resize(1 + static_cast<size_t>(trailing), 1);
  const bool batch_first = dims.size() == expected.size() + 1 && dims[0] == 1;
  if (batch_first) dims.erase(dims.begin());
  if (dims != expected) {
    node.Fail(fmt::format("'{}' has shape [{}], expected one value a channel: [{}]", node.input(input),
                          fmt::join(dims, ", "), fmt::join(expected, ", ")));
  }
  return index;
}

OnnxReader::Pending OnnxReader::Take(const OnnxNode& node, int input) {
  if (std::holds_alternative<Consumed>(Lookup(node, input)))
    node.Fail(fmt::format("input '{}' is used by another node too, before it is quantized", node.input(input)));
  Expect<Pending>(node, input, "the result of an operator on dequantized values");
  Meaning& meaning = meanings_.at(node.input(input));
  Pending pending = std::move(std::get<Pending>(meaning));
  meaning = Consumed{};
  return pending;
}

int OnnxReader::SumOf(const OnnxNode& node) const {
  const Meaning& first = Lookup(node, 0);
  const bool is_constant = std::holds_alternative<Constant>(first) || std::holds_alternative<RealConstant>(first);
  return is_constant && std::holds_alternative<Pending>(Lookup(node, 1)) ? 1 : 0;
}

OnnxReader::Pending OnnxReader::TakeSum(const OnnxNode& node, int input) {
  Pending pending = Take(node, input);
  if (!pending.weighted) node.Fail("is only possible behind a convolution or linear layer");
  if (pending.relu || pending.clipped || pending.threshold) node.Fail("comes after the activation function");
  return pending;
}

// A value times the Sigmoid of the same value.
bool OnnxReader::TakeSilu(const OnnxNode& node) {
  for (int gate = 0; gate < 2; ++gate) {
    const auto* pending = std::get_if<Pending>(&Lookup(node, gate));
    if (pending == nullptr || pending->weighted || !IsRealValue(node, 1 - gate)) continue;
    const auto inputs = pending->inputs;
    if (!(pending->make({}) == Operation(Elementwise{"Sigmoid"})) || inputs[0] != RealValue(node, 1 - gate)) continue;
    if (pending->relu || pending->clipped || pending->threshold) continue;
    Take(node, gate);
    Start(node, Elementwise{"Silu"}, inputs, ".function");
    return true;
  }
  return false;
}

void OnnxReader::ReadMul(const OnnxNode& node) {
  if (TakeSilu(node)) return;
  if (IsRealValue(node, 0)) return FormOf("Mul")->read(*this, node);
  if (auto* product = std::get_if<Pending>(&Lookup(node, 0)); product != nullptr && !product->weighted) {
    const Operation operation = product->make({});
    if (const auto* of = operation.As<Product>()) {
      Product scaled = *of;
      Pending pending = Take(node, 0);
      if (pending.relu || pending.clipped) node.Fail("comes after the activation function");
      scaled.factor *= Scalar(node, 1, "factor");
      pending.make = [scaled](const Weighted&) { return Operation(scaled); };
      return Define(node, std::move(pending));
    }
  }
  const int sum = SumOf(node);
  Pending pending = TakeSum(node, sum);
  const int factor = PerChannel(node, 1 - sum, pending.shape.channels, TrailingDims(pending.shape), Role::kMultiplier);
  pending.weighted->steps.push_back({AffineStep::Kind::kMultiply, factor});
  Define(node, std::move(pending));
}

void OnnxReader::ReadAdd(const OnnxNode& node) {
  if (const auto* weights = std::get_if<WeightLevels>(&Lookup(node, 0))) return ShiftWeights(node, weights->weight);
  if (IsRealValue(node, 0)) {
    const OnnxForm* form = FormOf("Add");
    return form->read(*this, node);
  }
  const int sum = SumOf(node);
  Pending pending = TakeSum(node, sum);
  const int term = PerChannel(node, 1 - sum, pending.shape.channels, TrailingDims(pending.shape), Role::kBias);
  pending.weighted->steps.push_back({AffineStep::Kind::kAdd, term});
  Define(node, std::move(pending));
}

void OnnxReader::ReadBatchNormalization(const OnnxNode& node) {
  if (node.Int("training_mode", 0) != 0) node.Fail("training_mode must be 0");
  Pending pending = TakeSum(node, 0);
  const int64_t channels = pending.shape.channels;
  AffineStep step{AffineStep::Kind::kNormalize};
  step.parameter = PerChannel(node, 1, channels, 0, Role::kMultiplier);
  step.beta = PerChannel(node, 2, channels, 0, Role::kBias);
  step.mean = PerChannel(node, 3, channels, 0, Role::kMean);
  step.variance = PerChannel(node, 4, channels, 0, Role::kVariance);
  step.epsilon = node.Float("epsilon", 1e-5);
  pending.weighted->steps.push_back(step);
  Define(node, std::move(pending));
}

void OnnxReader::ReadRelu(const OnnxNode& node) {
  if (IsRealValue(node, 0)) {
    Start(node, Elementwise{}, {RealValue(node, 0)}, ".relu");
  } else {
    Define(node, Take(node, 0));
  }
  auto& pending = std::get<Pending>(meanings_.at(node.output()));
  if (pending.relu || pending.clipped) node.Fail("comes after the activation function");
  pending.relu = true;
}

void OnnxReader::ReadThresholdedRelu(const OnnxNode& node) {
  Pending pending = Take(node, 0);
  if (pending.clipped) node.Fail("comes after Clip");
  pending.relu = true;
  pending.threshold = node.Float("alpha", 1.0);
  Define(node, std::move(pending));
}

// Up to opset 10 the bounds are attributes, from 11 on inputs.
void OnnxReader::ReadClip(const OnnxNode& node) {
  if (const auto* codes = std::get_if<Codes>(&Lookup(node, 0))) return ClipCodes(node, codes->value);
  if (const auto* constant = std::get_if<Constant>(&Lookup(node, 0)); constant != nullptr && IsOfWeights(node.output()))
    return ClipWeights(node, *constant->tensor);
  if (IsRealValue(node, 0)) {
    Start(node, Elementwise{}, {RealValue(node, 0)}, ".clip");
  } else {
    Define(node, Take(node, 0));
  }
  auto& pending = std::get<Pending>(meanings_.at(node.output()));
  if (pending.clipped) node.Fail("is a second Clip");
  pending.clipped = true;
  if (node.opset() <= 10) {
    if (node.inputs() > 1) node.Fail("has bounds as inputs, which opset 10 does not know");
    if (node.Has("min")) pending.low = node.Float("min", 0);
    if (node.Has("max")) pending.high = node.Float("max", 0);
    needs_reading_2_ |= pending.low || pending.high;
  } else {
    if (node.HasInput(1)) pending.low = double{Scalar(node, 1, "lower bound")};
    if (node.HasInput(2)) pending.high = double{Scalar(node, 2, "upper bound")};
  }
  for (const auto& bound : {pending.low, pending.high}) {
    if (bound && std::isnan(*bound)) node.Fail("has a bound that is not a number");
  }
}

// The bounds of a Clip of codes, as the file has them.
std::pair<int, int> OnnxReader::CodeBounds(const OnnxNode& node, int lowest, int highest) const {
  if (node.opset() < 12) node.Fail("clips codes, which opset 12 brought");
  for (int i = 1; i <= 2; ++i) {
    if (!node.HasInput(i)) continue;
    const auto bound = IntegersOf(*Expect<Constant>(node, i, "a constant").tensor, source_);
    if (bound.size() != 1) node.Fail(fmt::format("has {} values as a bound, expected 1", bound.size()));
    (i == 1 ? lowest : highest) = bound[0];
  }
  if (lowest > highest) node.Fail("has bounds in the wrong order");
  return {lowest, highest};
}

void OnnxReader::ClipCodes(const OnnxNode& node, int index) {
  if (!value(index).coding) node.Fail("clips codes that nothing dequantizes yet");
  ActivationCoding coding = *value(index).coding;
  if (coding.zero_below > 0) node.Fail("clips codes behind a ThresholdedRelu, which is not taken");
  const int offset = coding.stored_offset();
  const auto [lowest, highest] = CodeBounds(node, offset, coding.highest_code() + offset);
  Activation activation{.lowest = lowest - offset, .highest = highest - offset};
  if (activation.lowest <= 0 && activation.highest >= coding.highest_code()) return Define(node, Codes{index});
  const auto width = WidthOf(coding.is_signed, lowest, highest);
  const int first = width && coding.is_signed ? (1 << (coding.bits - 1)) - (1 << (width->bits - 1)) : 0;
  if (width && width->bits < coding.bits && coding.zero_point >= first &&
      coding.zero_point < first + (1 << width->bits)) {
    coding.bits = width->bits;
    coding.zero_point -= first;
    activation = {.lowest = width->narrow ? 1 : 0};
  }
  const auto maker =
      std::find_if(model_.nodes.begin(), model_.nodes.end(), [&](const Node& one) { return one.output == index; });
  // Of what the quantizer in front of it alone made, the clip is a part (but ONNX Runtime's kernels are as they are).
  const bool is_own = forms_.profile == Profile::kOnnx && maker != model_.nodes.end() &&
                      value(index).name == node.input(0) && users_.at(node.input(0)).size() == 1 &&
                      !maker->operation.definition().keeps_coding && maker->activation.lowest == 0 &&
                      maker->activation.highest == 255;
  if (is_own) {
    activation.relu = maker->activation.relu;
    maker->activation = activation;
    model_.values[static_cast<size_t>(index)].coding = coding;
    return Define(node, Codes{index});
  }
  Pending pending;
  pending.name = node.output();
  pending.make = [](const Weighted&) { return Operation(Elementwise{}); };
  pending.inputs = {index};
  pending.shape = value(index).shape;
  const int clipped = Finish(pending, node.output(), coding, activation);
  const ScaleTensors scales = ScaleTensorsOf(index);
  ScaleTensorsOf(clipped) = scales;
  Define(node, Codes{clipped});
}

void OnnxReader::ClipWeights(const OnnxNode& node, const onnx::TensorProto& tensor) {
  const bool is_signed = tensor.data_type() == onnx::TensorProto::INT8;
  if (!is_signed && tensor.data_type() != onnx::TensorProto::UINT8)
    node.Fail("clips weights that are not int8 or uint8");
  const auto [lowest, highest] = CodeBounds(node, is_signed ? -128 : 0, is_signed ? 127 : 255);
  for (const int code : IntegersOf(tensor, source_)) {
    if (code < lowest || code > highest)
      node.Fail(fmt::format("cuts off code {} of '{}': expected weights within {} to {}", code, tensor.name(), lowest,
                            highest));
  }
  const auto width = WidthOf(is_signed, lowest, highest);
  if (!width) node.Fail(fmt::format("clips weights to {} to {}, which no width of 1 to 8 bits has", lowest, highest));
  stored_codes_[&tensor] = *width;
  model_.clipped_weights.push_back(tensor.name());
  Define(node, Constant{&tensor});
}

// ---- moving axes ----

bool OnnxReader::IsMoved(const OnnxNode& node, int input) const {
  return std::holds_alternative<Moved>(Lookup(node, input));
}

Moved OnnxReader::MovedValueAt(const OnnxNode& node, int input) {
  if (const auto* moved = std::get_if<Moved>(&Lookup(node, input))) return *moved;
  return {RealValue(node, input)};
}

std::vector<float> OnnxReader::Floats(const OnnxNode& node, int input) const {
  return FloatsOf(*Expect<Constant>(node, input, "a constant").tensor, source_);
}

std::vector<int64_t> OnnxReader::IntegersAt(const OnnxNode& node, int input) const {
  return Int64sOf(*Expect<Constant>(node, input, "a constant").tensor, source_);
}

OnnxReader::Viewed OnnxReader::ViewedAt(const OnnxNode& node, int input) {
  if (const auto* viewed = std::get_if<Viewed>(&Lookup(node, input))) return *viewed;
  if (const auto* codes = std::get_if<Codes>(&Lookup(node, input))) {
    if (!value(codes->value).coding) FindInputCoding(node);
    return {codes->value, ViewOf(value(codes->value).shape), true};
  }
  const int real = RealValue(node, input);
  return {real, ViewOf(value(real).shape)};
}

void OnnxReader::Move(const OnnxNode& node, const std::function<View(const View&)>& move) {
  Viewed viewed = ViewedAt(node, 0);
  try {
    viewed.view = move(viewed.view);
  } catch (const InputError& error) {
    node.Fail(error.what());
  }
  const ValueShape& shape = value(viewed.value).shape;
  if (viewed.view == ViewOf(shape))
    return Define(node, viewed.is_codes ? Meaning(Codes{viewed.value}) : Meaning(Real{viewed.value}));
  Define(node, viewed);
}

// A value of what is moved: [1, C, H, W], [1, C, L] or [1, C].
int OnnxReader::Rearranged(const OnnxNode& node, const Viewed& viewed, const std::string& node_name,
                           const std::string& value_name) {
  const std::vector<int64_t>& dims = viewed.view.dims;
  if ((dims.size() != 2 && dims.size() != 4) || dims[0] != 1)
    node.Fail(
        fmt::format("takes a value of shape [{}] (one image), expected [1, C] or [1, C, H, W]", fmt::join(dims, ", ")));
  ValueShape shape{dims[1], 1, 1, dims.size() == 2};
  if (dims.size() == 4) shape = {dims[1], dims[2], dims[3]};
  Pending pending;
  pending.name = node_name;
  pending.shape = shape;
  pending.inputs = {viewed.value};
  Rearrange op{shape, viewed.view.from};
  for (int64_t i = 0; viewed.view.from.empty() && i < viewed.view.elements(); ++i)
    op.from.push_back(static_cast<int32_t>(i));
  const bool flattens = viewed.view.from.empty() && shape.flat;
  const Operation operation = flattens ? Operation(Flatten{}) : Operation(op);
  pending.make = [operation](const Weighted&) { return operation; };
  const int moved = Finish(pending, value_name, value(viewed.value).coding, {});
  const ScaleTensors scales = ScaleTensorsOf(viewed.value);
  ScaleTensorsOf(moved) = scales;
  return moved;
}

void OnnxReader::ReadGather(const OnnxNode& node) {
  const std::vector<int64_t> indices = IntegersAt(node, 1);
  const int dimensions = Expect<Constant>(node, 1, "a constant").tensor->dims_size();
  if (dimensions > 1) node.Fail("its indices have more than one dimension");
  const bool is_one = dimensions == 0;
  const int64_t axis = node.Int("axis", 0);
  Move(node, [&](const View& view) {
    const View gathered = Gathered(view, axis, indices);
    return is_one ? WithoutAxes(gathered, {AxisOf(view, axis)}) : gathered;
  });
}

// Sizes of the input, with which constants are repeated for each image.
void OnnxReader::ReadShape(const OnnxNode& node) {
  const Meaning& meaning = Lookup(node, 0);
  const auto* codes = std::get_if<Codes>(&meaning);
  if (!std::holds_alternative<RealInput>(meaning) && (codes == nullptr || codes->value != 0))
    node.Fail("only the shape of the network's input is taken");
  Define(node, BatchShape{ViewOf(value(0).shape).dims});
}

void OnnxReader::ReadConcat(const OnnxNode& node) {
  if (node.inputs() == 0 || !std::holds_alternative<BatchShape>(Lookup(node, 0)))
    return FormOf("Concat")->read(*this, node);
  BatchShape shape;
  for (int i = 0; i < node.inputs(); ++i) {
    const auto* part = std::get_if<BatchShape>(&Lookup(node, i));
    const std::vector<int64_t> dims = part != nullptr ? part->dims : IntegersAt(node, i);
    shape.dims.insert(shape.dims.end(), dims.begin(), dims.end());
  }
  Define(node, std::move(shape));
}

void OnnxReader::ReadExpand(const OnnxNode& node) {
  const onnx::TensorProto& tensor = *Expect<Constant>(node, 0, "a constant").tensor;
  const BatchShape& shape = Expect<BatchShape>(node, 1, "computed from the shape of the network's input");
  if (!std::equal(shape.dims.begin(), shape.dims.end(), tensor.dims().begin(), tensor.dims().end()))
    node.Fail("only the batch is expanded");
  Define(node, Constant{&tensor});
}

void OnnxReader::ReadSlice(const OnnxNode& node) {
  if (node.opset() < 10) node.Fail("before opset 10 is not taken");
  const std::vector<int64_t> starts = IntegersAt(node, 1), ends = IntegersAt(node, 2);
  if (const auto* shape = std::get_if<BatchShape>(&Lookup(node, 0))) {
    if (starts != std::vector<int64_t>{0} || ends != std::vector<int64_t>{1} || node.HasInput(3) || node.HasInput(4))
      node.Fail("of a shape only the batch is taken");
    return Define(node, BatchShape{{shape->dims[0]}});
  }
  std::vector<int64_t> axes, steps(starts.size(), 1);
  for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (node.HasInput(3)) axes = IntegersAt(node, 3);
  if (node.HasInput(4)) steps = IntegersAt(node, 4);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    node.Fail("its starts, ends, axes and steps are not as many");
  Move(node, [&](View view) {
    for (size_t i = 0; i < starts.size(); ++i) view = Sliced(view, axes[i], starts[i], ends[i], steps[i]);
    return view;
  });
}

// A value as matrices, one a group of channels; the results of operators on these as values again; or anything else.
void OnnxReader::ReadReshape(const OnnxNode& node) {
  const std::vector<int64_t> target = IntegersAt(node, 1);
  const bool zero_is_kept = node.Int("allowzero", 0) == 0;
  if (std::holds_alternative<Pending>(Lookup(node, 0))) {
    const Pending& before = std::get<Pending>(Lookup(node, 0));
    const ValueShape& shape = before.shape;
    const bool is_batch = target.size() == 4 && (target[0] == -1 || (target[0] == 0 && zero_is_kept));
    if (!is_batch || before.axes.is_channels_last || shape.flat ||
        std::vector<int64_t>(target.begin() + 1, target.end()) !=
            std::vector<int64_t>{shape.channels, shape.height, shape.width})
      node.Fail(fmt::format("to [{}]: a result that is not quantized yet is only taken back to [N, C, H, W]",
                            fmt::join(target, ", ")));
    Pending pending = Take(node, 0);
    pending.axes.is_grouped = false;
    return Define(node, std::move(pending));
  }
  const bool is_real =
      !std::holds_alternative<Viewed>(Lookup(node, 0)) && !std::holds_alternative<Codes>(Lookup(node, 0));
  if (is_real && target.size() == 4 && target[0] <= 0 && zero_is_kept) {
    const int input = RealValue(node, 0);
    const ValueShape& shape = value(input).shape;
    const bool is_grouping = !shape.flat && target[1] > 0 && target[2] > 0 && target[1] <= shape.channels &&
                             target[2] <= shape.channels && target[1] * target[2] == shape.channels &&
                             target[3] == shape.height * shape.width;
    if (is_grouping) return Define(node, Moved{.value = input, .groups = target[1]});
  }
  Move(node, [&](const View& view) { return Reshaped(view, target, zero_is_kept); });
}

void OnnxReader::ReadTranspose(const OnnxNode& node) {
  const std::vector<int64_t> permutation = node.Ints("perm");
  if (const auto* levels = std::get_if<WeightLevels>(&Lookup(node, 0))) {
    const bool turns = permutation.empty() || permutation == std::vector<int64_t>{1, 0};
    if (parameter(levels->weight).shape.size() != 2 || !turns) node.Fail("moves weights, and is not of a matrix");
    return Define(node, WeightLevels{levels->weight, !levels->is_transposed});
  }
  if (std::holds_alternative<Pending>(Lookup(node, 0))) {
    Pending pending = Take(node, 0);
    if (!pending.axes.is_channels_last || permutation != std::vector<int64_t>{0, 3, 1, 2})
      node.Fail("only results with channels last are understood, to be moved to the front");
    pending.axes.is_channels_last = false;
    return Define(node, std::move(pending));
  }
  if (!std::holds_alternative<Viewed>(Lookup(node, 0)) && !std::holds_alternative<Codes>(Lookup(node, 0))) {
    Moved moved = MovedValueAt(node, 0);
    const bool is_plain = moved.groups == 0 && !moved.channels_last && !value(moved.value).shape.flat;
    if (is_plain && permutation == std::vector<int64_t>{0, 2, 3, 1}) {
      moved.channels_last = true;
      return Define(node, moved);
    }
    if (moved.groups > 0 && permutation == std::vector<int64_t>{0, 1, 3, 2}) {
      moved.transposed = !moved.transposed;
      return Define(node, moved);
    }
    if (moved.groups > 0 || moved.channels_last)
      node.Fail(fmt::format("moves axes in a way that is not understood ([{}])", fmt::join(permutation, ", ")));
  }
  Move(node, [&](const View& view) { return Transposed(view, permutation); });
}

// ---- operators ----

ValueShape OnnxReader::ShapeOf(const OnnxNode& node, const Operation& operation, const std::vector<int>& inputs) const {
  try {
    return OutputShape(model_, Node{WithoutSuffix(node.output(), ".sum"), operation, inputs, 0});
  } catch (const InputError& error) {
    node.Fail(error.what());
  }
}

void OnnxReader::Start(const OnnxNode& node, Operation operation, std::vector<int> inputs, const std::string& suffix,
                       Axes axes) {
  Pending pending;
  pending.axes = axes;
  pending.name = WithoutSuffix(node.output(), suffix);
  pending.shape = ShapeOf(node, operation, inputs);
  pending.make = [operation](const Weighted&) { return operation; };
  pending.inputs = std::move(inputs);
  pending.may_be_real = operation.definition().may_be_real;
  Define(node, std::move(pending));
}

void OnnxReader::StartWeighted(const OnnxNode& node, std::function<Operation(Weighted)> make, int input, int weight) {
  if (!outputs_last_.emplace(weight, parameter(weight).output_axis == 1).second &&
      outputs_last_.at(weight) != (parameter(weight).output_axis == 1))
    node.Fail("shares its weights with a node that takes them the other way round");
  Pending pending;
  pending.name = WithoutSuffix(node.output(), ".sum");
  pending.weighted = Weighted{weight, {}};
  pending.inputs = {input};
  const Operation operation = make(*pending.weighted);
  pending.shape = ShapeOf(node, operation, pending.inputs);
  pending.may_be_real = operation.definition().may_be_real;
  pending.make = std::move(make);
  if (node.HasInput(2)) {
    const int bias = PerChannel(node, 2, pending.shape.channels, 0, Role::kBias);
    pending.weighted->steps.push_back({AffineStep::Kind::kAdd, bias});
  }
  Define(node, std::move(pending));
}

void OnnxReader::PutOutputs(const OnnxNode& node, int weight, bool last) {
  if (last)
    PutOutputsLast(node, weight);
  else if (parameter(weight).output_axis != 0)
    node.Fail("its weights have scales along their inputs");
}

void OnnxReader::PutOutputsLast(const OnnxNode& node, int index) {
  Parameter& weight = model_.parameters[static_cast<size_t>(index)];
  if (weight.shape.size() != 2) node.Fail("its weights must have 2 dimensions");
  const auto taken = outputs_last_.find(index);
  if (taken != outputs_last_.end() && !taken->second)
    node.Fail("shares its weights with a node that takes them the other way round");
  if (parameter(weight.scale).elements() > 1 && weight.output_axis != 1)
    node.Fail("its weights have scales along their inputs");
  weight.output_axis = 1;
  needs_reading_2_ = true;
}

int OnnxReader::MovedValue(const OnnxNode& node) {
  if (const auto* viewed = std::get_if<Viewed>(&Lookup(node, 0)); viewed != nullptr && viewed->is_codes) {
    const int moved = Rearranged(node, *viewed, node.input(0), node.input(0));
    meanings_.insert_or_assign(node.input(0), Codes{moved});
    return moved;
  }
  const auto* codes = std::get_if<Codes>(&Lookup(node, 0));
  return codes != nullptr ? codes->value : RealValue(node, 0);
}

void OnnxReader::MoveCodes(const OnnxNode& node, Operation operation) {
  const int input = MovedValue(node);
  const bool on_codes = std::holds_alternative<Codes>(Lookup(node, 0));
  if (!value(input).coding) FindInputCoding(node);
  Pending pending;
  pending.name = WithoutSuffix(node.output(), ".real");
  pending.shape = ShapeOf(node, operation, {input});
  pending.make = [operation](const Weighted&) { return operation; };
  pending.inputs = {input};
  const int output = Finish(pending, pending.name, value(input).coding, {});
  ScaleTensors scales = ScaleTensorsOf(input);
  if (on_codes) {  // what dequantizes the result comes behind it
    if (scales.quantizer == nullptr) scales.quantizer = scales.dequantizer;
    scales.dequantizer = nullptr;
  }
  ScaleTensorsOf(output) = scales;
  Define(node, on_codes ? Meaning(Codes{output}) : Meaning(Real{output}));
}

// Turns a pending operator into a node and its output value.
int OnnxReader::Finish(const Pending& pending, const std::string& value_name, std::optional<ActivationCoding> coding,
                       const Activation& activation) {
  const int output = static_cast<int>(model_.values.size());
  model_.values.push_back({value_name, pending.shape, coding});
  model_.nodes.push_back(
      {pending.name, pending.make(pending.weighted.value_or(Weighted{})), pending.inputs, output, activation});
  return output;
}

}  // namespace steadfast::model
