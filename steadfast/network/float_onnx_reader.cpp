#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <unordered_map>
#include <variant>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/model/onnx_proto.h"
#include "steadfast/network/float_onnx.h"

namespace steadfast::network {
namespace {

using model::OnnxAttribute;
using model::OnnxNode;
using model::OnnxSource;

constexpr int kOldestOpset = 9;

// A constant of the file: one of the two has its elements.
struct Constant {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> floats;
  std::vector<int64_t> integers;
  bool is_float = true;
  // -1 where the shape is impossible.
  int64_t elements() const {
    int64_t count = 1;
    for (const int64_t size : shape) {
      if (size < 0 || (size > 0 && count > (int64_t{1} << 33) / size)) return -1;
      count *= size;
    }
    return count;
  }
};
// A value of the graph. pads: zeros around it that a Pad node added (top, left, bottom, right).
// Its axes may be moved: to [N, H, W, C], or to [N, groups, C / groups, H * W], the last two of which may change
// places.
struct Flowing {
  int value = 0;
  std::vector<int> pads = {};
  bool is_softmax = false;
  bool is_channels_last = false;
  int64_t groups = 0;  // 0: not so
  bool is_transposed = false;
  bool is_moved() const { return is_channels_last || groups > 0; }
};
using Meaning = std::variant<Constant, Flowing>;

class Reader {
 public:
  Reader(onnx::ModelProto& proto, const std::string& file, const std::filesystem::path& folder)
      : proto_(proto), folder_(folder), source_{file, 0}, builder_(file, {}) {}

  FloatGraph Read() {
    source_.opset = model::OpsetOf(proto_, source_.file, kOldestOpset);
    for (onnx::TensorProto& tensor : *proto_.mutable_graph()->mutable_initializer())
      meanings_[tensor.name()] = ConstantOf(tensor);
    for (const auto& entry : proto_.metadata_props()) builder_.graph_.metadata[entry.key()] = entry.value();
    ReadInput();
    for (const onnx::NodeProto& node : proto_.graph().node()) {
      if (node.output_size() == 0 || !taken_up_.contains(node.output(0))) ReadNode(OnnxNode(node, source_));
    }
    ReadOutput();
    if (builder_.graph_.metadata.erase(std::string(kUntrained)) > 0) {
      for (const FloatNode& node : builder_.graph_.nodes) ForgetValues(node);
    }
    FoldScales(builder_.graph_);
    Prune(builder_.graph_);
    return std::move(builder_.graph_);
  }

 private:
  using Handler = void (Reader::*)(const OnnxNode&);
  struct Rule {
    std::vector<OnnxAttribute> attributes;
    Handler read;
  };

  static const std::unordered_map<std::string, Rule>& Rules() {
    static const std::vector<OnnxAttribute> window = {{"auto_pad"},     {"dilations"}, {"group"},
                                                      {"kernel_shape"}, {"pads"},      {"strides"}};
    static const std::vector<OnnxAttribute> pool = {{"auto_pad"},         {"ceil_mode", 10}, {"count_include_pad", 7},
                                                    {"dilations", 10},    {"kernel_shape"},  {"pads"},
                                                    {"storage_order", 8}, {"strides"}};
    static const std::unordered_map<std::string, Rule> rules = {
        {"Conv", {window, &Reader::ReadConvolution}},
        {"Gemm", {{{"alpha"}, {"beta"}, {"transA"}, {"transB"}}, &Reader::ReadGemm}},
        {"MatMul", {{}, &Reader::ReadMatMul}},
        {"BatchNormalization",
         {{{"epsilon"}, {"momentum"}, {"spatial", 1, 8}, {"training_mode", 14}}, &Reader::ReadNormalization}},
        {"Relu", {{}, &Reader::ReadRelu}},
        {"Clip", {{{"min", 1, 10}, {"max", 1, 10}}, &Reader::ReadClip}},
        {"LeakyRelu", {{{"alpha"}}, &Reader::ReadFunction}},
        {"HardSigmoid", {{{"alpha"}, {"beta"}}, &Reader::ReadFunction}},
        {"HardSwish", {{}, &Reader::ReadFunction}},
        {"Sigmoid", {{}, &Reader::ReadFunction}},
        {"Tanh", {{}, &Reader::ReadFunction}},
        {"Gelu", {{{"approximate", 20}}, &Reader::ReadFunction}},
        {"MaxPool", {pool, &Reader::ReadMaxPool}},
        {"AveragePool", {pool, &Reader::ReadAveragePool}},
        {"GlobalAveragePool", {{}, &Reader::ReadGlobalAverage}},
        {"ReduceMean", {{{"axes", 1, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}, &Reader::ReadReduceMean}},
        {"Add", {{}, &Reader::ReadArithmetic}},
        {"Sub", {{}, &Reader::ReadArithmetic}},
        {"Mul", {{}, &Reader::ReadArithmetic}},
        {"Div", {{}, &Reader::ReadArithmetic}},
        {"Concat", {{{"axis"}}, &Reader::ReadConcat}},
        {"Flatten", {{{"axis"}}, &Reader::ReadFlatten}},
        {"Reshape", {{{"allowzero", 14}}, &Reader::ReadReshape}},
        {"Squeeze", {{{"axes", 1, 12}}, &Reader::ReadSqueeze}},
        {"Unsqueeze", {{{"axes", 1, 12}}, &Reader::ReadSqueeze}},
        {"Transpose", {{{"perm"}}, &Reader::ReadTranspose}},
        {"Pad", {{{"mode"}, {"pads", 1, 10}, {"value", 1, 10}}, &Reader::ReadPad}},
        {"Identity", {{}, &Reader::ReadIdentity}},
        {"Dropout", {{{"ratio", 1, 11}, {"seed", 12}}, &Reader::ReadIdentity}},
        {"Cast", {{{"to"}, {"saturate", 19}}, &Reader::ReadCast}},
        {"Softmax", {{{"axis"}}, &Reader::ReadSoftmax}},
        {"LogSoftmax", {{{"axis"}}, &Reader::ReadSoftmax}},
        {"LayerNormalization", {{{"axis"}, {"epsilon"}, {"stash_type"}}, &Reader::ReadLayerNormalization}},
        {"Shape", {{{"start", 15}, {"end", 15}}, &Reader::ReadShape}},
        {"Gather", {{{"axis"}}, &Reader::ReadGather}},
        {"ConstantOfShape", {{{"value"}}, &Reader::ReadConstantOfShape}},
        {"Slice", {{{"axes", 1, 9}, {"ends", 1, 9}, {"starts", 1, 9}}, &Reader::ReadSlice}},
        {"Constant",
         {{{"value"}, {"value_float", 12}, {"value_floats", 12}, {"value_int", 12}, {"value_ints", 12}},
          &Reader::ReadConstant}}};
    return rules;
  }

  // Of a network that was written before it was trained: to be drawn.
  void ForgetValues(const FloatNode& node) {
    const auto forget = [&](int parameter) {
      if (parameter >= 0) builder_.graph_.parameters[static_cast<size_t>(parameter)].values.clear();
    };
    forget(WeightOf(node));
    if (const auto* convolution = std::get_if<Convolution>(&node.operation)) forget(convolution->bias);
    if (const auto* linear = std::get_if<Linear>(&node.operation)) forget(linear->bias);
  }

  // ---- constants ----

  // The bytes of a tensor that lie in a file beside the model.
  void FetchExternal(onnx::TensorProto& tensor) {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) return;
    const std::string where = fmt::format("tensor '{}'", tensor.name());
    std::string location;
    int64_t offset = 0, length = -1;
    for (const auto& entry : tensor.external_data()) {
      if (entry.key() == "location") location = entry.value();
      if (entry.key() == "offset") offset = std::strtoll(entry.value().c_str(), nullptr, 10);
      if (entry.key() == "length") length = std::strtoll(entry.value().c_str(), nullptr, 10);
    }
    const std::filesystem::path path(location);
    const bool leaves = path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end();
    if (location.empty() || leaves)
      source_.Fail(where, fmt::format("keeps its data in '{}', which is not a file beside the model", location));
    auto found = external_.find(location);
    if (found == external_.end()) {
      found = external_.emplace(location, ReadFile(folder_ / path, uint64_t{1} << 32)).first;
    }
    const auto size = static_cast<int64_t>(found->second.size());
    if (length < 0) length = size - offset;
    if (offset < 0 || length < 0 || offset > size || length > size - offset)
      source_.Fail(where, fmt::format("its data would be bytes {} to {} of {}, which has {}", offset, offset + length,
                                      (folder_ / path).string(), size));
    tensor.set_raw_data(found->second.data() + offset, static_cast<size_t>(length));
    tensor.clear_external_data();
    tensor.set_data_location(onnx::TensorProto::DEFAULT);
  }

