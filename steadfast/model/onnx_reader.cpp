#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/model/inspect.h"  // ParseBoundedJson
#include "steadfast/model/onnx_file.h"

namespace steadfast::model {
namespace {

// ONNX data types newer than Debian's onnx headers name.
constexpr int kUint4 = 21;
constexpr int kInt4 = 22;

constexpr const char* kTensorsKey = "steadfast.tensors";

// What a name in the graph stands for.
struct Constant {
  const onnx::TensorProto* tensor;
};
struct Codes {
  int value;
};
struct Real {
  int value;
};
struct RealWeights {
  int weight;
};
struct RealConstant {  // a dequantized bias
  std::shared_ptr<const std::vector<double>> values;
  std::vector<int64_t> dims;
};
struct Consumed {};  // a pending operator that another node has taken up
// A weighted sum and what follows it, until it is quantized.
struct Pending {
  std::string name;
  Operation operation;
  std::vector<int> inputs;
  ValueShape shape;
  std::vector<double> multiplier, bias;  // [out] of a weighted sum
  bool relu = false;
  std::optional<double> threshold;  // of ThresholdedRelu
  bool clipped = false;
  std::optional<double> low, high;  // of Clip
};
using Meaning = std::variant<Constant, Codes, Real, RealWeights, RealConstant, Pending, Consumed>;

std::string WithoutSuffix(const std::string& name, const std::string& suffix) {
  return name.size() > suffix.size() && name.ends_with(suffix) ? name.substr(0, name.size() - suffix.size()) : name;
}

class Reader {
 public:
  Reader(const onnx::ModelProto& proto, std::string name) : proto_(proto), file_(std::move(name)) {}

  QuantizedModel Read() {
    const auto& graph = proto_.graph();
    model_.name = graph.name();
    for (const auto& entry : proto_.metadata_props()) {
      if (entry.key() != kTensorsKey)
        model_.metadata[entry.key()] = entry.value();
      else
        ReadTensorMetadata(entry.value());
    }
    for (const auto& tensor : graph.initializer()) Define(tensor.name(), Constant{&tensor}, "initializer");
    ReadInput(graph);
    for (const auto& node : graph.node()) ReadNode(node);
    ReadOutput(graph);
    try {
      Validate(model_);
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", file_, error.what()));
    }
    return std::move(model_);
  }

 private:
  [[noreturn]] void Fail(const std::string& where, const std::string& what) const {
    throw InputError(fmt::format("{}: {}: {}", file_, where, what));
  }

  static std::string NameOf(const onnx::NodeProto& node) {
    return fmt::format("node '{}' ({})", node.name().empty() && node.output_size() > 0 ? node.output(0) : node.name(),
                       node.op_type());
  }

  void ReadTensorMetadata(const std::string& text) {
    tensors_ = ParseBoundedJson(text);
    if (!tensors_.is_object()) Fail(fmt::format("metadata {}", kTensorsKey), "is not a JSON object");
  }
  // An integer of a tensor's metadata, or the default.
  int TensorInt(const std::string& tensor, const char* key, int otherwise) const {
    if (!tensors_.is_object() || !tensors_.contains(tensor)) return otherwise;
    const auto& entry = tensors_.at(tensor);
    if (!entry.is_object() || !entry.contains(key)) return otherwise;
    if (!entry.at(key).is_number_integer() && !entry.at(key).is_boolean()) {
      Fail(fmt::format("metadata {}", kTensorsKey), fmt::format("{}.{} is not a number", tensor, key));
    }
    const auto number = entry.at(key).is_boolean() ? int64_t{entry.at(key).get<bool>()} : entry.at(key).get<int64_t>();
    if (number < -65536 || number > 65536)
      Fail(fmt::format("metadata {}", kTensorsKey), fmt::format("{}.{} is {}", tensor, key, number));
    return static_cast<int>(number);
  }

  void Define(const std::string& name, Meaning meaning, const std::string& where) {
    if (!meanings_.emplace(name, std::move(meaning)).second)
      Fail(where, fmt::format("defines '{}' a second time", name));
  }

  const Meaning& Lookup(const onnx::NodeProto& node, int input) const {
    if (input >= node.input_size() || node.input(input).empty())
      Fail(NameOf(node), fmt::format("input {} is missing", input));
    const auto found = meanings_.find(node.input(input));
    if (found == meanings_.end())
      Fail(NameOf(node), fmt::format("input '{}' is not defined before it", node.input(input)));
    return found->second;
  }
  static bool HasInput(const onnx::NodeProto& node, int input) {
    return input < node.input_size() && !node.input(input).empty();
  }

  template <typename T>
  const T& Expect(const onnx::NodeProto& node, int input, const char* what) const {
    const Meaning& meaning = Lookup(node, input);
    if (const T* found = std::get_if<T>(&meaning)) return *found;
    Fail(NameOf(node), fmt::format("input '{}' is not {}", node.input(input), what));
  }

  // ---- constants ----

