#include "tests/qoperator_networks.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace steadfast {
namespace {

class Builder {
 public:
  explicit Builder(uint64_t seed) : random_(seed * 0x9E3779B97F4A7C15u + 7) {}

  QOperatorNetwork Build() {
    network_.is_int8 = Chance(40);
    network_.real_input = Chance(50);
    ties_ = Chance(40);
    graph_ = proto_.mutable_graph();
    graph_->set_name("qoperator");
    proto_.set_ir_version(7);
    opset_ = static_cast<int>(Between(11, 17));
    auto* opset = proto_.add_opset_import();
    opset->set_domain("");
    opset->set_version(opset_);
    auto* contrib = proto_.add_opset_import();
    contrib->set_domain("com.microsoft");
    contrib->set_version(1);
    channels_ = Between(1, 4);
    height_ = Between(5, 9);
    width_ = Between(5, 9);
    MakeInput();
    const int64_t layers = Between(2, 5);
    for (int64_t layer = 0; layer < layers; ++layer) AddLayer();
    Finish();
    network_.bytes = proto_.SerializeAsString();
    return network_;
  }

 private:
  // A tensor of codes, with what dequantizes it.
  struct Codes {
    std::string name, scale, zero;
    float scale_value = 1;
  };

  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int percent) { return Between(1, 100) <= percent; }
  float ScaleNear(double target) {
    if (ties_) return static_cast<float>(std::exp2(std::round(std::log2(target))));
    return static_cast<float>(target * (0.7 + 0.6 * static_cast<double>(Between(0, 1 << 20)) / (1 << 20)));
  }
  std::string Name(const char* what) { return fmt::format("{}{}", what, number_++); }