  Constant ConstantOf(onnx::TensorProto& tensor) {
    FetchExternal(tensor);
    Constant constant{.name = tensor.name(), .shape = {tensor.dims().begin(), tensor.dims().end()}};
    if (tensor.data_type() == onnx::TensorProto::FLOAT) {
      constant.floats = model::FloatsOf(tensor, source_);
      return constant;
    }
    constant.is_float = false;
    if (tensor.data_type() == onnx::TensorProto::INT64) {
      constant.integers = Int64sOf(tensor);
      if (constant.elements() != Elements(constant))
        source_.Fail(fmt::format("tensor '{}'", tensor.name()),
                     fmt::format("has {} values, expected {}", Elements(constant), constant.elements()));
    } else if (tensor.data_type() == onnx::TensorProto::BOOL) {
      constant.shape = {0};  // of Dropout, which is left out
    } else if (tensor.data_type() == onnx::TensorProto::DOUBLE || tensor.data_type() == onnx::TensorProto::FLOAT16) {
      source_.Fail(fmt::format("tensor '{}'", tensor.name()),
                   "is not float32; convert the model to float32 before exporting it");
    } else {
      const auto values = model::IntegersOf(tensor, source_);
      constant.integers.assign(values.begin(), values.end());
    }
    return constant;
  }

  std::vector<int64_t> Int64sOf(const onnx::TensorProto& tensor) const {
    if (!tensor.has_raw_data()) return {tensor.int64_data().begin(), tensor.int64_data().end()};
    if (tensor.raw_data().size() % 8 != 0)
      source_.Fail(fmt::format("tensor '{}'", tensor.name()), "has a part of a number too many");
    std::vector<int64_t> values(tensor.raw_data().size() / 8);
    if (!values.empty()) std::memcpy(values.data(), tensor.raw_data().data(), tensor.raw_data().size());
    return values;
  }

  void ReadConstant(const OnnxNode& node) {
    Constant constant{.name = node.output()};
    if (const auto* value = node.Tensor("value")) {
      onnx::TensorProto copy = *value;
      if (copy.name().empty()) copy.set_name(node.output());
      constant = ConstantOf(copy);
    } else if (node.Has("value_float") || node.Has("value_floats")) {
      constant.floats = node.Has("value_float") ? std::vector{static_cast<float>(node.Float("value_float", 0))}
                                                : node.Floats("value_floats");
      if (node.Has("value_floats")) constant.shape = {static_cast<int64_t>(constant.floats.size())};
    } else {
      constant.is_float = false;
      constant.integers =
          node.Has("value_int") ? std::vector<int64_t>{node.Int("value_int", 0)} : node.Ints("value_ints");
      if (node.Has("value_ints")) constant.shape = {static_cast<int64_t>(constant.integers.size())};
    }
    Define(node, std::move(constant));
  }

  // ---- names ----

  void Define(const OnnxNode& node, Meaning meaning) {
    if (!meanings_.emplace(node.output(), std::move(meaning)).second)
      node.Fail(fmt::format("its output '{}' is defined twice", node.output()));
  }
  const Meaning& Lookup(const OnnxNode& node, int input) const {
    const auto found = meanings_.find(node.input(input));
    if (found == meanings_.end()) node.Fail(fmt::format("its input '{}' is not defined before it", node.input(input)));
    return found->second;
  }
  bool IsConstant(const OnnxNode& node, int input) const {
    return std::holds_alternative<Constant>(Lookup(node, input));
  }
  const Flowing& FlowOf(const OnnxNode& node, int input) const {
    const auto* flow = std::get_if<Flowing>(&Lookup(node, input));
    if (flow == nullptr) node.Fail(fmt::format("its input '{}' is a constant, expected a value", node.input(input)));
    if (flow->is_softmax) node.Fail("takes the result of a Softmax: only one at the end of the network is understood");
    return *flow;
  }
  // [N, C, H, W] or [N, C], padded or not.
  const Flowing& PaddedAt(const OnnxNode& node, int input) const {
    const Flowing& flow = FlowOf(node, input);
    if (flow.is_moved() && !LiesAsBefore(flow))
      node.Fail("takes values whose axes are moved, which is not understood here");
    return flow;
  }
  int ValueOf(const OnnxNode& node, int input) const {
    const Flowing& flow = PaddedAt(node, input);
    if (!flow.pads.empty()) node.Fail("takes padded values: a Pad is only understood in front of a convolution");
    return flow.value;
  }
  bool LiesAsBefore(const Flowing& flow) const {
    const ValueShape& shape = ShapeOf(flow.value);
    return flow.groups == shape.channels && shape.height == 1 && !flow.is_transposed && !flow.is_channels_last;
  }
  const Constant& ConstantAt(const OnnxNode& node, int input, bool is_float) const {
    const auto* constant = std::get_if<Constant>(&Lookup(node, input));
    if (constant == nullptr)
      node.Fail(fmt::format("its input '{}' is computed by the network, expected a constant", node.input(input)));
    if (constant->is_float != is_float)
      node.Fail(fmt::format("its input '{}' must hold {}", node.input(input), is_float ? "float32" : "integers"));
    return *constant;
  }
  float ScalarAt(const OnnxNode& node, int input) const {
    const Constant& constant = ConstantAt(node, input, true);
    if (constant.floats.size() != 1) node.Fail(fmt::format("its input '{}' must be one number", node.input(input)));
    return constant.floats[0];
  }
  const ValueShape& ShapeOf(int value) const { return builder_.graph_.value(value).shape; }