  int64_t ElementsOf(const onnx::TensorProto& tensor) const {
    int64_t elements = 1;
    for (int64_t size : tensor.dims()) {
      if (size < 0 || (size > 0 && elements > (int64_t{1} << 33) / size))
        Fail(fmt::format("tensor '{}'", tensor.name()), "an impossible shape");
      elements *= size;
    }
    return elements;
  }

  // The bytes of a tensor, which must be stored in the file; checked against its shape before anything is allocated.
  template <typename T>
  std::vector<T> RawOf(const onnx::TensorProto& tensor) const {
    const std::string where = fmt::format("tensor '{}'", tensor.name());
    if (tensor.data_location() == onnx::TensorProto::EXTERNAL)
      Fail(where, "keeps its data in another file, which is not read");
    const int64_t elements = ElementsOf(tensor);
    std::vector<T> values;
    if (tensor.has_raw_data()) {
      if (static_cast<int64_t>(tensor.raw_data().size()) != elements * static_cast<int64_t>(sizeof(T))) {
        Fail(where, fmt::format("has {} bytes of data, expected {}", tensor.raw_data().size(),
                                elements * static_cast<int64_t>(sizeof(T))));
      }
      values.resize(static_cast<size_t>(elements));
      if (elements > 0) std::memcpy(values.data(), tensor.raw_data().data(), tensor.raw_data().size());
      return values;
    }
    if constexpr (std::is_same_v<T, float>) {
      if (tensor.float_data_size() != elements)
        Fail(where, fmt::format("has {} values, expected {}", tensor.float_data_size(), elements));
      values.assign(tensor.float_data().begin(), tensor.float_data().end());
    } else {
      if (tensor.int32_data_size() != elements)
        Fail(where, fmt::format("has {} values, expected {}", tensor.int32_data_size(), elements));
      for (int32_t value : tensor.int32_data()) values.push_back(static_cast<T>(value));
    }
    return values;
  }

  std::vector<double> Floats(const onnx::TensorProto& tensor) const {
    if (tensor.data_type() != onnx::TensorProto::FLOAT)
      Fail(fmt::format("tensor '{}'", tensor.name()), "expected float32 values");
    const auto raw = RawOf<float>(tensor);
    return {raw.begin(), raw.end()};
  }

  std::vector<int> Integers(const onnx::TensorProto& tensor) const {
    std::vector<int> values;
    switch (static_cast<int>(tensor.data_type())) {
      case onnx::TensorProto::INT8:
        for (int8_t v : RawOf<int8_t>(tensor)) values.push_back(v);
        return values;
      case onnx::TensorProto::UINT8:
        for (uint8_t v : RawOf<uint8_t>(tensor)) values.push_back(v);
        return values;
      case onnx::TensorProto::INT32:
        for (int32_t v : RawOf<int32_t>(tensor)) values.push_back(v);
        return values;
      case kInt4:
      case kUint4:
        return Nibbles(tensor);
      default:
        Fail(fmt::format("tensor '{}'", tensor.name()),
             fmt::format("data type {} is not an integer type Steadfast reads", tensor.data_type()));
    }
  }

  // Two codes a byte, the first in the low nibble.
  std::vector<int> Nibbles(const onnx::TensorProto& tensor) const {
    const int64_t elements = ElementsOf(tensor);
    if (static_cast<int64_t>(tensor.raw_data().size()) != (elements + 1) / 2) {
      Fail(fmt::format("tensor '{}'", tensor.name()),
           fmt::format("has {} bytes of data, expected {}", tensor.raw_data().size(), (elements + 1) / 2));
    }
    std::vector<int> values;
    for (int64_t i = 0; i < elements; ++i) {
      const int byte = static_cast<uint8_t>(tensor.raw_data()[static_cast<size_t>(i / 2)]);
      const int nibble = i % 2 == 0 ? byte & 15 : byte >> 4;
      values.push_back(static_cast<int>(tensor.data_type()) == kInt4 && nibble >= 8 ? nibble - 16 : nibble);
    }
    return values;
  }

  double Scalar(const onnx::NodeProto& node, int input, const char* what) const {
    const auto values = Floats(*Expect<Constant>(node, input, what).tensor);
    if (values.size() != 1) Fail(NameOf(node), fmt::format("{} has {} values, expected 1", what, values.size()));
    return values[0];
  }

