#include "steadfast/model/random_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/random_graph.h"

namespace steadfast::model {
namespace {

constexpr Activation kRelu{.relu = true};

Value InputValue(ValueShape shape, float scale, int zero_point) {
  return {"input", shape, ActivationCoding{.bits = 8, .scale = scale, .zero_point = zero_point}};
}

// As tools do that keep equal constants once.
void ShareEqualScales(RandomGraph& graph) {
  QuantizedModel& model = graph.model;
  std::map<float, int> first;
  std::set<int> unused;
  for (Value& value : model.values) {
    if (!value.coding) continue;
    const int other = first.emplace(value.coding->scale, value.scale).first->second;
    if (other == value.scale || !graph.Chance(50)) continue;
    const int own = value.scale;
    for (Value& user : model.values) {
      if (user.scale == own) user.scale = other;
    }
    unused.insert(own);
  }
  for (auto index = unused.rbegin(); index != unused.rend(); ++index) {  // scales are behind all that refer to others
    model.parameters.erase(model.parameters.begin() + *index);
    for (Value& value : model.values) value.scale -= value.scale > *index ? 1 : 0;
  }
}

// The float16 next to zero from a float32, or zero where it is smaller than any that is not denormal.
uint32_t HalfOf(uint32_t single) {
  const uint32_t sign = single >> 31 << 15;
  const int exponent = static_cast<int>(single >> 23 & 255) - 127 + 15;
  if (exponent <= 0 || exponent >= 31) return sign;
  return sign | static_cast<uint32_t>(exponent) << 10 | (single >> 13 & 1023);
}

// An operator, each as often as its weight says, behind `input`.
int AddRandomLayer(RandomGraph& graph, int input) {
  int64_t total = 0;
  for (const OperatorDefinition* definition : AllOperators()) total += definition->sample_weight;
  for (int tries = 0; tries < 100; ++tries) {
    int64_t place = graph.Between(1, total);
    for (const OperatorDefinition* definition : AllOperators()) {
      place -= definition->sample_weight;
      if (place > 0) continue;
      const int value = definition->sample(graph, input);
      if (value >= 0) return value;
      break;
    }
  }
  return input;
}

}  // namespace

QuantizedModel RandomModel(uint64_t seed) {
  RandomGraph graph(seed);
  QuantizedModel& model = graph.model;
  model.name = fmt::format("random-{}", seed);
  model.values.push_back(InputValue({graph.Between(1, 5), graph.Between(3, 12), graph.Between(3, 12)},
                                    graph.Real(0.005f, 0.02f), static_cast<int>(graph.Between(0, 255))));
  if (graph.Chance(20)) {
    model.real_input = true;
    model.values[0].coding->is_signed = graph.Chance(50);
  }
  int current = 0;
  const int64_t hidden = graph.Between(0, 5);
  for (int64_t layer = 0; layer < hidden; ++layer) current = AddRandomLayer(graph, current);
  model.output = graph.AddLinear(current, "last", graph.Between(2, 12), graph.Format(), true);
  AddActivationScales(model);
  ShareEqualScales(graph);
  for (size_t v = 0; v < model.values.size(); ++v) {  // some are dequantized with a scale of their own
    Value& value = model.values[v];
    const auto index = static_cast<int>(v);
    const bool is_one = std::any_of(model.nodes.begin(), model.nodes.end(), [&](const Node& node) {
      const bool is_kept = node.operation.definition().keeps_coding && (node.input() == index || node.output == index);
      return is_kept || (node.operation.As<Constant>() != nullptr && node.output == index);
    });
    if (!value.coding || is_one || v == 0 || !graph.Chance(15)) continue;
    value.dequantizing_scale =
        AddFloats(model, value.name + ".dequantizing_scale", Role::kActivationScale, {}, {value.coding->scale});
  }
  for (Parameter& parameter : model.parameters) {  // some are stored in 16 bits
    const bool is_constant = parameter.role == Role::kBias || parameter.role == Role::kMultiplier ||
                             parameter.role == Role::kMean || parameter.role == Role::kVariance;
    if (!is_constant || parameter.format.kind != StorageFormat::Kind::kFloat32 || !graph.Chance(15)) continue;
    const bool is_half = graph.Chance(50);
    parameter.format.kind = is_half ? StorageFormat::Kind::kFloat16 : StorageFormat::Kind::kBfloat16;
    for (uint32_t& bits : parameter.bits) bits = is_half ? HalfOf(bits) : bits >> 16;
  }
  return std::move(graph.model);
}

std::vector<uint8_t> RandomImages(const QuantizedModel& model, int64_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> images(static_cast<size_t>(n * model.values[0].shape.elements()));
  for (uint8_t& byte : images) byte = static_cast<uint8_t>(random() >> 56);
  return images;
}

QuantizedModel RandomLeNet5(int weight_bits, int activation_bits, uint64_t seed) {
  RandomGraph generator(seed);
  QuantizedModel& model = generator.model;
  model.name = "lenet5";
  model.values.push_back(InputValue({1, 28, 28}, 1 / 90.0f, 73));
  const CodeFormat format{.bits = weight_bits};
  int current = 0;
  const auto coded = [&](int weight) {
    ActivationCoding coding = generator.CodingFor(current, weight, true);
    coding.scale *= static_cast<float>(coding.highest_code()) / static_cast<float>((1 << activation_bits) - 1);
    coding.bits = activation_bits;
    coding.zero_below = 0;
    return coding;
  };
  const auto constants = [](int64_t count, float value) {
    return std::vector<float>(static_cast<size_t>(count), value);
  };
  const auto convolution = [&](const std::string& name, int64_t outputs, int pad) {
    const ValueShape shape = model.values[static_cast<size_t>(current)].shape;
    const int weight = generator.AddRandomWeights(name + ".weight", {outputs, shape.channels, 5, 5}, format);
    const Window window{
        .kernel_h = 5, .kernel_w = 5, .pad_top = pad, .pad_left = pad, .pad_bottom = pad, .pad_right = pad};
    current = generator.AddNode(
        name,
        {"", Convolution{AddAffine(model, name, weight, {}, constants(outputs, 0.1f)), window}, {current}, 0, kRelu},
        coded(weight));
    const Window pool{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2};
    current = generator.AddNode(name + ".pool", {"", MaxPool{pool}, {current}, 0},
                                model.values[static_cast<size_t>(current)].coding);
  };
  convolution("conv1", 6, 2);
  convolution("conv2", 16, 0);
  current =
      generator.AddNode("flatten", {"", Flatten{}, {current}, 0}, model.values[static_cast<size_t>(current)].coding);
  for (const auto& [name, outputs] : {std::pair{"fc1", 120}, {"fc2", 84}, {"fc3", 10}}) {
    const bool last = outputs == 10;
    const int64_t inputs = model.values[static_cast<size_t>(current)].shape.elements();
    const int weight = generator.AddRandomWeights(std::string(name) + ".weight", {outputs, inputs}, format);
    std::optional<ActivationCoding> coding;
    if (!last) coding = coded(weight);
    current = generator.AddNode(name,
                                {"",
                                 Linear{AddAffine(model, name, weight, {}, constants(outputs, 0.1f))},
                                 {current},
                                 0,
                                 last ? Activation{} : kRelu},
                                coding);
  }
  model.output = current;
  AddActivationScales(model);
  return std::move(generator.model);
}

QuantizedModel RandomResNet18(int weight_bits, int activation_bits, uint64_t seed) {
  RandomGraph generator(seed);
  QuantizedModel& model = generator.model;
  model.name = "resnet18";
  model.values.push_back(InputValue({3, 32, 32}, 1 / 65.0f, 121));
  const CodeFormat format{.bits = weight_bits};
  const auto convolution = [&](int input, const std::string& name, int64_t outputs, int kernel, int stride, bool relu) {
    const int64_t inputs = model.values[static_cast<size_t>(input)].shape.channels;
    const int weight = generator.AddRandomWeights(name + ".weight", {outputs, inputs, kernel, kernel}, format);
    const auto constants = [&](float value) { return std::vector<float>(static_cast<size_t>(outputs), value); };
    const Weighted weighted = AddAffine(model, name, weight, constants(0.9f), constants(0.1f));
    ActivationCoding coding = generator.CodingFor(input, weight, relu);
    coding.scale *= static_cast<float>(coding.highest_code()) / static_cast<float>((1 << activation_bits) - 1);
    coding.bits = activation_bits;
    coding.zero_below = 0;
    coding.zero_point = relu ? 0 : coding.highest_code() / 2;
    const int pad = kernel / 2;
    const Window window{.kernel_h = kernel,
                        .kernel_w = kernel,
                        .stride_h = stride,
                        .stride_w = stride,
                        .pad_top = pad,
                        .pad_left = pad,
                        .pad_bottom = pad,
                        .pad_right = pad};
    return generator.AddNode(name, {"", Convolution{weighted, window}, {input}, 0, relu ? kRelu : Activation{}},
                             coding);
  };
  int current = convolution(0, "conv1", 64, 3, 1, true);
  for (int stage = 0; stage < 4; ++stage) {
    for (int block = 0; block < 2; ++block) {
      const std::string name = fmt::format("layer{}.{}", stage + 1, block);
      const int64_t channels = 64 << stage;
      const int stride = stage > 0 && block == 0 ? 2 : 1;
      const int first = convolution(current, name + ".conv1", channels, 3, stride, true);
      const int second = convolution(first, name + ".conv2", channels, 3, 1, false);
      const int shortcut = stride == 1 ? current : convolution(current, name + ".downsample", channels, 1, 2, false);
      ActivationCoding coding = *model.values[static_cast<size_t>(second)].coding;
      coding.zero_point = 0;
      current = generator.AddNode(name, {"", Add{}, {second, shortcut}, 0, kRelu}, coding);
    }
  }
  const ValueShape& shape = model.values[static_cast<size_t>(current)].shape;
  const Window whole{.kernel_h = static_cast<int>(shape.height), .kernel_w = static_cast<int>(shape.width)};
  current = generator.AddNode("pool", {"", AveragePool{whole}, {current}, 0},
                              model.values[static_cast<size_t>(current)].coding);
  model.output = generator.AddLinear(current, "fc", 10, format, true);
  AddActivationScales(model);
  return std::move(generator.model);
}

}  // namespace steadfast::model