  // The name of a node in the graph: its own, or its output's.
  std::string NameOf(const OnnxNode& node) {
    std::string name = node.proto().name().empty() ? node.output() : node.proto().name();
    while (!name.empty() && name.front() == '/') name.erase(0, 1);
    std::replace(name.begin(), name.end(), '/', '.');
    // "layer1.conv.Conv" is what PyTorch makes of a module layer1.conv.
    const std::string ending = "." + node.type();
    if (name.size() > ending.size() && name.ends_with(ending)) name.erase(name.size() - ending.size());
    if (name.empty()) name = node.type();
    const std::string wanted = name;
    for (int number = 2; !names_.insert(name).second; ++number) name = fmt::format("{}_{}", wanted, number);
    return name;
  }
  // Weights keep the file's name for them, if it is theirs alone.
  int AddParameter(std::string name, const Constant& constant, std::vector<int64_t> shape, std::vector<float> values) {
    for (const float value : values) {
      if (!std::isfinite(value))
        source_.Fail(fmt::format("tensor '{}'", constant.name.empty() ? name : constant.name),
                     fmt::format("holds {}, which no trained network does", value));
    }
    if (constant.name.empty()) return builder_.AddParameter(std::move(name), std::move(shape), std::move(values));
    const auto [first, is_first] = parameter_of_.emplace(constant.name, -1);
    if (is_first) name = constant.name;
    const int index = builder_.AddParameter(std::move(name), std::move(shape), std::move(values));
    if (is_first) {
      first->second = index;
    } else {  // Fuse refuses weights that several nodes share
      builder_.graph_.parameters[static_cast<size_t>(index)].is_shared = true;
      builder_.graph_.parameters[static_cast<size_t>(first->second)].is_shared = true;
    }
    return index;
  }
  void Add(const OnnxNode& node, FloatOperation operation, std::vector<int> inputs) {
    AddNamed(node, NameOf(node), std::move(operation), std::move(inputs));
  }
  void AddNamed(const OnnxNode& node, const std::string& name, FloatOperation operation, std::vector<int> inputs) {
    try {
      Define(node, Flowing{builder_.AddNode(name, std::move(operation), std::move(inputs))});
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", source_.file, error.what()));
    }
  }

  // ---- the graph's ends ----

  void ReadInput() {
    const onnx::ValueInfoProto* input = nullptr;
    for (const auto& candidate : proto_.graph().input()) {
      if (meanings_.contains(candidate.name())) continue;  // an initializer, as old files list them
      if (input != nullptr) source_.Fail("graph", "has several inputs; Steadfast takes networks with one");
      input = &candidate;
    }
    if (input == nullptr) source_.Fail("graph", "has no input");
    const auto& type = input->type().tensor_type();
    const std::string where = fmt::format("input '{}'", input->name());
    if (type.elem_type() != onnx::TensorProto::FLOAT) source_.Fail(where, "must be float32");
    std::vector<int64_t> dims;
    for (int d = 1; d < type.shape().dim_size(); ++d) {
      const auto& dim = type.shape().dim(d);
      if (!dim.has_dim_value() || dim.dim_value() < 1 || dim.dim_value() > 65536)
        source_.Fail(where,
                     fmt::format("its dimension {} has no fixed size; export the network for images of one size", d));
      dims.push_back(dim.dim_value());
    }
    ValueShape shape;
    if (dims.size() == 1) {
      shape = {dims[0], 1, 1, true};
    } else if (dims.size() == 2) {
      shape = {dims[0], 1, dims[1]};
    } else if (dims.size() == 3) {
      shape = {dims[0], dims[1], dims[2]};
    } else {
      source_.Fail(where, fmt::format("has {} dimensions; expected [N, channels, rows, columns], [N, channels, length] "
                                      "or [N, features]",
                                      dims.size() + 1));
    }
    builder_.graph_.values[0] = {input->name(), shape};
    rank_ = static_cast<int>(dims.size()) + 1;
    meanings_[input->name()] = Flowing{0};
  }

  void ReadOutput() {
    if (proto_.graph().output_size() != 1)
      source_.Fail("graph",
                   fmt::format("has {} outputs; Steadfast takes networks with one", proto_.graph().output_size()));
    const std::string& name = proto_.graph().output(0).name();
    const auto found = meanings_.find(name);
    const Flowing* flow = found == meanings_.end() ? nullptr : std::get_if<Flowing>(&found->second);
    if (flow == nullptr || flow->value == 0)
      source_.Fail("graph", fmt::format("its output '{}' is not computed", name));
    builder_.graph_.output = flow->value;
    // One number a class is flat already.
    for (const FloatNode* last = MakerOf(builder_.graph_.output);
         last != nullptr && std::holds_alternative<Flatten>(last->operation) &&
         ShapeOf(last->inputs[0]).height * ShapeOf(last->inputs[0]).width == 1 && last->inputs[0] != 0;
         last = MakerOf(builder_.graph_.output))
      builder_.graph_.output = last->inputs[0];
    if (ShapeOf(flow->value).height * ShapeOf(flow->value).width != 1)
      source_.Fail("graph", fmt::format("its output '{}' has rows and columns; expected one number a class", name));
  }

  const FloatNode* MakerOf(int value) const {
    for (const FloatNode& node : builder_.graph_.nodes) {
      if (node.output == value) return &node;
    }
    return nullptr;
  }

  void ReadNode(const OnnxNode& node) {
    node.output();
    const auto rule = Rules().find(node.type());
    if (rule == Rules().end()) {
      std::vector<std::string> known;
      for (const auto& [type, unused] : Rules()) known.push_back(type);
      std::sort(known.begin(), known.end());
      const bool quantized = node.type() == "QuantizeLinear" || node.type() == "DequantizeLinear";
      node.Fail(quantized ? std::string("belongs to a quantized network, and a float network is expected here")
                          : fmt::format("this operator is not taken over from float networks (known are {})",
                                        fmt::join(known, ", ")));
    }
    node.Check(rule->second.attributes);
    (this->*rule->second.read)(node);
  }

  // ---- weighted sums ----

  void ReadConvolution(const OnnxNode& node) {
    const Flowing& flow = PaddedAt(node, 0);
    const Constant weight = ConstantAt(node, 1, true);
    std::vector<int64_t> shape = weight.shape;
    Convolution op;
    if (shape.size() == 3) {  // along one dimension
      shape.insert(shape.begin() + 2, 1);
      op.window = WindowOfLine(node, shape[3]);
    } else if (shape.size() == 4) {
      op.window = node.WindowOf(Small(node, shape[2]), Small(node, shape[3]), ShapeOf(flow.value));
    } else {
      node.Fail(fmt::format("its weights have {} dimensions; convolutions along one or two are taken", shape.size()));
    }
    if (!flow.pads.empty()) {
      const std::string auto_pad = node.Text("auto_pad", "NOTSET");
      if (auto_pad != "NOTSET" && auto_pad != "VALID")
        node.Fail(fmt::format("takes padded values and pads them by auto_pad {}, which is not taken", auto_pad));
      op.window.pad_top += flow.pads[0];
      op.window.pad_left += flow.pads[1];
      op.window.pad_bottom += flow.pads[2];
      op.window.pad_right += flow.pads[3];
    }
    op.groups = node.SmallInt("group", node.Int("group", 1));
    const std::string name = NameOf(node);
    op.weight = AddParameter(name + ".weight", weight, shape, weight.floats);
    if (node.HasInput(2)) {
      const Constant& bias = ConstantAt(node, 2, true);
      op.bias = AddParameter(name + ".bias", bias, bias.shape, bias.floats);
    }
    AddNamed(node, name, op, {flow.value});
  }

  static int Small(const OnnxNode& node, int64_t size) { return node.SmallInt("kernel_shape", size); }