  // A per-channel constant of `channels` values, or one value for all. `trailing` dimensions of size 1 follow the
  // channel (2 where it is broadcast against [N, C, H, W], 0 where it is a plain vector).
  std::vector<double> PerChannel(const onnx::NodeProto& node, int input, int64_t channels, int trailing) const {
    const Meaning& meaning = Lookup(node, input);
    std::vector<double> values;
    std::vector<int64_t> dims;
    if (const auto* constant = std::get_if<RealConstant>(&meaning)) {
      values = *constant->values;
      dims = constant->dims;
    } else {
      const onnx::TensorProto& tensor = *Expect<Constant>(node, input, "a constant").tensor;
      values = Floats(tensor);
      dims.assign(tensor.dims().begin(), tensor.dims().end());
    }
    if (values.size() == 1) return std::vector<double>(static_cast<size_t>(channels), values[0]);
    std::vector<int64_t> expected = {channels};
    expected.resize(1 + static_cast<size_t>(trailing), 1);
    const bool batch_first = dims.size() == expected.size() + 1 && dims[0] == 1;
    if (batch_first) dims.erase(dims.begin());
    if (dims != expected) {
      Fail(NameOf(node), fmt::format("'{}' has shape [{}], expected one value a channel: [{}]", node.input(input),
                                     fmt::join(dims, ", "), fmt::join(expected, ", ")));
    }
    return values;
  }
  // How many dimensions of size 1 a constant needs behind the channel to meet the pending operator's result.
  static int TrailingDims(const Pending& pending) { return pending.shape.flat ? 0 : 2; }

  // ---- attributes ----

  static const onnx::AttributeProto* Attribute(const onnx::NodeProto& node, const std::string& name) {
    for (const auto& attribute : node.attribute()) {
      if (attribute.name() == name) return &attribute;
    }
    return nullptr;
  }
  static int64_t IntAttribute(const onnx::NodeProto& node, const std::string& name, int64_t otherwise) {
    const auto* attribute = Attribute(node, name);
    return attribute == nullptr ? otherwise : attribute->i();
  }
  static double FloatAttribute(const onnx::NodeProto& node, const std::string& name, double otherwise) {
    const auto* attribute = Attribute(node, name);
    return attribute == nullptr ? otherwise : attribute->f();
  }
  int SmallInt(const onnx::NodeProto& node, const std::string& name, int64_t value) const {
    if (value < 0 || value > 65536) Fail(NameOf(node), fmt::format("attribute {} is {}", name, value));
    return static_cast<int>(value);
  }
  // Two values (height, width) of an attribute, or `otherwise` for both.
  std::pair<int, int> PairAttribute(const onnx::NodeProto& node, const std::string& name, int otherwise) const {
    const auto* attribute = Attribute(node, name);
    if (attribute == nullptr) return {otherwise, otherwise};
    if (attribute->ints_size() != 2)
      Fail(NameOf(node), fmt::format("attribute {} has {} values, expected 2", name, attribute->ints_size()));
    return {SmallInt(node, name, attribute->ints(0)), SmallInt(node, name, attribute->ints(1))};
  }
  Window WindowOf(const onnx::NodeProto& node, int kernel_h, int kernel_w) const {
    const auto* auto_pad = Attribute(node, "auto_pad");
    if (auto_pad != nullptr && auto_pad->s() != "NOTSET") Fail(NameOf(node), "auto_pad is not supported; write pads");
    if (IntAttribute(node, "ceil_mode", 0) != 0) Fail(NameOf(node), "ceil_mode is not supported");
    Window window;
    const auto kernel = PairAttribute(node, "kernel_shape", 0);
    window.kernel_h = kernel.first > 0 ? kernel.first : kernel_h;
    window.kernel_w = kernel.second > 0 ? kernel.second : kernel_w;
    std::tie(window.stride_h, window.stride_w) = PairAttribute(node, "strides", 1);
    std::tie(window.dilation_h, window.dilation_w) = PairAttribute(node, "dilations", 1);
    if (const auto* pads = Attribute(node, "pads")) {
      if (pads->ints_size() != 4 || pads->ints(0) != pads->ints(2) || pads->ints(1) != pads->ints(3)) {
        Fail(NameOf(node), "pads must be the same on both sides");
      }
      window.pad_h = SmallInt(node, "pads", pads->ints(0));
      window.pad_w = SmallInt(node, "pads", pads->ints(1));
    }
    return window;
  }

  // ---- graph ----

  void ReadInput(const onnx::GraphProto& graph) {
    const onnx::ValueInfoProto* input = nullptr;
    for (const auto& candidate : graph.input()) {
      if (meanings_.contains(candidate.name())) continue;  // old files list initializers among the inputs
      if (input != nullptr) Fail("graph", "has more than one input");
      input = &candidate;
    }
    if (input == nullptr) Fail("graph", "has no input");
    const auto& type = input->type().tensor_type();
    const std::string where = fmt::format("input '{}'", input->name());
    if (type.elem_type() != onnx::TensorProto::UINT8)
      Fail(where, "expected raw bytes (uint8), to be dequantized in the graph");
    const auto& dims = type.shape().dim();
    if (dims.size() != 2 && dims.size() != 4)
      Fail(where, fmt::format("has {} dimensions, expected [N, C, H, W] or [N, C]", dims.size()));
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
        Fail(where, fmt::format("has a dimension of {}, expected 1 to {}", size, kLargest));
    }
    model_.values.push_back({input->name(), shape, std::nullopt});
    Define(input->name(), Codes{0}, where);
  }

