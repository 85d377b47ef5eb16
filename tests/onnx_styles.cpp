#include "tests/onnx_styles.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

namespace steadfast {
namespace {

constexpr int kUint4 = 21, kInt4 = 22;

class Builder {
 public:
  explicit Builder(uint64_t seed) : random_(seed * 0x9E3779B97F4A7C15u + 1) {}

  StyledModel Build() {
    styled_.opset = static_cast<int>(Between(10, 21));
    styled_.exact = Chance(50);
    styled_.real_input = Chance(40);
    constants_as_nodes_ = Chance(30);
    one_d_scales_ = Chance(40);
    typed_data_ = Chance(30);
    share_ = Chance(30);
    signed_activations_ = Chance(40);
    graph_ = proto_.mutable_graph();
    graph_->set_name("styled");
    proto_.set_ir_version(styled_.opset >= 21 ? 10 : 7);
    auto* opset = proto_.add_opset_import();
    opset->set_domain(Chance(20) ? "ai.onnx" : "");
    opset->set_version(styled_.opset);

    channels_ = Between(1, 4);
    height_ = Between(4, 9);
    width_ = Between(4, 9);
    styled_.input_shape = {channels_, height_, width_};
    MakeInput();
    const int64_t layers = Between(1, 4);
    for (int64_t layer = 0; layer < layers; ++layer) AddLayer();
    if (!flat_) AddFlatten();
    AddLast();
    Spoil();
    styled_.bytes = proto_.SerializeAsString();
    return styled_;
  }

 private:
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int percent) { return Between(1, 100) <= percent; }
  // About `target`; a power of two where all are.
  float ScaleNear(double target) {
    if (styled_.exact) return static_cast<float>(std::exp2(std::round(std::log2(target))));
    return static_cast<float>(target * (0.7 + 0.6 * static_cast<double>(Between(0, 1 << 20)) / (1 << 20)));
  }
  std::string Name(const char* what) { return fmt::format("{}_{}", what, number_++); }

  // ---- constants ----

  template <typename T>
  std::string AddConstant(const std::string& name, int type, const std::vector<int64_t>& dims,
                          const std::vector<T>& values) {
    onnx::TensorProto tensor;
    tensor.set_name(name);
    tensor.set_data_type(type);
    for (int64_t size : dims) tensor.add_dims(size);
    if (type == kInt4 || type == kUint4) {
      std::string raw((values.size() + 1) / 2, '\0');
      for (size_t i = 0; i < values.size(); ++i)
        raw[i / 2] = static_cast<char>(raw[i / 2] | (static_cast<int>(values[i]) & 15) << (i % 2 * 4));
      tensor.set_raw_data(raw);
    } else if (!typed_data_) {
      tensor.set_raw_data(values.data(), values.size() * sizeof(T));
    } else if constexpr (std::is_same_v<T, float>) {
      for (float value : values) tensor.add_float_data(value);
    } else {
      for (T value : values) tensor.add_int32_data(value);
    }
    if (!constants_as_nodes_) {
      *graph_->add_initializer() = tensor;
      return name;
    }
    auto* node = graph_->add_node();
    node->set_op_type("Constant");
    node->add_output(name);
    auto* attribute = node->add_attribute();
    attribute->set_name("value");
    attribute->set_type(onnx::AttributeProto::TENSOR);
    *attribute->mutable_t() = tensor;
    return name;
  }
  std::string AddFloat(const char* what, float value, bool may_share) {
    if (may_share && share_) {
      const auto found = shared_.find(value);
      if (found != shared_.end()) return found->second;
    }
    const std::string name =
        AddConstant<float>(Name(what), onnx::TensorProto::FLOAT,
                           one_d_scales_ ? std::vector<int64_t>{1} : std::vector<int64_t>{}, {value});
    if (may_share) shared_[value] = name;
    return name;
  }

  // ---- nodes ----