  Window WindowOfLine(const OnnxNode& node, int64_t kernel) const {
    const auto one = [&](const char* attribute, int64_t otherwise) {
      const auto values = node.Has(attribute) ? node.Ints(attribute) : std::vector<int64_t>{otherwise};
      if (values.size() != 1)
        node.Fail(fmt::format("attribute {} has {} values, expected 1", attribute, values.size()));
      return node.SmallInt(attribute, values[0]);
    };
    if (node.Text("auto_pad", "NOTSET") != "NOTSET") node.Fail("auto_pad is not taken along one dimension; use pads");
    Window window;
    window.kernel_w = one("kernel_shape", kernel);
    window.stride_w = one("strides", 1);
    window.dilation_w = one("dilations", 1);
    const auto pads = node.Has("pads") ? node.Ints("pads") : std::vector<int64_t>{0, 0};
    if (pads.size() != 2) node.Fail(fmt::format("attribute pads has {} values, expected 2", pads.size()));
    window.pad_left = node.SmallInt("pads", pads[0]);
    window.pad_right = node.SmallInt("pads", pads[1]);
    return window;
  }

  // `outputs_first`: whether the matrix is [outputs, inputs].
  void AddLinear(const OnnxNode& node, const Constant& weight, bool outputs_first, const Constant* bias) {
    if (weight.shape.size() != 2)
      node.Fail(fmt::format("its weights have {} dimensions, expected 2", weight.shape.size()));
    const int64_t outputs = weight.shape[outputs_first ? 0 : 1], inputs = weight.shape[outputs_first ? 1 : 0];
    std::vector<float> values = weight.floats;
    if (!outputs_first) {
      for (int64_t o = 0; o < outputs; ++o) {
        for (int64_t i = 0; i < inputs; ++i)
          values[static_cast<size_t>(o * inputs + i)] = weight.floats[static_cast<size_t>(i * outputs + o)];
      }
    }
    const std::string name = NameOf(node);
    Linear op;
    op.weight = AddParameter(name + ".weight", weight, {outputs, inputs}, std::move(values));
    if (bias != nullptr) {
      std::vector<float> terms = bias->floats;
      if (terms.size() == 1) terms.assign(static_cast<size_t>(outputs), terms[0]);
      op.bias = AddParameter(name + ".bias", *bias, {static_cast<int64_t>(terms.size())}, terms);
    }
    AddNamed(node, name, op, {ValueOf(node, 0)});
  }

  void ReadGemm(const OnnxNode& node) {
    if (node.Float("alpha", 1) != 1 || node.Float("beta", 1) != 1 || node.Int("transA", 0) != 0)
      node.Fail("alpha, beta and transA other than 1, 1 and 0 are not taken");
    AddLinear(node, ConstantAt(node, 1, true), node.Int("transB", 0) != 0,
              node.HasInput(2) ? &ConstantAt(node, 2, true) : nullptr);
  }

  void ReadMatMul(const OnnxNode& node) {
    if (!IsConstant(node, 0) && !IsConstant(node, 1)) return ReadProduct(node);
    AddLinear(node, ConstantAt(node, 1, true), false, nullptr);
  }

  // Of matrices, one a group of channels.
  void ReadProduct(const OnnxNode& node) {
    const Flowing &a = FlowOf(node, 0), &b = FlowOf(node, 1);
    if (a.groups < 1 || b.groups != a.groups || b.is_transposed)
      node.Fail("products of two computed values are only taken of [N, groups, channels, positions]");
    Add(node, Product{a.is_transposed, static_cast<int>(a.groups), 1}, {a.value, b.value});
    std::get<Flowing>(meanings_.at(node.output())).groups = a.groups;
  }
  // A factor behind a product of values.
  bool TakeFactor(const OnnxNode& node, const Flowing& flow, const Constant& constant) {
    FloatGraph& graph = builder_.graph_;
    if ((node.type() != "Mul" && node.type() != "Div") || constant.floats.size() != 1 || graph.nodes.empty() ||
        graph.nodes.back().output != flow.value)
      return false;
    auto* product = std::get_if<Product>(&graph.nodes.back().operation);
    if (product == nullptr || UsesOf(flow.value) > 1) return false;
    product->factor =
        node.type() == "Mul" ? product->factor * constant.floats[0] : product->factor / constant.floats[0];
    if (!std::isfinite(product->factor)) node.Fail("divides by 0");
    Define(node, flow);
    return true;
  }

  void ReadLayerNormalization(const OnnxNode& node) {
    const Flowing& flow = FlowOf(node, 0);
    const ValueShape shape = ShapeOf(flow.value);
    if (flow.is_channels_last == shape.flat || flow.groups > 0)
      node.Fail("only a normalization over channels is taken: behind a Transpose that puts them last");
    const int64_t axis = node.Int("axis", -1);
    if (axis != -1 && axis != (shape.flat ? 1 : 3)) node.Fail("its axis must be the last");
    const std::string name = NameOf(node);
    const int value =
        builder_.AddNode(name, LayerNormalization{static_cast<float>(node.Float("epsilon", 1e-5))}, {flow.value});
    const Constant scale = ConstantAt(node, 1, true);
    std::vector<float> shift(scale.floats.size(), 0.0f);
    if (node.HasInput(2)) shift = ConstantAt(node, 2, true).floats;
    const auto is_all = [](const std::vector<float>& values, float one) {
      return std::all_of(values.begin(), values.end(), [&](float v) { return v == one; });
    };
    int result = value;
    if (!is_all(scale.floats, 1) || !is_all(shift, 0)) {  // FoldScales makes it a part of what follows
      BatchNormalization op{.epsilon = 0};
      const auto all = [&](float number) { return std::vector<float>(static_cast<size_t>(shape.channels), number); };
      const auto add = [&](const char* ending, std::vector<float> values) {
        return builder_.AddParameter(name + ending, {shape.channels}, std::move(values));
      };
      op.gamma = add(".weight", scale.floats);
      op.beta = add(".bias", shift);
      op.mean = add(".subtracted", all(0));
      op.variance = add(".one", all(1));
      result = builder_.AddNode(name + ".scaled", op, {value});
    }
    Define(node, Flowing{.value = result, .is_channels_last = flow.is_channels_last});
  }

  void ReadNormalization(const OnnxNode& node) {
    if (node.Int("training_mode", 0) != 0) node.Fail("is in training mode; export the network after model.eval()");
    if (node.Int("spatial", 1) != 1) node.Fail("spatial 0 is not taken");
    const std::string name = NameOf(node);
    BatchNormalization op;
    op.epsilon = node.Float("epsilon", 1e-5);
    int* const parameters[] = {&op.gamma, &op.beta, &op.mean, &op.variance};
    const char* const endings[] = {".weight", ".bias", ".running_mean", ".running_var"};
    for (int i = 0; i < 4; ++i) {
      const Constant& constant = ConstantAt(node, i + 1, true);
      *parameters[i] = AddParameter(name + endings[i], constant, constant.shape, constant.floats);
    }
    for (const float variance : builder_.graph_.parameter(op.variance).values) {
      if (!(variance >= 0)) node.Fail(fmt::format("has a variance of {}", variance));
    }
    AddNamed(node, name, op, {ValueOf(node, 0)});
  }

  // ---- arithmetic with constants, and additions ----