  void ReadOutput(const onnx::GraphProto& graph) {
    if (graph.output_size() != 1) Fail("graph", fmt::format("has {} outputs, expected 1", graph.output_size()));
    const std::string& name = graph.output(0).name();
    const auto found = meanings_.find(name);
    if (found == meanings_.end()) Fail("graph", fmt::format("output '{}' is not computed", name));
    const auto* pending = std::get_if<Pending>(&found->second);
    if (pending == nullptr || pending->multiplier.empty() || pending->relu || pending->clipped) {
      Fail("graph", fmt::format("output '{}' must be the real result of a convolution or a linear layer", name));
    }
    model_.output = Finish(*pending, name, std::nullopt);
  }

  // Turns a pending operator into a node and its output value.
  int Finish(const Pending& pending, const std::string& value_name, std::optional<ActivationCoding> coding) {
    Node node{pending.name, pending.operation, pending.inputs, static_cast<int>(model_.values.size())};
    const auto rounded = [](const std::vector<double>& values, double neutral) {
      std::vector<float> floats;
      bool all_neutral = true;
      for (double value : values) {
        floats.push_back(static_cast<float>(value));
        all_neutral &= value == neutral;
      }
      return all_neutral ? std::vector<float>{} : floats;
    };
    const Affine affine{rounded(pending.multiplier, 1.0), rounded(pending.bias, 0.0), pending.relu};
    if (auto* convolution = std::get_if<Convolution>(&node.operation)) convolution->affine = affine;
    if (auto* linear = std::get_if<Linear>(&node.operation)) linear->affine = affine;
    if (auto* add = std::get_if<Add>(&node.operation)) add->relu = pending.relu;
    const bool pooled_or_joined =
        std::holds_alternative<AveragePool>(node.operation) || std::holds_alternative<Concatenate>(node.operation);
    // With zero point 0, clipping to codes is a Relu by itself.
    if (pooled_or_joined && pending.relu && coding && coding->zero_point > 0)
      Fail(fmt::format("value '{}'", value_name), "Relu behind pooling or Concat needs zero point 0");
    model_.values.push_back({value_name, pending.shape, coding});
    model_.nodes.push_back(std::move(node));
    return static_cast<int>(model_.values.size()) - 1;
  }

  void ReadNode(const onnx::NodeProto& node) {
    if (node.output_size() < 1) Fail(NameOf(node), "has no output");
    using Handler = void (Reader::*)(const onnx::NodeProto&);
    static const std::unordered_map<std::string, Handler> handlers = {
        {"DequantizeLinear", &Reader::ReadDequantize},
        {"QuantizeLinear", &Reader::ReadQuantize},
        {"Conv", &Reader::ReadConv},
        {"Gemm", &Reader::ReadGemm},
        {"MatMul", &Reader::ReadMatMul},
        {"Mul", &Reader::ReadMul},
        {"Add", &Reader::ReadAdd},
        {"BatchNormalization", &Reader::ReadBatchNormalization},
        {"Relu", &Reader::ReadRelu},
        {"ThresholdedRelu", &Reader::ReadThresholdedRelu},
        {"Clip", &Reader::ReadClip},
        {"MaxPool", &Reader::ReadMaxPool},
        {"AveragePool", &Reader::ReadAveragePool},
        {"GlobalAveragePool", &Reader::ReadGlobalAveragePool},
        {"Concat", &Reader::ReadConcat},
        {"Flatten", &Reader::ReadFlatten},
        {"Identity", &Reader::ReadIdentity}};
    const auto handler = handlers.find(node.op_type());
    if (handler == handlers.end()) {
      Fail(NameOf(node),
           "this operator is not supported (known are Conv, Gemm, MatMul, BatchNormalization, Mul, Add, Relu, "
           "ThresholdedRelu, Clip, MaxPool, AveragePool, GlobalAveragePool, Concat, Flatten, QuantizeLinear, "
           "DequantizeLinear)");
    }
    (this->*handler->second)(node);
  }

  void Define(const onnx::NodeProto& node, Meaning meaning) {
    Define(node.output(0), std::move(meaning), NameOf(node));
  }

  void ReadIdentity(const onnx::NodeProto& node) {
    if (std::holds_alternative<Pending>(Lookup(node, 0))) return Define(node, Take(node, 0));
    Define(node, Meaning(Lookup(node, 0)));
  }

  void ReadDequantize(const onnx::NodeProto& node) {
    const Meaning& meaning = Lookup(node, 0);
    if (const auto* codes = std::get_if<Codes>(&meaning)) return ReadDequantizeValue(node, codes->value);
    const auto* constant = std::get_if<Constant>(&meaning);
    if (constant == nullptr)
      Fail(NameOf(node), fmt::format("input '{}' is neither codes nor a constant", node.input(0)));
    if (!dequantized_.insert(constant->tensor).second)
      Fail(NameOf(node), fmt::format("dequantizes '{}' a second time", node.input(0)));
    if (constant->tensor->data_type() == onnx::TensorProto::INT32) return ReadDequantizeBias(node, *constant->tensor);
    ReadDequantizeWeights(node, *constant->tensor);
  }

