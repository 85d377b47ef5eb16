#include "steadfast/model/random_graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/linear.h"

namespace steadfast::model {

std::string RandomGraph::NextName() {
  return fmt::format("layer{}", layers_++);
}

CodeFormat RandomGraph::Format() {
  const int bits = static_cast<int>(Between(1, 8));
  if (bits == 1 || Chance(25)) return FormatWithoutZero(bits);
  return {.bits = bits, .is_signed = true, .narrow = Chance(30)};
}

int RandomGraph::AddRandomWeights(const std::string& name, std::vector<int64_t> shape, const CodeFormat& format) {
  int64_t elements = 1;
  for (int64_t size : shape) elements *= size;
  std::vector<int16_t> codes;
  for (int64_t i = 0; i < elements; ++i)
    codes.push_back(static_cast<int16_t>(Between(format.lowest_code(), format.highest_code())));
  const int64_t count = Chance(50) ? 1 : shape[0];
  std::vector<float> scales;
  for (int64_t i = 0; i < count; ++i) scales.push_back(Real(0.01f, 0.1f));
  return AddWeights(model, name, std::move(shape), format, scales, codes);
}

Weighted RandomGraph::AddRandomSteps(const std::string& name, int weight) {
  const int64_t outputs = model.parameter(weight).outputs();
  const auto floats = [&](const char* ending, Role role, float low, float high) {
    std::vector<float> values;
    for (int64_t c = 0; c < outputs; ++c) values.push_back(Real(low, high));
    return AddFloats(model, name + ending, role, {outputs}, std::move(values));
  };
  Weighted weighted{weight, {}};
  if (Chance(25)) {  // an int32 bias, behind the sum
    Parameter bias{.name = name + ".integer_bias", .role = Role::kBias, .shape = {outputs}};
    bias.format.kind = StorageFormat::Kind::kInt32;
    for (int64_t c = 0; c < outputs; ++c) bias.bits.push_back(static_cast<uint32_t>(Between(-1000, 1000)));
    bias.scale = AddFloats(model, name + ".integer_bias_scale", Role::kScale, {}, {Real(1e-4f, 1e-3f)});
    model.parameters.push_back(std::move(bias));
    weighted.steps.push_back({AffineStep::Kind::kAdd, static_cast<int>(model.parameters.size()) - 1});
  }
  if (Chance(30))
    weighted.steps.push_back({AffineStep::Kind::kMultiply, floats(".multiplier", Role::kMultiplier, -1.5f, 1.5f)});
  if (Chance(20)) {
    AffineStep step{AffineStep::Kind::kNormalize, floats(".gamma", Role::kMultiplier, 0.5f, 1.5f)};
    step.beta = floats(".beta", Role::kBias, -1.0f, 1.0f);
    step.mean = floats(".mean", Role::kMean, -1.0f, 1.0f);
    step.variance = floats(".variance", Role::kVariance, 0.2f, 2.0f);
    step.epsilon = 1e-5f;
    weighted.steps.push_back(step);
  }
  if (Chance(70)) weighted.steps.push_back({AffineStep::Kind::kAdd, floats(".bias", Role::kBias, -1.0f, 1.0f)});
  return weighted;
}

ActivationCoding RandomGraph::CodingFor(int input, int weight, bool relu) {
  const Parameter& tensor = model.parameter(weight);
  const ActivationCoding& from = *value(input).coding;
  const auto products = static_cast<double>(tensor.products());
  const float scale = model.parameter(tensor.scale).real(0) / static_cast<float>(tensor.format.codes.levels.multiplier);
  const double spread = std::sqrt(products) * from.highest_code() * LargestStoredLevel(tensor.format.codes) / 4;
  ActivationCoding coding;
  coding.bits = static_cast<int>(Between(1, 8));
  coding.scale = static_cast<float>(spread * from.scale * scale * 2 / coding.highest_code()) + 1e-6f;
  coding.zero_point = !relu && Chance(50) ? coding.highest_code() / 2 : 0;
  if (relu && Chance(20)) coding.zero_below = static_cast<int>(Between(0, coding.highest_code()));
  return coding;
}

ActivationCoding RandomGraph::CodingOfAbout(const ActivationCoding& other, float factor, bool with_zero_point) {
  ActivationCoding coding;
  coding.bits = static_cast<int>(Between(1, 8));
  coding.scale =
      other.scale * factor * static_cast<float>(other.highest_code()) / static_cast<float>(coding.highest_code());
  if (with_zero_point && Chance(50)) coding.zero_point = static_cast<int>(Between(0, coding.highest_code()));
  coding.is_signed = Chance(25);
  return coding;
}

Activation RandomGraph::RandomActivation(int relu_percent) {
  Activation activation{.relu = Chance(relu_percent)};
  if (!activation.relu && Chance(15)) activation.highest = static_cast<int>(Between(129, 254));  // no width's highest
  return activation;
}

int RandomGraph::AddNode(const std::string& name, Node node, std::optional<ActivationCoding> coding) {
  node.name = name;
  node.output = static_cast<int>(model.values.size());
  // Clips to codes that the coding lacks would be another coding's.
  if (!coding || coding->bits < 8) node.activation.highest = 255;
  Value added{coding ? name + ".codes" : "logits", OutputShape(model, node), coding};
  model.values.push_back(std::move(added));
  model.nodes.push_back(std::move(node));
  return static_cast<int>(model.values.size()) - 1;
}

int RandomGraph::AddConvolution(int input, const std::string& name, const Window& window, int64_t outputs) {
  const ValueShape shape = value(input).shape;
  const bool depthwise = Chance(25) && outputs % shape.channels == 0;
  int64_t groups = depthwise ? shape.channels : 1;
  if (!depthwise && outputs == 0 && shape.channels % 2 == 0 && Chance(25)) groups = 2;
  if (outputs == 0) outputs = Between(1, 3) * (groups > 1 ? groups : Between(1, 4));
  const int weight = AddRandomWeights(name + ".weight",
                                      {outputs, shape.channels / groups, window.kernel_h, window.kernel_w}, Format());
  const Weighted weighted = AddRandomSteps(name, weight);
  const Activation activation = RandomActivation(80);
  ActivationCoding coding = CodingFor(input, weight, activation.relu);
  coding.is_signed = Chance(25);
  return AddNode(name, {"", Convolution{weighted, window, static_cast<int>(groups)}, {input}, 0, activation}, coding);
}

int RandomGraph::AddNormalization(int input, const std::string& name) {
  const int64_t channels = value(input).shape.channels;
  const int ones = AddOnes(model, name + ".one", channels);
  const Weighted weighted = AddRandomSteps(name, ones);
  const Activation activation = RandomActivation(50);
  return AddNode(name, {"", Convolution{weighted, Window{}, static_cast<int>(channels)}, {input}, 0, activation},
                 CodingFor(input, ones, activation.relu));
}

int RandomGraph::AddLinear(int input, const std::string& name, int64_t outputs, const CodeFormat& format, bool last) {
  if (!value(input).shape.flat) {
    const auto coding = value(input).coding;
    input = AddNode(name + ".flat", {"", Flatten{}, {input}, 0}, coding);
  }
  const int64_t inputs = value(input).shape.elements();
  int weight = AddRandomWeights(name + ".weight", {outputs, inputs}, format);
  if (Chance(30)) {  // as MatMul takes them
    Parameter& tensor = model.parameters[static_cast<size_t>(weight)];
    const Parameter rows = tensor;
    tensor.shape = {inputs, outputs};
    tensor.output_axis = 1;
    for (int64_t i = 0; i < rows.elements(); ++i)
      tensor.bits[static_cast<size_t>(tensor.IndexOf(rows.OutputOf(i), rows.ProductOf(i)))] =
          rows.bits[static_cast<size_t>(i)];
  }
  const Weighted weighted = AddRandomSteps(name, weight);
  const Activation activation = last ? Activation{} : RandomActivation(80);
  std::optional<ActivationCoding> coding;
  if (!last) {
    coding = CodingFor(input, weight, activation.relu);
    coding->is_signed = Chance(25);
  }
  return AddNode(name, {"", Linear{weighted}, {input}, 0, activation}, coding);
}

Window RandomGraph::RandomWindow(const ValueShape& shape, bool pooling) {
  Window window;
  window.kernel_h = static_cast<int>(Between(1, std::min<int64_t>(5, shape.height)));
  window.kernel_w = static_cast<int>(Between(1, std::min<int64_t>(5, shape.width)));
  if (pooling && Chance(60)) {
    window.kernel_h = std::min<int>(2, window.kernel_h);
    window.kernel_w = std::min<int>(2, window.kernel_w);
    window.stride_h = window.kernel_h;
    window.stride_w = window.kernel_w;
    return window;
  }
  window.stride_h = static_cast<int>(Between(1, 2));
  window.stride_w = static_cast<int>(Between(1, 2));
  window.pad_top = static_cast<int>(Between(0, (window.kernel_h - 1) / 2));
  window.pad_left = static_cast<int>(Between(0, (window.kernel_w - 1) / 2));
  window.pad_bottom = Chance(60) ? window.pad_top : static_cast<int>(Between(0, (window.kernel_h - 1) / 2));
  window.pad_right = Chance(60) ? window.pad_left : static_cast<int>(Between(0, (window.kernel_w - 1) / 2));
  const auto fits = [](int kernel, int64_t size, int before, int after) {
    return 2 * (kernel - 1) + 1 <= size + before + after;
  };
  if (fits(window.kernel_h, shape.height, window.pad_top, window.pad_bottom) && Chance(25)) window.dilation_h = 2;
  if (fits(window.kernel_w, shape.width, window.pad_left, window.pad_right) && Chance(25)) window.dilation_w = 2;
  return window;
}

}  // namespace steadfast::model