  // The only node that takes a name, if it is of this type; null otherwise.
  const onnx::NodeProto* OnlyTaker(const std::string& name, const char* type) const {
    const onnx::NodeProto* taker = nullptr;
    for (const auto& node : proto_.graph().node()) {
      if (std::find(node.input().begin(), node.input().end(), name) == node.input().end()) continue;
      if (taker != nullptr || node.op_type() != type || node.output_size() != 1) return nullptr;
      taker = &node;
    }
    return taker;
  }
  // Of a node with two inputs, the one that is not `name`, if that is one number near `value`.
  bool HasNumber(const onnx::NodeProto& node, const std::string& name, float value) const {
    if (node.input_size() != 2) return false;
    const auto found = meanings_.find(node.input(node.input(0) == name ? 1 : 0));
    if (found != meanings_.end()) {
      const auto* constant = std::get_if<Constant>(&found->second);
      return constant != nullptr && constant->floats.size() == 1 && std::abs(constant->floats[0] - value) < 1e-4f;
    }
    // A Constant node that is not read yet.
    for (const auto& maker : proto_.graph().node()) {
      if (maker.op_type() != "Constant" || maker.output(0) != node.input(node.input(0) == name ? 1 : 0)) continue;
      for (const auto& attribute : maker.attribute()) {
        const auto values = attribute.has_t() && attribute.t().data_type() == onnx::TensorProto::FLOAT
                                ? model::FloatsOf(attribute.t(), source_)
                                : std::vector<float>{attribute.f()};
        return values.size() == 1 && std::abs(values[0] - value) < 1e-4f;
      }
    }
    return false;
  }

  // x / sqrt(2), erf of it, plus 1, times x, times 0.5: a GELU, as exporters wrote it before opset 20.
  bool TakeGelu(const OnnxNode& node) {
    if (node.type() != "Div" || !HasNumber(node.proto(), node.input(0), std::sqrt(2.0f))) return false;
    const std::string& x = node.input(0);
    const auto* erf = OnlyTaker(node.output(), "Erf");
    const auto* sum = erf == nullptr ? nullptr : OnlyTaker(erf->output(0), "Add");
    if (sum == nullptr || !HasNumber(*sum, erf->output(0), 1)) return false;
    const auto* product = OnlyTaker(sum->output(0), "Mul");
    if (product == nullptr || product->input_size() != 2) return false;
    if (product->input(product->input(0) == sum->output(0) ? 1 : 0) != x) return false;
    const auto* half = OnlyTaker(product->output(0), "Mul");
    if (half == nullptr || !HasNumber(*half, product->output(0), 0.5f)) return false;
    for (const auto* part : {erf, sum, product, half}) taken_up_.insert(part->output(0));
    const OnnxNode last(*half, source_);
    Add(last, Function{"Gelu"}, {ValueOf(node, 0)});
    return true;
  }

  void ReadArithmetic(const OnnxNode& node) {
    if (TakeGelu(node)) return;
    const bool first = IsConstant(node, 0), second = IsConstant(node, 1);
    if (!first && !second) {
      if (node.type() == "Mul" && TakeSelfGate(node)) return;
      if (node.type() == "Mul") return ReadGate(node);
      if (node.type() != "Add") node.Fail(fmt::format("{} of two computed values is not taken", node.type()));
      return Add(node, network::Add{}, {ValueOf(node, 0), ValueOf(node, 1)});
    }
    if (first && second)
      node.Fail("is arithmetic on constants alone, which is not folded; simplify the model first (onnxsim does)");
    if (first && (node.type() == "Sub" || node.type() == "Div"))
      node.Fail("a constant less or divided by a computed value is not taken");
    if (TakeFactor(node, FlowOf(node, first ? 1 : 0), ConstantAt(node, first ? 0 : 1, true))) return;
    const int value = ValueOf(node, first ? 1 : 0);
    if (node.type() == "Add" && TakeEmbedding(node, value, ConstantAt(node, first ? 0 : 1, true))) return;
    const int64_t channels = ShapeOf(value).channels;
    std::vector<float> constant = PerChannel(node, first ? 0 : 1, ShapeOf(value));
    if (node.type() == "Add" && TakeBias(node, value, constant)) return;
    // As a normalization: (x - mean) * gamma + beta.
    const auto all = [&](float number) { return std::vector<float>(static_cast<size_t>(channels), number); };
    std::vector<float> gamma = all(1), beta = all(0), mean = all(0);
    if (node.type() == "Add") beta = constant;
    if (node.type() == "Sub") mean = constant;
    if (node.type() == "Mul") gamma = constant;
    if (node.type() == "Div") {
      for (size_t c = 0; c < constant.size(); ++c) gamma[c] = 1 / constant[c];
    }
    for (const float factor : gamma) {
      if (!std::isfinite(factor)) node.Fail("divides by 0");
    }
    const std::string name = NameOf(node);
    BatchNormalization op{.epsilon = 0};
    op.gamma = builder_.AddParameter(name + ".factor", {channels}, gamma);
    op.beta = builder_.AddParameter(name + ".term", {channels}, beta);
    op.mean = builder_.AddParameter(name + ".subtracted", {channels}, mean);
    op.variance = builder_.AddParameter(name + ".one", {channels}, all(1));
    AddNamed(node, name, op, {value});
  }

  // A value times another one, or times one number a channel of it: squeeze and excite.
  void ReadGate(const OnnxNode& node) {
    int first = ValueOf(node, 0), second = ValueOf(node, 1);
    if (ShapeOf(first).elements() < ShapeOf(second).elements()) std::swap(first, second);
    Add(node, Multiply{}, {first, second});
  }

  // One number for each element: an embedding of positions, added.
  bool TakeEmbedding(const OnnxNode& node, int value, const Constant& constant) {
    const ValueShape shape = ShapeOf(value);
    if (shape.flat || shape.height * shape.width < 2 || Elements(constant) != shape.elements()) return false;
    std::vector<int64_t> dims = constant.shape;
    if (dims.size() == 4 && dims[0] == 1) dims.erase(dims.begin());
    if (dims != std::vector<int64_t>{shape.channels, shape.height, shape.width}) return false;
    std::string name = constant.name.empty() ? NameOf(node) + ".embedding" : constant.name;
    if (name.ends_with(".weight")) name.erase(name.size() - 7);
    names_.insert(name);
    const int embedding = builder_.Embed(name, shape.channels, shape.height, shape.width);
    auto& weight = builder_.graph_.parameters.back();
    weight.name = constant.name.empty() ? weight.name : constant.name;
    weight.values = constant.floats;
    Add(node, network::Add{}, {value, embedding});
    return true;
  }

  // x times the HardSigmoid of x, as exporters wrote a HardSwish before opset 14; x times its Sigmoid.
  bool TakeSelfGate(const OnnxNode& node) {
    FloatGraph& graph = builder_.graph_;
    const int a = ValueOf(node, 0), b = ValueOf(node, 1);
    if (graph.nodes.empty()) return false;
    FloatNode& last = graph.nodes.back();
    auto* function = std::get_if<Function>(&last.operation);
    const bool is_silu = function != nullptr && function->name == "Sigmoid";
    const bool fits = is_silu || (function != nullptr && function->name == "HardSigmoid" &&
                                  std::abs(function->alpha - 1.0f / 6) < 1e-6f && function->beta == 0.5f);
    const int gate = last.output, x = last.inputs[0];
    if (!fits || !((a == x && b == gate) || (a == gate && b == x))) return false;
    if (UsesOf(gate) > 1) return false;
    *function = {is_silu ? "Silu" : "HardSwish"};
    Define(node, Flowing{gate});
    return true;
  }