  void ReadDequantizeValue(const onnx::NodeProto& node, int index) {
    Value& value = model_.values[static_cast<size_t>(index)];
    ActivationCoding coding = value.coding.value_or(ActivationCoding{});
    const auto scale = static_cast<float>(Scalar(node, 1, "scale"));
    const int zero_point = ZeroPoint(node);
    if (value.coding && (scale != coding.scale || zero_point != coding.zero_point)) {
      Fail(NameOf(node), "dequantizes with another scale or zero point than QuantizeLinear used");
    }
    coding.scale = scale;
    coding.zero_point = zero_point;
    value.coding = coding;
    Define(node, Real{index});
  }

  int ZeroPoint(const onnx::NodeProto& node) const {
    if (!HasInput(node, 2)) return 0;
    const auto& tensor = *Expect<Constant>(node, 2, "a constant").tensor;
    if (tensor.data_type() != onnx::TensorProto::UINT8) Fail(NameOf(node), "activation codes must be uint8");
    const auto values = Integers(tensor);
    if (values.size() != 1) Fail(NameOf(node), "expected one zero point");
    return values[0];
  }

  void ReadDequantizeBias(const onnx::NodeProto& node, const onnx::TensorProto& tensor) {
    const auto codes = Integers(tensor);
    const auto scale = Floats(*Expect<Constant>(node, 1, "a constant").tensor);
    if (scale.size() != 1 && scale.size() != codes.size())
      Fail(NameOf(node), fmt::format("{} scales for {} values", scale.size(), codes.size()));
    if (HasInput(node, 2)) {
      for (int zero : Integers(*Expect<Constant>(node, 2, "a constant").tensor)) {
        if (zero != 0) Fail(NameOf(node), "int32 codes must have zero point 0");
      }
    }
    std::vector<double> values;
    for (size_t i = 0; i < codes.size(); ++i) {
      values.push_back(
          static_cast<double>(static_cast<float>(codes[i]) * static_cast<float>(scale[scale.size() == 1 ? 0 : i])));
    }
    RealConstant real{std::make_shared<const std::vector<double>>(std::move(values)),
                      {tensor.dims().begin(), tensor.dims().end()}};
    Define(node, std::move(real));
  }

  void ReadDequantizeWeights(const onnx::NodeProto& node, const onnx::TensorProto& tensor) {
    WeightTensor weight;
    weight.name = tensor.name();
    weight.shape.assign(tensor.dims().begin(), tensor.dims().end());
    if (weight.shape.size() != 2 && weight.shape.size() != 4) {
      Fail(NameOf(node),
           fmt::format("weights '{}' have {} dimensions, expected 2 or 4", tensor.name(), weight.shape.size()));
    }
    for (int64_t size : weight.shape) {
      if (size < 1) Fail(NameOf(node), fmt::format("weights '{}' have a dimension of {}", tensor.name(), size));
    }
    const int type = static_cast<int>(tensor.data_type());
    weight.format.is_signed = type == onnx::TensorProto::INT8 || type == kInt4;
    weight.format.bits = TensorInt(tensor.name(), "bits", type == kInt4 || type == kUint4 ? 4 : 8);
    weight.format.narrow = TensorInt(tensor.name(), "narrow", 0) != 0;
    for (int code : Integers(tensor)) weight.codes.push_back(static_cast<int16_t>(code));
    const auto scale = Floats(*Expect<Constant>(node, 1, "a constant").tensor);
    if (scale.size() > 1 && IntAttribute(node, "axis", 1) != 0)
      Fail(NameOf(node), "per-channel scales must be along axis 0");
    const int multiplier = LevelMultiplier(tensor.name());
    for (double s : scale) weight.scale.push_back(static_cast<float>(s) / static_cast<float>(multiplier));
    weight.format.levels.multiplier = multiplier;
    if (HasInput(node, 2)) {
      const auto& zero_tensor = *Expect<Constant>(node, 2, "a constant").tensor;
      if (static_cast<int>(zero_tensor.data_type()) != type)
        Fail(NameOf(node), "its zero point has another type than its codes");
      const auto zeros = Integers(zero_tensor);
      for (int zero : zeros) {
        if (zero != zeros[0]) Fail(NameOf(node), "zero points that differ between channels are not supported");
      }
      if (!zeros.empty()) weight.format.levels.offset = -zeros[0] * multiplier;
    }
    model_.weights.push_back(std::move(weight));
    Define(node, RealWeights{static_cast<int>(model_.weights.size()) - 1});
  }

  int LevelMultiplier(const std::string& tensor) const {
    if (!tensors_.is_object() || !tensors_.contains(tensor) || !tensors_.at(tensor).is_object()) return 1;
    const auto level = tensors_.at(tensor).value("level", nlohmann::json());
    if (level.is_null()) return 1;
    if (!level.is_array() || level.size() != 2 || !level[0].is_number_integer() || (level[0] != 1 && level[0] != 2)) {
      Fail(fmt::format("metadata {}", kTensorsKey), fmt::format("{}.level must be [1 or 2, offset]", tensor));
    }
    return level[0].get<int>();
  }