  std::string AddIntegers(const std::string& name, int type, const std::vector<int64_t>& dims,
                          const std::vector<int>& values) {
    auto* tensor = graph_->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (const int64_t size : dims) tensor->add_dims(size);
    for (const int value : values) tensor->add_int32_data(value);
    return name;
  }
  std::string AddFloats(const std::string& name, const std::vector<float>& values, bool is_scalar) {
    auto* tensor = graph_->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    if (!is_scalar) tensor->add_dims(static_cast<int64_t>(values.size()));
    for (const float value : values) tensor->add_float_data(value);
    return name;
  }
  int ActivationType() const { return network_.is_int8 ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8; }
  int RandomZero() {
    if (Chance(30)) return network_.is_int8 ? -128 : 0;
    return static_cast<int>(network_.is_int8 ? Between(-40, 40) : Between(90, 160));
  }
  // A new tensor of codes.
  Codes NewCodes(double scale) {
    Codes codes{Name("t"), Name("scale"), Name("zero"), ScaleNear(scale)};
    AddFloats(codes.scale, {codes.scale_value}, true);
    AddIntegers(codes.zero, ActivationType(), {}, {RandomZero()});
    network_.codes.push_back(codes.name);
    return codes;
  }
  onnx::NodeProto* Add(const std::string& type, const std::vector<std::string>& inputs, const std::string& output,
                       bool is_contrib) {
    auto* node = graph_->add_node();
    node->set_op_type(type);
    if (is_contrib) node->set_domain("com.microsoft");
    if (Chance(60)) node->set_name(output + "/" + type);
    for (const auto& input : inputs) node->add_input(input);
    node->add_output(output);
    return node;
  }
  static void SetInt(onnx::NodeProto* node, const char* name, int64_t value) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  static void SetInts(onnx::NodeProto* node, const char* name, const std::vector<int64_t>& values) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute->add_ints(value);
  }
  void Describe(onnx::ValueInfoProto* info, const std::string& name, int type, const std::vector<int64_t>& dims) {
    info->set_name(name);
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    for (const int64_t size : dims) {
      auto* dim = tensor->mutable_shape()->add_dim();
      if (size < 0)
        dim->set_dim_param("N");
      else
        dim->set_dim_value(size);
    }
  }

  void MakeInput() {
    const int type = network_.real_input ? int{onnx::TensorProto::FLOAT} : ActivationType();
    Describe(graph_->add_input(), "input", type, {-1, channels_, height_, width_});
    if (!network_.real_input) {
      current_ = {"input", Name("scale"), Name("zero"), network_.is_int8 ? 1.0f / 255.0f : ScaleNear(0.01)};
      AddFloats(current_.scale, {current_.scale_value}, true);
      AddIntegers(current_.zero, ActivationType(), {}, {network_.is_int8 ? -128 : RandomZero()});
      return;
    }
    current_ = NewCodes(0.008);
    Add("QuantizeLinear", {"input", current_.scale, current_.zero}, current_.name, false);
  }

  struct Weights {
    std::string codes, scale, zero;
    double largest_scale;
  };
  // int8 around 0, or uint8 around its zero point: int8 activations do not meet uint8 weights in ONNX Runtime.
  Weights MakeWeights(const std::vector<int64_t>& dims, int64_t outputs, bool may_have_scales) {
    const bool is_unsigned = !network_.is_int8 && Chance(25);
    const bool per_channel = may_have_scales && outputs > 1 && Chance(50);
    int64_t elements = 1;
    for (const int64_t size : dims) elements *= size;
    const int zero = is_unsigned  ? static_cast<int>(Between(110, 140))
                     : Chance(20) ? static_cast<int>(Between(-9, 9))
                                  : 0;
    std::vector<int> codes;
    for (int64_t i = 0; i < elements; ++i)
      codes.push_back(static_cast<int>(is_unsigned ? Between(0, 255) : Between(-127, 127)));
    std::vector<float> scales;
    for (int64_t i = 0; i < (per_channel ? outputs : 1); ++i) scales.push_back(ScaleNear(0.01));
    Weights weights{Name("w"), Name("wscale"), Name("wzero"), *std::max_element(scales.begin(), scales.end())};
    const int type = is_unsigned ? onnx::TensorProto::UINT8 : onnx::TensorProto::INT8;
    AddIntegers(weights.codes, type, dims, codes);
    AddFloats(weights.scale, scales, !per_channel);
    const auto zeros = std::vector<int>(scales.size(), zero);
    AddIntegers(weights.zero, type, per_channel ? std::vector<int64_t>{outputs} : std::vector<int64_t>{}, zeros);
    return weights;
  }
  std::string MakeBias(int64_t outputs) {
    std::vector<int> values;
    for (int64_t i = 0; i < outputs; ++i) values.push_back(static_cast<int>(Between(-9000, 9000)));
    return AddIntegers(Name("b"), onnx::TensorProto::INT32, {outputs}, values);
  }

  // A convolution of `from`; keeps the shape where it is to be added to what went into it.
  Codes Convolve(const Codes& from, int64_t outputs, bool keeps_shape) {
    const bool is_depthwise = !keeps_shape && Chance(25);
    const int64_t kernel = keeps_shape ? 1 + 2 * Between(0, 1) : Between(1, std::min({int64_t{3}, height_, width_}));
    const int64_t stride = keeps_shape ? 1 : Between(1, 2);
    std::vector<int64_t> pads(4, kernel / 2);
    if (!keeps_shape) {
      for (int64_t& pad : pads) pad = Between(0, kernel - 1);
    }
    if (is_depthwise) outputs = channels_;
    const int64_t group_inputs = is_depthwise ? 1 : channels_;
    const Weights weights = MakeWeights({outputs, group_inputs, kernel, kernel}, outputs, true);
    const auto products = static_cast<double>(group_inputs * kernel * kernel);
    const Codes to = NewCodes(double{from.scale_value} * weights.largest_scale * 60 * std::sqrt(products));
    std::vector<std::string> inputs = {from.name,     from.scale,   from.zero, weights.codes,
                                       weights.scale, weights.zero, to.scale,  to.zero};
    if (Chance(70)) inputs.push_back(MakeBias(outputs));
    auto* node = Add("QLinearConv", inputs, to.name, false);
    SetInts(node, "kernel_shape", {kernel, kernel});
    SetInts(node, "pads", pads);
    SetInts(node, "strides", {stride, stride});
    if (is_depthwise) SetInt(node, "group", channels_);
    if (!keeps_shape) {
      channels_ = outputs;
      height_ = (height_ + pads[0] + pads[2] - kernel) / stride + 1;
      width_ = (width_ + pads[1] + pads[3] - kernel) / stride + 1;
    }
    return to;
  }

  Codes OfTwo(const char* type, const Codes& a, const Codes& b, double scale) {
    const Codes to = NewCodes(scale);
    Add(type, {a.name, a.scale, a.zero, b.name, b.scale, b.zero, to.scale, to.zero}, to.name, true);
    return to;
  }

  void AddLayer() {
    const Codes from = current_;
    switch (Between(0, 8)) {
      case 0: {
        const Codes branch = Convolve(from, channels_, true);
        current_ = Chance(50) ? OfTwo("QLinearAdd", from, branch, branch.scale_value * 1.5)
                              : OfTwo("QLinearAdd", branch, from, branch.scale_value * 1.5);
        return;
      }
      case 1: {
        const Codes branch = Convolve(from, channels_, true);
        current_ = OfTwo("QLinearMul", from, branch, double{from.scale_value} * branch.scale_value * 60);
        return;
      }
      case 2: {
        const Codes branch = Convolve(from, Between(1, 4), true);
        const int64_t more = OutputsOf(branch);
        const Codes to = NewCodes(branch.scale_value * 1.2);
        auto* node = Add("QLinearConcat",
                         {to.scale, to.zero, from.name, from.scale, from.zero, branch.name, branch.scale, branch.zero},
                         to.name, true);
        SetInt(node, "axis", 1);
        channels_ += more;
        current_ = to;
        return;
      }
      case 3: {
        if (height_ < 3 || width_ < 3) return;
        const Codes to = NewCodes(from.scale_value * 0.8);
        auto* node = Add("QLinearAveragePool", {from.name, from.scale, from.zero, to.scale, to.zero}, to.name, true);
        SetInts(node, "kernel_shape", {2, 3});
        SetInts(node, "strides", {1, 2});
        --height_;
        width_ = (width_ - 3) / 2 + 1;
        current_ = to;
        return;
      }
      case 4: {
        const bool is_leaky = Chance(50);
        Codes to = NewCodes(is_leaky ? from.scale_value * 0.9 : 1.0 / 256);
        auto* node = Add(is_leaky ? "QLinearLeakyRelu" : "QLinearSigmoid",
                         {from.name, from.scale, from.zero, to.scale, to.zero}, to.name, true);
        if (is_leaky) {
          auto* alpha = node->add_attribute();
          alpha->set_name("alpha");
          alpha->set_type(onnx::AttributeProto::FLOAT);
          alpha->set_f(0.1f);
        }
        current_ = to;
        return;
      }
      case 5: {
        if (height_ < 2 || width_ < 2 || opset_ < 12) return;
        const std::string name = Name("t");
        network_.codes.push_back(name);
        auto* node = Add("MaxPool", {from.name}, name, false);
        SetInts(node, "kernel_shape", {2, 2});
        SetInts(node, "strides", {1, 1});
        --height_;
        --width_;
        current_.name = name;
        return;
      }
      default:
        current_ = Convolve(from, Between(1, 5), false);
    }
  }
  int64_t OutputsOf(const Codes& convolved) const {
    for (const auto& node : graph_->node()) {
      if (node.output(0) != convolved.name) continue;
      for (const auto& tensor : graph_->initializer()) {
        if (tensor.name() == node.input(3)) return tensor.dims(0);
      }
    }
    return 0;
  }

  void Finish() {
    if (Chance(40)) {
      const Codes to = NewCodes(current_.scale_value * 0.5);
      auto* node = Add("QLinearGlobalAveragePool", {current_.name, current_.scale, current_.zero, to.scale, to.zero},
                       to.name, true);
      SetInt(node, "channels_last", 0);
      height_ = width_ = 1;
      current_ = to;
    }
    const int64_t inputs = channels_ * height_ * width_;
    const std::string flat = Name("t");
    if (Chance(50)) {
      SetInt(Add("Flatten", {current_.name}, flat, false), "axis", 1);
    } else {
      auto* shape = graph_->add_initializer();
      shape->set_name(Name("shape"));
      shape->set_data_type(onnx::TensorProto::INT64);
      shape->add_dims(2);
      shape->add_int64_data(0);
      shape->add_int64_data(-1);
      Add("Reshape", {current_.name, shape->name()}, flat, false);
    }
    current_.name = flat;
    const int64_t outputs = Between(2, 10);
    const bool is_gemm = Chance(50), is_transposed = is_gemm && Chance(50);
    const bool is_real = is_gemm && Chance(25);
    const Weights weights =
        MakeWeights(is_transposed ? std::vector{outputs, inputs} : std::vector{inputs, outputs}, outputs, true);
    Codes to;
    if (!is_real)
      to = NewCodes(double{current_.scale_value} * weights.largest_scale * 60 * std::sqrt(static_cast<double>(inputs)));
    std::vector<std::string> all = {current_.name, current_.scale, current_.zero,
                                    weights.codes, weights.scale,  weights.zero};
    if (is_gemm) all.push_back(Chance(70) ? MakeBias(outputs) : "");
    if (!is_real) all.insert(all.end(), {to.scale, to.zero});
    auto* node = Add(is_gemm ? "QGemm" : "QLinearMatMul", all, is_real ? "logits" : to.name, is_gemm);
    if (is_transposed) SetInt(node, "transB", 1);
    if (is_real) return Describe(graph_->add_output(), "logits", onnx::TensorProto::FLOAT, {-1, outputs});
    if (Chance(30)) {
      Codes probabilities = NewCodes(1);
      graph_->mutable_initializer(graph_->initializer_size() - 2)->set_float_data(0, 1.0f / 256.0f);
      graph_->mutable_initializer(graph_->initializer_size() - 1)->set_int32_data(0, network_.is_int8 ? -128 : 0);
      auto* softmax = Add("QLinearSoftmax", {to.name, to.scale, to.zero, probabilities.scale, probabilities.zero},
                          probabilities.name, true);
      SetInt(softmax, "axis", opset_ < 13 ? 1 : -1);
      SetInt(softmax, "opset", opset_);
      to = probabilities;
    }
    Add("DequantizeLinear", {to.name, to.scale, to.zero}, "logits", false);
    Describe(graph_->add_output(), "logits", onnx::TensorProto::FLOAT, {-1, outputs});
  }

  std::mt19937_64 random_;
  QOperatorNetwork network_;
  onnx::ModelProto proto_;
  onnx::GraphProto* graph_ = nullptr;
  int opset_ = 13;
  bool ties_ = false;
  int number_ = 0;
  int64_t channels_ = 0, height_ = 0, width_ = 0;
  Codes current_;
};

}  // namespace

QOperatorNetwork MakeQOperatorNetwork(uint64_t seed) {
  return Builder(seed).Build();
}

}  // namespace steadfast