  onnx::NodeProto* Add(const std::string& type, const std::vector<std::string>& inputs, const std::string& output) {
    auto* node = graph_->add_node();
    node->set_op_type(type);
    if (Chance(70)) node->set_name(output + "/" + type);
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
    for (int64_t value : values) attribute->add_ints(value);
  }
  static void SetText(onnx::NodeProto* node, const char* name, const char* value) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::STRING);
    attribute->set_s(value);
  }
  static void SetFloat(onnx::NodeProto* node, const char* name, float value) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::FLOAT);
    attribute->set_f(value);
  }

  // ---- the value at hand: `real_` is its dequantized name ----

  struct Coding {
    std::string scale, zero_point;  // names; zero_point may be empty
    float step = 1;
    int zero = 0;  // as stored
    bool is_signed = false;
  };

  Coding MakeCoding(float step, bool centred) {
    Coding coding{.step = step, .is_signed = signed_activations_};
    coding.scale = AddFloat("scale", step, true);
    const int lowest = coding.is_signed ? -128 : 0;
    coding.zero = centred ? lowest + static_cast<int>(Between(100, 160)) : lowest;
    if (!centred && Chance(30)) coding.zero = lowest + static_cast<int>(Between(1, 60));
    if (coding.zero == 0 && !coding.is_signed && Chance(40)) return coding;  // without one: 0, uint8
    const std::vector<int64_t> dims = one_d_scales_ ? std::vector<int64_t>{1} : std::vector<int64_t>{};
    const std::string name = Name("zero_point");
    coding.zero_point =
        coding.is_signed
            ? AddConstant<int8_t>(name, onnx::TensorProto::INT8, dims, {static_cast<int8_t>(coding.zero)})
            : AddConstant<uint8_t>(name, onnx::TensorProto::UINT8, dims, {static_cast<uint8_t>(coding.zero)});
    return coding;
  }
  std::vector<std::string> With(const std::string& first, const Coding& coding) {
    std::vector<std::string> inputs = {first, coding.scale};
    if (!coding.zero_point.empty()) inputs.push_back(coding.zero_point);
    return inputs;
  }
  void Quantize(const std::string& from, const Coding& coding) {
    const std::string codes = Name("codes");
    Add("QuantizeLinear", With(from, coding), codes);
    styled_.codes.push_back(codes);
    codes_ = codes;
    coding_ = coding;
    Dequantize();
  }
  void Dequantize() {
    real_ = Name("real");
    auto inputs = With(codes_, coding_);
    if (coding_.zero == 0 && Chance(30)) inputs.resize(2);  // its default, in the type of the codes
    Add("DequantizeLinear", inputs, real_);
  }

  void MakeInput() {
    auto* info = graph_->add_input();
    info->set_name("input");
    auto* type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(styled_.real_input ? onnx::TensorProto::FLOAT : onnx::TensorProto::UINT8);
    type->mutable_shape()->add_dim()->set_dim_param("N");
    for (int64_t size : styled_.input_shape) type->mutable_shape()->add_dim()->set_dim_value(size);
    if (styled_.real_input) {
      Quantize("input", MakeCoding(ScaleNear(1.0 / 255), false));
      return;
    }
    const bool was_signed = std::exchange(signed_activations_, false);
    coding_ = MakeCoding(ScaleNear(0.01), true);
    signed_activations_ = was_signed;
    codes_ = "input";
    Dequantize();
  }

  void AddLayer() {
    const int64_t kind = flat_ ? 8 : Between(1, 10);
    if (kind <= 4) return AddConvolution();
    if (kind == 5) return AddPool("MaxPool");
    if (kind == 6) return AddPool("AveragePool");
    if (kind == 7) return AddResidual();
    if (kind == 8) return flat_ || Chance(50) ? AddFunction() : AddFlatten();
    if (kind == 9) return AddConcat();
    AddFunction();
  }

  // Weights [out, per output], dequantized; gives the name.
  std::string AddWeights(const std::vector<int64_t>& dims, int64_t outputs, int64_t output_axis, double& spread) {
    int64_t elements = 1;
    for (int64_t size : dims) elements *= size;
    const bool four_bits = styled_.opset >= 21 && Chance(30);
    const int largest = four_bits ? 7 : 127;
    std::vector<int8_t> codes;
    for (int64_t i = 0; i < elements; ++i) codes.push_back(static_cast<int8_t>(Between(-largest, largest)));
    const bool per_channel = styled_.opset >= 13 && outputs > 1 && Chance(50);
    std::vector<float> steps;
    for (int64_t i = 0; i < (per_channel ? outputs : 1); ++i) steps.push_back(ScaleNear(four_bits ? 0.05 : 0.004));
    const std::string weight =
        AddConstant<int8_t>(Name("weight"), four_bits ? kInt4 : onnx::TensorProto::INT8, dims, codes);
    const std::string scale = per_channel
                                  ? AddConstant<float>(Name("weight_scale"), onnx::TensorProto::FLOAT, {outputs}, steps)
                                  : AddFloat("weight_scale", steps[0], true);
    std::vector<std::string> inputs = {weight, scale};
    if (Chance(50)) {
      const std::vector<int64_t> shape = per_channel     ? std::vector<int64_t>{outputs}
                                         : one_d_scales_ ? std::vector<int64_t>{1}
                                                         : std::vector<int64_t>{};
      inputs.push_back(AddConstant<int8_t>(Name("weight_zero"), four_bits ? kInt4 : onnx::TensorProto::INT8, shape,
                                           std::vector<int8_t>(per_channel ? static_cast<size_t>(outputs) : 1, 0)));
    }
    const std::string real = Name("weight_real");
    auto* node = Add("DequantizeLinear", inputs, real);
    if (per_channel) SetInt(node, "axis", Chance(30) ? output_axis - static_cast<int64_t>(dims.size()) : output_axis);
    weight_step_ = steps[0];
    spread = std::sqrt(static_cast<double>(elements / outputs)) * largest * 0.6 * steps[0] * 100 * coding_.step;
    return real;
  }

  // A bias of `outputs`: float, or int32 at the scale of the sums.
  std::string AddBias(int64_t outputs, double spread) {
    if (Chance(50) || !styled_.exact) {
      std::vector<float> values;
      for (int64_t i = 0; i < outputs; ++i) {
        const double value = (static_cast<double>(Between(0, 64)) - 32) / 64 * spread;
        values.push_back(static_cast<float>(styled_.exact ? std::round(value / coding_.step) * coding_.step : value));
      }
      return AddConstant<float>(Name("bias"), onnx::TensorProto::FLOAT, {outputs}, values);
    }
    const float step = coding_.step * weight_step_;
    std::vector<int32_t> values;
    for (int64_t i = 0; i < outputs; ++i) values.push_back(static_cast<int32_t>(Between(-2000, 2000)));
    const std::string bias = AddConstant<int32_t>(Name("bias_codes"), onnx::TensorProto::INT32, {outputs}, values);
    const std::string real = Name("bias_real");
    Add("DequantizeLinear", {bias, AddFloat("bias_scale", step, true)}, real);
    return real;
  }

  void AddClip(const std::string& from, float low, float high, const std::string& output) {
    if (styled_.opset <= 10) {
      auto* node = Add("Clip", {from}, output);
      SetFloat(node, "min", low);
      SetFloat(node, "max", high);
      return;
    }
    Add("Clip",
        {from, AddConstant<float>(Name("low"), onnx::TensorProto::FLOAT, {}, {low}),
         AddConstant<float>(Name("high"), onnx::TensorProto::FLOAT, {}, {high})},
        output);
  }

  // Cuts midway between two codes. What lies exactly there rounds to the even one: where that is the upper one, the cut
  // is no cut of codes.
  void FinishWithThreshold(const std::string& current, double spread) {
    const Coding coding = MakeCoding(ScaleNear(spread / 255), false);
    const std::string next = Name("thresholded");
    auto* node = Add("ThresholdedRelu", {current}, next);
    const bool below_even = styled_.refused_for.empty() && styled_.exact && Chance(10);
    if (below_even) styled_.refused_for = "cuts off what lies exactly";
    SetFloat(node, "alpha", (static_cast<float>(2 * Between(0, 20)) + (below_even ? 1.5f : 0.5f)) * coding.step);
    Quantize(next, coding);
  }

  // The activation function and QuantizeLinear of a result of about this size.
  void Finish(std::string current, double spread) {
    bool centred = true;
    const int64_t kind = Between(1, 6);
    if (kind == 5) return FinishWithThreshold(current, spread);
    if (kind == 6) {
      const std::string relu = Name("relu"), next = Name("clip");
      Add("Relu", {current}, relu);
      AddClip(relu, ScaleNear(spread / 32), ScaleNear(spread), next);
      current = next;
      centred = Chance(20);
    } else if (kind == 1) {
      const std::string next = Name("relu");
      Add("Relu", {current}, next);
      current = next;
      centred = Chance(20);
    } else if (kind == 2) {
      const float high = ScaleNear(spread);
      const std::string next = Name("clip");
      AddClip(current, 0.0f, high, next);
      current = next;
      centred = Chance(20);
    }
    Quantize(current, MakeCoding(ScaleNear(spread * (centred ? 2.0 : 1.0) / 255), centred));
  }

  // Padding: none, the same on both sides, any, or by auto_pad. The plane becomes what the window makes of it.
  void Slide(onnx::NodeProto* node, int64_t kernel, int64_t stride, bool same_size) {
    const int64_t kind = same_size ? Between(3, 4) : Between(1, 5);
    if (kind >= 4) {
      SetText(node, "auto_pad", kind == 4 ? "SAME_UPPER" : "SAME_LOWER");
      height_ = (height_ + stride - 1) / stride;
      width_ = (width_ + stride - 1) / stride;
      return;
    }
    int64_t pads[4] = {1, 1, 1, 1};  // top, left, bottom, right
    if (!same_size) {
      for (int64_t& pad : pads) pad = kind == 1 ? 0 : Between(0, kernel / 2);
      if (kind == 2) std::copy(pads, pads + 2, pads + 2);
    }
    if (kind > 1 || Chance(50)) SetInts(node, "pads", {pads[0], pads[1], pads[2], pads[3]});
    height_ = (height_ + pads[0] + pads[2] - kernel) / stride + 1;
    width_ = (width_ + pads[1] + pads[3] - kernel) / stride + 1;
  }

  void AddConvolution(int64_t outputs = 0, bool same_size = false) {
    const int64_t kernel = same_size ? 3 : Between(1, 3);
    if (kernel > height_ || kernel > width_) return;
    int64_t groups = 1;
    if (outputs == 0) {
      outputs = Between(1, 5);
      if (Chance(25)) {
        groups = channels_;
        outputs = channels_ * Between(1, 2);
      }
    }
    double spread = 0;
    const std::string weights = AddWeights({outputs, channels_ / groups, kernel, kernel}, outputs, 0, spread);
    std::vector<std::string> inputs = {real_, weights};
    if (Chance(60)) inputs.push_back(AddBias(outputs, spread));
    std::string result = Name("conv");
    auto* node = Add("Conv", inputs, result);
    if (Chance(60)) SetInts(node, "kernel_shape", {kernel, kernel});
    const int64_t stride = same_size ? 1 : Between(1, 2);
    Slide(node, kernel, stride, same_size);
    if (stride > 1 || Chance(50)) SetInts(node, "strides", {stride, stride});
    if (groups > 1 || Chance(50)) SetInt(node, "group", groups);
    if (Chance(30)) SetInts(node, "dilations", {1, 1});
    channels_ = outputs;
    if (!styled_.exact && Chance(25)) result = AddBatchNormalization(result, spread);
    Finish(result, spread);
  }

  std::string AddBatchNormalization(const std::string& from, double spread) {
    const auto vector = [&](const char* what, double low, double high) {
      std::vector<float> values;
      for (int64_t i = 0; i < channels_; ++i)
        values.push_back(static_cast<float>(low + (high - low) * static_cast<double>(Between(0, 1000)) / 1000));
      return AddConstant<float>(Name(what), onnx::TensorProto::FLOAT, {channels_}, values);
    };
    const std::string result = Name("normalized");
    const double variance = spread * spread;
    auto* node = Add("BatchNormalization",
                     {from, vector("gamma", 0.5 * spread, 1.5 * spread), vector("beta", -0.3 * spread, 0.3 * spread),
                      vector("mean", -0.2 * spread, 0.2 * spread), vector("variance", 0.6 * variance, 1.6 * variance)},
                     result);
    SetFloat(node, "epsilon", 1e-4f);
    return result;
  }

  void AddPool(const char* type) {
    const int64_t kernel = Between(2, 3);
    const bool average = std::string_view(type) == "AveragePool";
    const bool global = average && Chance(25);
    if (!global && (kernel > height_ || kernel > width_)) return;
    // Of codes themselves, where the standard has it.
    const bool on_codes = !average && styled_.opset >= 12 && codes_ != "input" && Chance(40);
    const std::string result = Name("pool");
    auto* node = Add(global ? "GlobalAveragePool" : type, {on_codes ? codes_ : real_}, result);
    if (global) {
      height_ = width_ = 1;
    } else {
      const int64_t stride = Between(1, 2);
      SetInts(node, "kernel_shape", {kernel, kernel});
      SetInts(node, "strides", {stride, stride});
      Slide(node, kernel, stride, false);
      if (average) SetInt(node, "count_include_pad", 1);
    }
    if (average) return Quantize(result, MakeCoding(ScaleNear(coding_.step * (Chance(50) ? 1.0 : 0.5)), true));
    Moved(result, on_codes);
  }

  void AddFlatten() {
    const bool on_codes = codes_ != "input" && Chance(30);
    const std::string result = Name("flat");
    auto* node = Add("Flatten", {on_codes ? codes_ : real_}, result);
    if (Chance(50)) SetInt(node, "axis", styled_.opset >= 11 && Chance(30) ? -3 : 1);
    channels_ *= height_ * width_;
    height_ = width_ = 1;
    flat_ = true;
    Moved(result, on_codes);
  }

  // Behind an operator that moved codes about: the next takes its result, or a Q/DQ pair follows.
  void Moved(const std::string& result, bool on_codes) {
    if (on_codes) {
      codes_ = result;
      return Dequantize();
    }
    const int64_t kind = Between(1, 3);
    if (kind == 1) {
      real_ = result;
      codes_ = "input";  // the file has no codes of it
    } else if (kind == 2) {
      Quantize(result, coding_);
    } else {
      Quantize(result, MakeCoding(ScaleNear(coding_.step * 1.5), true));
    }
  }

  void AddResidual() {
    if (height_ < 3 || width_ < 3) return;
    const std::string skip = real_;
    const float step = coding_.step;
    AddConvolution(channels_, true);
    const std::string sum = Name("sum");
    Add("Add", Chance(50) ? std::vector{skip, real_} : std::vector{real_, skip}, sum);
    Finish(sum, 255 * std::max(double{step}, double{coding_.step}));
  }

  void AddConcat() {
    const std::string first = real_;
    const int64_t channels = channels_, height = height_, width = width_;
    const float step = coding_.step;
    if (height < 3 || width < 3) return;
    AddConvolution(Between(1, 3), true);
    const std::string joined = Name("joined");
    auto* node = Add("Concat", {first, real_}, joined);
    SetInt(node, "axis", styled_.opset >= 11 && Chance(30) ? -3 : 1);
    channels_ += channels;
    Quantize(joined, MakeCoding(ScaleNear(std::max(step, coding_.step)), true));
  }

  void AddFunction() {
    static constexpr std::pair<const char*, int> kFunctions[] = {{"Relu", 1}, {"LeakyRelu", 1},   {"Sigmoid", 1},
                                                                 {"Tanh", 1}, {"HardSigmoid", 1}, {"HardSwish", 14},
                                                                 {"Gelu", 20}};
    const auto [type, first_opset] = kFunctions[Between(0, std::size(kFunctions) - 1)];
    if (styled_.opset < first_opset) return;
    const std::string_view name = type;
    if (name != "Relu") styled_.exact = false;  // floats that other libraries round otherwise
    const std::string result = Name("function");
    auto* node = Add(type, {real_}, result);
    if (name == "LeakyRelu" || name == "HardSigmoid") SetFloat(node, "alpha", 0.125f);
    const bool bounded = name == "Sigmoid" || name == "HardSigmoid" || name == "Tanh";
    Quantize(result, MakeCoding(bounded ? ScaleNear(1.0 / 127) : coding_.step, true));
  }

  void AddLast() {
    const int64_t outputs = Between(2, 6);
    double spread = 0;
    const int64_t kind = Between(1, 3);
    const bool outputs_first = kind == 1;
    const std::string weights =
        AddWeights(outputs_first ? std::vector{outputs, channels_} : std::vector{channels_, outputs}, outputs,
                   outputs_first ? 0 : 1, spread);
    std::vector<std::string> inputs = {real_, weights};
    const bool bias = Chance(60) || (kind < 3 && styled_.opset < 11);  // Gemm had to have one
    if (kind < 3) {
      if (bias) inputs.push_back(AddBias(outputs, spread));
      auto* node = Add("Gemm", inputs, "logits");
      if (outputs_first) SetInt(node, "transB", 1);
      if (Chance(30)) SetFloat(node, "alpha", 1.0f);
    } else {
      Add("MatMul", inputs, bias ? "product" : "logits");
      if (bias) Add("Add", {"product", AddBias(outputs, spread)}, "logits");
    }
    auto* info = graph_->add_output();
    info->set_name("logits");
    auto* type = info->mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    type->mutable_shape()->add_dim()->set_dim_param("N");
    type->mutable_shape()->add_dim()->set_dim_value(outputs);
  }

  // Something that the reader must not pass over.
  void Spoil() {
    if (!styled_.refused_for.empty() || !Chance(15)) return;
    auto* node = graph_->mutable_node(static_cast<int>(Between(0, graph_->node_size() - 1)));
    const int64_t kind = Between(1, 3);
    if (kind == 1) {
      SetInt(node, "novel", 1);
      styled_.refused_for = "has an attribute 'novel'";
    } else if (kind == 2) {
      node->set_domain("com.example");
      styled_.refused_for = "operators of the domain com.example are not read";
    } else {
      node->set_op_type("Novel");
      styled_.refused_for = "this operator is not supported";
    }
  }

  std::mt19937_64 random_;
  StyledModel styled_;
  onnx::ModelProto proto_;
  onnx::GraphProto* graph_ = nullptr;
  bool constants_as_nodes_ = false, one_d_scales_ = false, typed_data_ = false, share_ = false,
       signed_activations_ = false;
  int number_ = 0;
  std::map<float, std::string> shared_;
  int64_t channels_ = 0, height_ = 0, width_ = 0;
  bool flat_ = false;
  std::string codes_, real_;
  Coding coding_;
  float weight_step_ = 1;
};

}  // namespace

StyledModel MakeStyledModel(uint64_t seed) {
  return Builder(seed).Build();
}

}  // namespace steadfast