  void ReadConv(const onnx::NodeProto& node) {
    const Real& input = Expect<Real>(node, 0, "a dequantized value");
    const RealWeights& weights = Expect<RealWeights>(node, 1, "dequantized weights");
    const WeightTensor& weight = model_.weights[static_cast<size_t>(weights.weight)];
    if (weight.shape.size() != 4) Fail(NameOf(node), "its weights must have 4 dimensions");
    const auto small = [](int64_t size) { return static_cast<int>(std::min<int64_t>(size, 65536)); };
    Convolution op;
    op.weight = weights.weight;
    op.window = WindowOf(node, small(weight.shape[2]), small(weight.shape[3]));
    op.groups = SmallInt(node, "group", IntAttribute(node, "group", 1));
    Start(node, op, input.value, weight.outputs());
  }

  void ReadGemm(const onnx::NodeProto& node) {
    const Real& input = Expect<Real>(node, 0, "a dequantized value");
    const RealWeights& weights = Expect<RealWeights>(node, 1, "dequantized weights");
    if (FloatAttribute(node, "alpha", 1) != 1 || FloatAttribute(node, "beta", 1) != 1 ||
        IntAttribute(node, "transA", 0) != 0) {
      Fail(NameOf(node), "alpha and beta must be 1, transA 0");
    }
    if (IntAttribute(node, "transB", 0) == 0) Transpose(node, weights.weight);
    Start(node, Linear{weights.weight, {}}, input.value, model_.weights[static_cast<size_t>(weights.weight)].outputs());
  }

  void ReadMatMul(const onnx::NodeProto& node) {
    const Real& input = Expect<Real>(node, 0, "a dequantized value");
    const RealWeights& weights = Expect<RealWeights>(node, 1, "dequantized weights");
    Transpose(node, weights.weight);
    Start(node, Linear{weights.weight, {}}, input.value, model_.weights[static_cast<size_t>(weights.weight)].outputs());
  }