  // One number a channel, from a constant that is broadcast: of one element, or [C], [C,1,1], [1,C,1,1] and the like.
  std::vector<float> PerChannel(const OnnxNode& node, int input, const ValueShape& shape) const {
    const Constant& constant = ConstantAt(node, input, true);
    if (constant.floats.size() == 1) return std::vector(static_cast<size_t>(shape.channels), constant.floats[0]);
    std::vector<int64_t> dims = constant.shape;
    const size_t rank = shape.flat ? 2 : static_cast<size_t>(std::max(rank_, 3));
    while (dims.size() < rank) dims.insert(dims.begin(), 1);
    const bool fits = dims.size() == rank && dims[1] == shape.channels && constant.elements() == shape.channels;
    if (!fits)
      node.Fail(fmt::format("its constant '{}' of shape [{}] is not one number a channel of {}", node.input(input),
                            fmt::join(constant.shape, ", "), shape.channels));
    return constant.floats;
  }

  // A term behind a weighted sum that has none becomes its bias.
  bool TakeBias(const OnnxNode& node, int value, const std::vector<float>& terms) {
    FloatGraph& graph = builder_.graph_;
    if (graph.nodes.empty() || graph.nodes.back().output != value) return false;
    FloatOperation& operation = graph.nodes.back().operation;
    int* bias = nullptr;
    if (auto* linear = std::get_if<Linear>(&operation)) bias = &linear->bias;
    if (auto* convolution = std::get_if<Convolution>(&operation)) bias = &convolution->bias;
    if (bias == nullptr || *bias >= 0) return false;
    if (UsesOf(value) > 1) return false;
    *bias = builder_.AddParameter(graph.nodes.back().name + ".bias", {static_cast<int64_t>(terms.size())}, terms);
    Define(node, Flowing{value});
    return true;
  }
  // How many nodes, and the graph's output, take a value under any of the names that it has so far, but for those that
  // only gave it another.
  int UsesOf(int value) const {
    int uses = 1;
    for (const auto& [name, meaning] : meanings_) {
      const auto* flow = std::get_if<Flowing>(&meaning);
      if (flow == nullptr || flow->value != value) continue;
      --uses;  // the node that gave it this name, or for the first one, nothing
      for (const auto& node : proto_.graph().node())
        uses += static_cast<int>(std::count(node.input().begin(), node.input().end(), name));
      for (const auto& output : proto_.graph().output()) uses += output.name() == name;
    }
    return uses;
  }

  // ---- functions ----

  void ReadRelu(const OnnxNode& node) { Add(node, Clip{}, {ValueOf(node, 0)}); }

  void ReadClip(const OnnxNode& node) {
    constexpr float kMost = std::numeric_limits<float>::max();
    Clip op{-kMost, kMost};
    if (node.opset() <= 10) {
      op.lowest = static_cast<float>(node.Float("min", -kMost));
      op.highest = static_cast<float>(node.Float("max", kMost));
    } else {
      if (node.HasInput(1)) op.lowest = ScalarAt(node, 1);
      if (node.HasInput(2)) op.highest = ScalarAt(node, 2);
    }
    if (!(op.lowest <= 0) || !(op.highest > 0))
      node.Fail(fmt::format("clips to {} to {}, and only bounds around 0 are taken", op.lowest, op.highest));
    if (op.highest == kMost) op.highest = std::numeric_limits<float>::infinity();
    Add(node, op, {ValueOf(node, 0)});
  }

  void ReadFunction(const OnnxNode& node) {
    Function op{node.type()};
    if (node.type() == "LeakyRelu") op.alpha = static_cast<float>(node.Float("alpha", 0.01));
    if (node.type() == "HardSigmoid") {
      op.alpha = static_cast<float>(node.Float("alpha", 0.2));
      op.beta = static_cast<float>(node.Float("beta", 0.5));
    }
    if (node.type() == "Gelu" && node.Text("approximate", "none") == "tanh") op.name = "GeluTanh";
    Add(node, op, {ValueOf(node, 0)});
  }

  void ReadSoftmaxOfChannels(const OnnxNode& node, const Flowing& flow) {
    int64_t axis = node.Int("axis", node.opset() < 13 ? 1 : -1);
    if (axis < 0) axis += 4;
    const bool fits = !flow.is_channels_last && !flow.is_transposed && axis == (flow.groups > 0 ? 2 : 1);
    if (!fits || node.opset() < 13) node.Fail("only a Softmax over channels is taken, as opset 13 and later have it");
    Add(node, Softmax{std::max(1, static_cast<int>(flow.groups))}, {flow.value});
    std::get<Flowing>(meanings_.at(node.output())).groups = flow.groups;
  }

  void ReadSoftmax(const OnnxNode& node) {
    Flowing flow = FlowOf(node, 0);
    const bool is_inside = flow.groups > 0 || ShapeOf(flow.value).height * ShapeOf(flow.value).width > 1;
    if (is_inside && node.type() == "Softmax") return ReadSoftmaxOfChannels(node, flow);
    if (ShapeOf(flow.value).height * ShapeOf(flow.value).width != 1)
      node.Fail("only one at the end of the network, over its classes, is understood");
    flow.is_softmax = true;
    Define(node, flow);
  }

  // ---- pools ----

  Window PoolWindow(const OnnxNode& node, int value) const {
    if (node.Ints("kernel_shape").size() != 1) return node.WindowOf(1, 1, ShapeOf(value));
    Window window = WindowOfLine(node, 1);
    if (node.Int("ceil_mode", 0) != 0) node.Fail("ceil_mode is not supported");
    return window;
  }
  void ReadMaxPool(const OnnxNode& node) { Add(node, MaxPool{PoolWindow(node, ValueOf(node, 0))}, {ValueOf(node, 0)}); }
  void ReadAveragePool(const OnnxNode& node) {
    const Flowing& flow = PaddedAt(node, 0);
    Window window = PoolWindow(node, flow.value);
    if (window.has_padding() && node.Int("count_include_pad", 0) == 0)
      node.Fail("leaves padding out of its means (count_include_pad 0), which is not supported; pad less, or count it");
    if (!flow.pads.empty()) {  // zeros, which count
      if (window.has_padding()) node.Fail("pads values that a Pad has padded, which is not taken");
      window.pad_top = flow.pads[0];
      window.pad_left = flow.pads[1];
      window.pad_bottom = flow.pads[2];
      window.pad_right = flow.pads[3];
    }
    Add(node, AveragePool{window}, {flow.value});
  }
  void AddGlobalAverage(const OnnxNode& node, bool flattens) {
    const int value = ValueOf(node, 0);
    const ValueShape& shape = ShapeOf(value);
    if (shape.flat) node.Fail("its input has no rows and columns");
    Window window;
    window.kernel_h = window.stride_h = Small(node, shape.height);
    window.kernel_w = window.stride_w = Small(node, shape.width);
    if (!flattens) return Add(node, AveragePool{window}, {value});
    const std::string name = NameOf(node);
    const int mean = builder_.AddNode(name, AveragePool{window}, {value});
    AddNamed(node, name + ".flat", Flatten{}, {mean});
  }
  void ReadGlobalAverage(const OnnxNode& node) { AddGlobalAverage(node, false); }
  void ReadReduceMean(const OnnxNode& node) {
    std::vector<int64_t> axes = node.Ints("axes");
    if (node.opset() >= 18 && node.HasInput(1)) axes = ConstantAt(node, 1, false).integers;
    for (int64_t& axis : axes) axis += axis < 0 ? rank_ : 0;
    std::sort(axes.begin(), axes.end());
    std::vector<int64_t> all;
    for (int64_t axis = 2; axis < rank_; ++axis) all.push_back(axis);
    if (axes != all || all.empty()) node.Fail("only means over all rows and columns are taken");
    AddGlobalAverage(node, node.Int("keepdims", 1) == 0);
  }