  void Transpose(const onnx::NodeProto& node, int index) {
    WeightTensor& weight = model_.weights[static_cast<size_t>(index)];
    if (weight.shape.size() != 2) Fail(NameOf(node), "its weights must have 2 dimensions");
    if (weight.scale.size() > 1) Fail(NameOf(node), "per-channel scales need transB = 1 (channels first)");
    if (used_.contains(index)) Fail(NameOf(node), "shares its weights with another node");
    const int64_t rows = weight.shape[0], columns = weight.shape[1];
    std::vector<int16_t> codes(weight.codes.size());
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c)
        codes[static_cast<size_t>(c * rows + r)] = weight.codes[static_cast<size_t>(r * columns + c)];
    }
    weight.codes = std::move(codes);
    weight.shape = {columns, rows};
  }

  template <typename Operation>
  void Start(const onnx::NodeProto& node, Operation operation, int input, int64_t outputs) {
    if (!used_.insert(*WeightOf(Node{"", operation, {0}, 0})).second)
      Fail(NameOf(node), "shares its weights with another node");
    Pending pending;
    pending.name = WithoutSuffix(node.output(0), ".sum");
    pending.operation = operation;
    pending.inputs = {input};
    pending.shape = ShapeOf(node, pending);
    pending.multiplier.assign(static_cast<size_t>(outputs), 1.0);
    pending.bias.assign(static_cast<size_t>(outputs), 0.0);
    if (HasInput(node, 2)) pending.bias = PerChannel(node, 2, outputs, 0);
    Define(node, std::move(pending));
  }

  ValueShape ShapeOf(const onnx::NodeProto& node, const Pending& pending) const {
    try {
      return OutputShape(model_, Node{pending.name, pending.operation, pending.inputs, 0});
    } catch (const InputError& error) {
      Fail(NameOf(node), error.what());
    }
  }

  // The pending operator behind input `input`, which no other node may take up after this one.
  Pending Take(const onnx::NodeProto& node, int input) {
    if (std::holds_alternative<Consumed>(Lookup(node, input))) {
      Fail(NameOf(node),
           fmt::format("input '{}' is used by another node too, before it is quantized", node.input(input)));
    }
    Expect<Pending>(node, input, "the result of a convolution or linear layer");
    Meaning& meaning = meanings_.at(node.input(input));
    Pending pending = std::move(std::get<Pending>(meaning));
    meaning = Consumed{};
    return pending;
  }
  // The same, where it must be a weighted sum that is not clipped yet.
  Pending Affinely(const onnx::NodeProto& node, int input) {
    Pending pending = Take(node, input);
    if (pending.multiplier.empty()) Fail(NameOf(node), "is only possible behind a convolution or linear layer");
    if (pending.relu || pending.clipped || pending.threshold) Fail(NameOf(node), "comes after the activation function");
    return pending;
  }

  void ReadMul(const onnx::NodeProto& node) {
    Pending pending = Affinely(node, 0);
    const auto factor = PerChannel(node, 1, pending.shape.channels, TrailingDims(pending));
    for (size_t c = 0; c < factor.size(); ++c) {
      pending.multiplier[c] *= factor[c];
      pending.bias[c] *= factor[c];
    }
    Define(node, std::move(pending));
  }

  void ReadAdd(const onnx::NodeProto& node) {
    if (const auto* weights = std::get_if<RealWeights>(&Lookup(node, 0))) return ReadWeightShift(node, weights->weight);
    if (std::holds_alternative<Real>(Lookup(node, 0))) return StartUnweighted(node, Add{}, ".sum");
    Pending pending = Affinely(node, 0);
    const auto term = PerChannel(node, 1, pending.shape.channels, TrailingDims(pending));
    for (size_t c = 0; c < term.size(); ++c) pending.bias[c] += term[c];
    Define(node, std::move(pending));
  }

  // Levels of a quantizer without zero: DequantizeLinear, then a constant is added.
  void ReadWeightShift(const onnx::NodeProto& node, int index) {
    WeightTensor& weight = model_.weights[static_cast<size_t>(index)];
    const auto shift = Floats(*Expect<Constant>(node, 1, "a constant").tensor);
    if (shift.size() != weight.scale.size()) Fail(NameOf(node), "must have one shift a scale");
    for (size_t i = 0; i < shift.size(); ++i) {
      const double levels = shift[i] / double{weight.scale[i]};
      if (!(std::abs(levels) <= 512)) Fail(NameOf(node), "is not a shift by whole levels");
      const int offset = static_cast<int>(std::lround(levels));
      if (std::abs(levels - offset) > 1e-3 || (i > 0 && offset != weight.format.levels.offset)) {
        Fail(NameOf(node), "is not a shift by whole levels");
      }
      weight.format.levels.offset = offset;
    }
    Define(node, RealWeights{index});
  }

  void ReadBatchNormalization(const onnx::NodeProto& node) {
    Pending pending = Affinely(node, 0);
    const int64_t channels = pending.shape.channels;
    const auto gamma = PerChannel(node, 1, channels, 0), beta = PerChannel(node, 2, channels, 0);
    const auto mean = PerChannel(node, 3, channels, 0), variance = PerChannel(node, 4, channels, 0);
    const double epsilon = FloatAttribute(node, "epsilon", 1e-5);
    for (size_t c = 0; c < gamma.size(); ++c) {
      const double factor = gamma[c] / std::sqrt(variance[c] + epsilon);
      pending.multiplier[c] *= factor;
      pending.bias[c] = (pending.bias[c] - mean[c]) * factor + beta[c];
    }
    Define(node, std::move(pending));
  }

  void ReadRelu(const onnx::NodeProto& node) {
    Pending pending = Take(node, 0);
    if (pending.relu || pending.clipped) Fail(NameOf(node), "comes after the activation function");
    pending.relu = true;
    Define(node, std::move(pending));
  }

  void ReadThresholdedRelu(const onnx::NodeProto& node) {
    Pending pending = Take(node, 0);
    if (pending.clipped) Fail(NameOf(node), "comes after Clip");
    pending.relu = true;
    pending.threshold = FloatAttribute(node, "alpha", 1.0);
    Define(node, std::move(pending));
  }

  void ReadClip(const onnx::NodeProto& node) {
    Pending pending = Take(node, 0);
    if (pending.clipped) Fail(NameOf(node), "is a second Clip");
    pending.clipped = true;
    if (HasInput(node, 1)) pending.low = Scalar(node, 1, "lower bound");
    if (HasInput(node, 2)) pending.high = Scalar(node, 2, "upper bound");
    Define(node, std::move(pending));
  }

  // The bits of codes that a Clip leaves: its upper bound is the highest code, its lower bound no higher than the
  // lowest (or 0, which makes it a ReLU).
  int BitsOfClip(const onnx::NodeProto& node, Pending& pending, const ActivationCoding& coding) const {
    constexpr double kTolerance = 0.25;  // of a code: bounds are products of floats
    if (!(coding.scale > 0)) return 8;
    if (pending.low) {
      const double lowest = *pending.low / coding.scale + coding.zero_point;
      if (coding.zero_point > 0 && std::abs(*pending.low / coding.scale) < kTolerance)
        pending.relu = true;
      else if (!(lowest < kTolerance))
        Fail(NameOf(node),
             fmt::format("its Clip cuts at code {:.2f} from below, which is neither 0 nor the zero point", lowest));
    }
    if (!pending.high) return 8;
    const double highest = *pending.high / coding.scale + coding.zero_point;
    if (highest > 255 - kTolerance) return 8;
    for (int bits = 1; bits <= 7; ++bits) {
      if (std::abs(highest - ((1 << bits) - 1)) < kTolerance) return bits;
    }
    Fail(NameOf(node),
         fmt::format("its Clip cuts at code {:.2f}, which is not the highest code of 1 to 8 bits", highest));
  }

  void ReadQuantize(const onnx::NodeProto& node) {
    Pending pending = Take(node, 0);
    ActivationCoding coding;
    coding.scale = static_cast<float>(Scalar(node, 1, "scale"));
    coding.zero_point = ZeroPoint(node);
    const int clip_bits = BitsOfClip(node, pending, coding);
    coding.bits = TensorInt(node.output(0), "bits", clip_bits);
    if (coding.bits != clip_bits) {
      Fail(NameOf(node), fmt::format("its metadata says {} bits, and its Clip {}", coding.bits, clip_bits));
    }
    int threshold_code = 0;
    if (pending.threshold && coding.scale > 0) {
      const double code = *pending.threshold / coding.scale + 0.5;
      if (!(code >= 0 && code <= 256)) Fail(NameOf(node), "its ThresholdedRelu cuts everything off");
      threshold_code = static_cast<int>(std::ceil(code - 1e-3));
    }
    coding.zero_below = TensorInt(node.output(0), "zero_below", threshold_code);
    if (coding.zero_below != threshold_code) {
      Fail(NameOf(node), fmt::format("its metadata says that codes below {} become zero, and its ThresholdedRelu {}",
                                     coding.zero_below, threshold_code));
    }
    Define(node, Codes{Finish(pending, node.output(0), coding)});
  }

  void ReadShapeOnly(const onnx::NodeProto& node, Operation operation) {
    std::vector<int> inputs = {Expect<Real>(node, 0, "a dequantized value").value};
    const auto coding = model_.values[static_cast<size_t>(inputs[0])].coding;
    const std::string name = WithoutSuffix(node.output(0), ".real");
    Pending pending;
    pending.name = name;
    pending.operation = std::move(operation);
    pending.inputs = std::move(inputs);
    pending.shape = ShapeOf(node, pending);
    Define(node, Real{Finish(pending, name, coding)});
  }

  // An operator on dequantized values whose result is quantized anew.
  void StartUnweighted(const onnx::NodeProto& node, Operation operation, const std::string& suffix) {
    Pending pending;
    pending.name = WithoutSuffix(node.output(0), suffix);
    pending.operation = std::move(operation);
    for (int i = 0; i < node.input_size(); ++i)
      pending.inputs.push_back(Expect<Real>(node, i, "a dequantized value").value);
    pending.shape = ShapeOf(node, pending);
    Define(node, std::move(pending));
  }

  void ReadAveragePool(const onnx::NodeProto& node) {
    if (Attribute(node, "kernel_shape") == nullptr) Fail(NameOf(node), "has no kernel_shape");
    const Window window = WindowOf(node, 1, 1);
    if ((window.pad_h > 0 || window.pad_w > 0) && IntAttribute(node, "count_include_pad", 0) != 1)
      Fail(NameOf(node), "padding must count (count_include_pad = 1)");
    StartUnweighted(node, AveragePool{window}, ".mean");
  }

  void ReadGlobalAveragePool(const onnx::NodeProto& node) {
    const int input = Expect<Real>(node, 0, "a dequantized value").value;
    const ValueShape& shape = model_.values[static_cast<size_t>(input)].shape;
    Window window;
    window.kernel_h = SmallInt(node, "height", shape.height);
    window.kernel_w = SmallInt(node, "width", shape.width);
    StartUnweighted(node, AveragePool{window}, ".mean");
  }

  void ReadConcat(const onnx::NodeProto& node) {
    if (IntAttribute(node, "axis", 1) != 1) Fail(NameOf(node), "axis must be 1");
    StartUnweighted(node, Concatenate{}, ".joined");
  }

  void ReadMaxPool(const onnx::NodeProto& node) {
    if (Attribute(node, "kernel_shape") == nullptr) Fail(NameOf(node), "has no kernel_shape");
    ReadShapeOnly(node, MaxPool{WindowOf(node, 1, 1)});
  }

  void ReadFlatten(const onnx::NodeProto& node) {
    if (IntAttribute(node, "axis", 1) != 1) Fail(NameOf(node), "axis must be 1");
    ReadShapeOnly(node, Flatten{});
  }

  const onnx::ModelProto& proto_;
  std::string file_;
  QuantizedModel model_;
  nlohmann::json tensors_;
  std::unordered_map<std::string, Meaning> meanings_;
  std::set<int> used_;  // weights that a node has taken
  std::set<const onnx::TensorProto*> dequantized_;
};

}  // namespace

QuantizedModel FromOnnx(std::span<const uint8_t> bytes, const std::string& name) {
  onnx::ModelProto proto;
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || !proto.has_graph()) {
    throw InputError(fmt::format("{}: is not an ONNX model ({} bytes that do not parse as one)", name, bytes.size()));
  }
  try {
    return Reader(proto, name).Read();
  } catch (const std::bad_alloc&) {
    throw InputError(fmt::format("{}: needs more memory than there is", name));
  }
}

QuantizedModel ReadModel(const std::filesystem::path& path) {
  return ReadModelFile(path).model;
}

ModelFile ReadModelFile(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  return {path, Sha256(bytes), FromOnnx(bytes, path.string())};
}

std::string NameWithHash(const ModelFile& file) {
  return file.path.stem().string() + "@" + file.sha256.substr(0, 12);
}

}  // namespace steadfast::model