  // ---- moving values ----

  void ReadConcat(const OnnxNode& node) {
    if (node.inputs() > 0 && IsConstant(node, 0)) return ConcatenateConstants(node);
    std::vector<int> inputs;
    for (int i = 0; i < node.inputs(); ++i) inputs.push_back(ValueOf(node, i));
    int64_t axis = node.Int("axis", 1);
    if (axis < 0) axis += ShapeOf(inputs[0]).flat ? 2 : rank_;
    if (axis != 1) node.Fail("only channels are joined (axis 1)");
    Add(node, Concatenate{}, inputs);
  }
  void ConcatenateConstants(const OnnxNode& node) {
    Constant joined{.name = node.output(), .is_float = false};
    for (int i = 0; i < node.inputs(); ++i) {
      const Constant& part = ConstantAt(node, i, false);
      joined.integers.insert(joined.integers.end(), part.integers.begin(), part.integers.end());
    }
    joined.shape = {static_cast<int64_t>(joined.integers.size())};
    Define(node, std::move(joined));
  }

  // A value as [N, elements].
  void Flat(const OnnxNode& node, int value) {
    if (ShapeOf(value).flat) return Define(node, Flowing{value});
    Add(node, Flatten{}, {value});
  }
  void ReadFlatten(const OnnxNode& node) {
    const int64_t axis = node.Int("axis", 1);
    const int value = ValueOf(node, 0);
    if (axis != 1 && axis != 1 - (ShapeOf(value).flat ? 2 : rank_)) node.Fail("only axis 1 is taken");
    Flat(node, value);
  }

  void ReadReshape(const OnnxNode& node) {
    const Constant& target = ConstantAt(node, 1, false);
    if (IsConstant(node, 0)) {
      Constant moved = std::get<Constant>(Lookup(node, 0));
      moved.shape = target.integers;
      Constant rest = moved;
      std::erase_if(rest.shape, [](int64_t size) { return size < 0; });
      const int64_t known = rest.elements();
      for (int64_t& size : moved.shape) size = size < 0 && known > 0 ? Elements(moved) / known : size;
      if (moved.elements() != Elements(moved)) node.Fail("its constant does not have that many elements");
      return Define(node, std::move(moved));
    }
    const auto& sizes = target.integers;
    if (RegroupChannels(node, sizes)) return;
    const int value = ValueOf(node, 0);
    const ValueShape& shape = ShapeOf(value);
    // The first dimension is the images': 0, -1 or 1, as exporters write it.
    const bool flattens = sizes.size() == 2 && (sizes[1] == shape.elements() || (sizes[1] == -1 && sizes[0] >= 0));
    if (flattens) return Flat(node, value);
    const std::vector<int64_t> same = {shape.channels, shape.height, shape.width};
    if (sizes.size() == 4 && !shape.flat && std::equal(same.begin(), same.end(), sizes.begin() + 1))
      return Define(node, Flowing{value});
    node.Fail(fmt::format("to [{}]: only values that are flattened to [N, {}] are taken", fmt::join(sizes, ", "),
                          shape.elements()));
  }
  // A value as matrices, one a group of channels, and back.
  bool RegroupChannels(const OnnxNode& node, const std::vector<int64_t>& sizes) {
    const Flowing& flow = FlowOf(node, 0);
    const ValueShape& shape = ShapeOf(flow.value);
    if (sizes.size() != 4 || shape.flat || !flow.pads.empty() || flow.is_channels_last || flow.is_transposed)
      return false;
    const std::vector<int64_t> now(sizes.begin() + 1, sizes.end());
    const bool is_before = now == std::vector<int64_t>{shape.channels, shape.height, shape.width};
    if (flow.groups > 0) {
      if (is_before) Define(node, Flowing{flow.value});
      return is_before;
    }
    if (now[0] < 1 || now[1] < 1 || now[0] * now[1] != shape.channels || now[2] != shape.height * shape.width)
      return false;
    Define(node, Flowing{.value = flow.value, .groups = now[0]});
    return true;
  }
  static int64_t Elements(const Constant& constant) {
    return static_cast<int64_t>(constant.is_float ? constant.floats.size() : constant.integers.size());
  }

  void ReadSqueeze(const OnnxNode& node) {
    if (const auto* constant = std::get_if<Constant>(&Lookup(node, 0))) {  // of shapes that are put together
      Constant same = *constant;
      same.shape = {Elements(same)};
      return Define(node, std::move(same));
    }
    const int value = ValueOf(node, 0);
    const ValueShape& shape = ShapeOf(value);
    if (node.type() == "Unsqueeze" || shape.height * shape.width != 1)
      node.Fail("only rows and columns of size 1 are taken away");
    Flat(node, value);
  }

  void MoveAxes(const OnnxNode& node, const std::vector<int64_t>& permutation) {
    Flowing flow = FlowOf(node, 0);
    const bool can_move = flow.pads.empty() && !ShapeOf(flow.value).flat && rank_ == 4;
    if (can_move && !flow.is_moved() && permutation == std::vector<int64_t>{0, 2, 3, 1})
      flow.is_channels_last = true;
    else if (can_move && flow.is_channels_last && permutation == std::vector<int64_t>{0, 3, 1, 2})
      flow.is_channels_last = false;
    else if (flow.groups > 0 && permutation == std::vector<int64_t>{0, 1, 3, 2})
      flow.is_transposed = !flow.is_transposed;
    else
      node.Fail(fmt::format("moves axes in a way that is not understood ([{}])", fmt::join(permutation, ", ")));
    Define(node, flow);
  }

  void ReadTranspose(const OnnxNode& node) {
    const auto* constant = std::get_if<Constant>(&Lookup(node, 0));
    const auto permutation = node.Ints("perm");
    if (constant == nullptr) return MoveAxes(node, permutation);
    const bool swaps = permutation.empty() || permutation == std::vector<int64_t>{1, 0};
    if (constant == nullptr || constant->shape.size() != 2 || !swaps)
      node.Fail("only matrices of weights are transposed");
    Constant turned = *constant;
    const int64_t rows = constant->shape[0], columns = constant->shape[1];
    turned.shape = {columns, rows};
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        const auto to = static_cast<size_t>(c * rows + r), from = static_cast<size_t>(r * columns + c);
        if (constant->is_float)
          turned.floats[to] = constant->floats[from];
        else
          turned.integers[to] = constant->integers[from];
      }
    }
    Define(node, std::move(turned));
  }

  // Integers that exporters compute paddings with.
  void ReadConstantOfShape(const OnnxNode& node) {
    const Constant& shape = ConstantAt(node, 0, false);
    int64_t value = 0;
    if (const auto* tensor = node.Tensor("value")) {
      if (tensor->data_type() != onnx::TensorProto::INT64) node.Fail("only integers are taken");
      const auto values = Int64sOf(*tensor);
      if (values.size() != 1) node.Fail("its value must be one number");
      value = values[0];
    } else {
      node.Fail("only integers are taken");
    }
    if (shape.integers.size() != 1 || shape.integers[0] < 0 || shape.integers[0] > 64)
      node.Fail("only short lists are taken");
    Constant filled{.name = node.output(), .shape = shape.integers, .is_float = false};
    filled.integers.assign(static_cast<size_t>(shape.integers[0]), value);
    Define(node, std::move(filled));
  }

  // Rows of a list or matrix of integers, forwards or backwards.
  void ReadSlice(const OnnxNode& node) {
    if (node.opset() < 10 || !IsConstant(node, 0)) node.Fail("parts of values are not taken");
    const Constant& from = ConstantAt(node, 0, false);
    const auto one = [&](int input, int64_t otherwise) {
      if (!node.HasInput(input)) return otherwise;
      const Constant& constant = ConstantAt(node, input, false);
      if (constant.integers.size() != 1) node.Fail("only one axis is cut");
      return constant.integers[0];
    };
    const int64_t step = one(4, 1), axis = one(3, 0);
    if (from.shape.empty() || axis != 0 || (step != 1 && step != -1)) node.Fail("only rows, one by one, are taken");
    const int64_t rows = from.shape[0], width = rows == 0 ? 0 : Elements(from) / rows;
    const auto within = [&](int64_t at, int64_t low, int64_t high) {
      return std::clamp(at < 0 ? std::max(at, -rows - 1) + rows : at, low, high);
    };
    const int64_t first = step > 0 ? within(one(1, 0), 0, rows) : within(one(1, 0), -1, rows - 1);
    const int64_t end = step > 0 ? within(one(2, 0), 0, rows) : within(one(2, 0), -1, rows - 1);
    Constant part{.name = node.output(), .shape = from.shape, .is_float = false};
    for (int64_t row = first; step > 0 ? row < end : row > end; row += step)
      part.integers.insert(part.integers.end(), from.integers.begin() + row * width,
                           from.integers.begin() + (row + 1) * width);
    part.shape[0] = width == 0 ? 0 : Elements(part) / width;
    Define(node, std::move(part));
  }

  void ReadPad(const OnnxNode& node) {
    if (node.Text("mode", "constant") != "constant") node.Fail("only padding with zeros is taken");
    const float value = node.opset() <= 10 ? static_cast<float>(node.Float("value", 0))
                        : node.HasInput(2) ? ScalarAt(node, 2)
                                           : 0.0f;
    if (value != 0) node.Fail("only padding with zeros is taken");
    if (node.HasInput(3)) node.Fail("its axes are not taken; pad all dimensions");
    const auto pads = node.opset() <= 10 ? node.Ints("pads") : ConstantAt(node, 1, false).integers;
    Flowing flow = PaddedAt(node, 0);
    std::vector<int64_t> around;  // top, left, bottom, right
    if (pads.size() == 8 && pads[0] == 0 && pads[1] == 0 && pads[4] == 0 && pads[5] == 0) {
      around = {pads[2], pads[3], pads[6], pads[7]};
    } else if (pads.size() == 6 && rank_ == 3 && pads[0] == 0 && pads[1] == 0 && pads[3] == 0 && pads[4] == 0) {
      around = {0, pads[2], 0, pads[5]};
    } else {
      node.Fail("only rows and columns are padded");
    }
    for (size_t side = 0; side < 4; ++side) {
      const int pad = node.SmallInt("pads", around[side]);
      if (flow.pads.empty() && pad > 0) flow.pads.assign(4, 0);
      if (!flow.pads.empty()) flow.pads[side] += pad;
    }
    Define(node, flow);
  }

  void ReadIdentity(const OnnxNode& node) { Define(node, Meaning(Lookup(node, 0))); }

  void ReadCast(const OnnxNode& node) {
    const int64_t to = node.Int("to", 0);
    if (const auto* constant = std::get_if<Constant>(&Lookup(node, 0))) {
      const bool to_float = to == onnx::TensorProto::FLOAT;
      if (constant->is_float != to_float) node.Fail("between integers and float32 is not taken");
      return Define(node, Meaning(*constant));
    }
    if (to != onnx::TensorProto::FLOAT) node.Fail("of values to anything but float32 is not taken");
    ReadIdentity(node);
  }

  // Sizes of values, which exporters put together to a target of Reshape. There is one image.
  void ReadShape(const OnnxNode& node) {
    if (node.Has("start") || node.Has("end")) node.Fail("a part of a shape is not taken");
    const ValueShape& shape = ShapeOf(ValueOf(node, 0));
    Constant sizes{.name = node.output(), .is_float = false};
    sizes.integers = shape.flat   ? std::vector<int64_t>{1, shape.channels}
                     : rank_ == 3 ? std::vector<int64_t>{1, shape.channels, shape.width}
                                  : std::vector<int64_t>{1, shape.channels, shape.height, shape.width};
    sizes.shape = {Elements(sizes)};
    Define(node, std::move(sizes));
  }
  void ReadGather(const OnnxNode& node) {
    const Constant &from = ConstantAt(node, 0, false), &indices = ConstantAt(node, 1, false);
    Constant chosen{.name = node.output(), .shape = indices.shape, .is_float = false};
    for (int64_t index : indices.integers) {
      if (index < 0) index += Elements(from);
      if (index < 0 || index >= Elements(from)) node.Fail("its index is outside");
      chosen.integers.push_back(from.integers[static_cast<size_t>(index)]);
    }
    Define(node, std::move(chosen));
  }

  onnx::ModelProto& proto_;
  const std::filesystem::path folder_;
  OnnxSource source_;
  GraphBuilder builder_;
  int rank_ = 4;  // of values with rows and columns, images included
  std::unordered_map<std::string, Meaning> meanings_;
  std::set<std::string> names_;
  std::unordered_map<std::string, int> parameter_of_;
  std::unordered_map<std::string, std::vector<uint8_t>> external_;
  std::set<std::string> taken_up_;  // outputs of nodes that another one has read with itself
};

bool Parse(std::span<const uint8_t> bytes, onnx::ModelProto& proto) {
  return bytes.size() <= static_cast<size_t>(std::numeric_limits<int>::max()) &&
         proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) && proto.has_graph();
}

}  // namespace

bool IsFloatOnnx(std::span<const uint8_t> bytes) {
  onnx::ModelProto proto;
  if (!Parse(bytes, proto)) return false;
  return !model::HasQuantizers(proto);
}

FloatGraph FloatGraphOf(std::span<const uint8_t> bytes, const std::string& name, const std::filesystem::path& folder) {
  onnx::ModelProto proto;
  if (!Parse(bytes, proto))
    throw InputError(fmt::format("{}: is not an ONNX model ({} bytes that do not parse as one)", name, bytes.size()));
  return Reader(proto, name, folder).Read();
}

std::string HashOfFile(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  std::string hash = Sha256(bytes);
  onnx::ModelProto proto;
  if (!Parse(bytes, proto)) return hash;
  std::set<std::string> files;
  for (const auto& tensor : proto.graph().initializer()) {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) continue;
    for (const auto& entry : tensor.external_data()) {
      if (entry.key() == "location") files.insert(entry.value());
    }
  }
  for (const std::string& file : files) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(path.parent_path() / file, ignored))
      hash = Sha256(hash + Sha256(ReadFile(path.parent_path() / file, uint64_t{1} << 32)));
  }
  return hash;
}

FloatGraph ReadFloatOnnx(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  return FloatGraphOf(bytes, path.string(), path.parent_path());
}

}  // namespace steadfast::network
