#include "steadfast/model/operators/layer_normalization.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

constexpr int64_t kMostChannels = 1 << 14;  // whose sums of squares fit 31 bits

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  return model.value(node.input()).shape;
}

void ValidateNormalization(const QuantizedModel& model, const Node& node) {
  const auto& op = *node.operation.As<LayerNormalization>();
  if (!(op.epsilon > 0) || !std::isfinite(op.epsilon))
    throw InputError(fmt::format("{}: epsilon {}, expected a positive number", node.name, op.epsilon));
  if (model.value(node.input()).shape.channels > kMostChannels)
    throw InputError(fmt::format("{}: normalizes more than {} channels", node.name, kMostChannels));
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  const ValueShape& shape = model.value(node.input()).shape;
  const ActivationCoding& coding = *model.value(node.input()).coding;
  return [channels = shape.channels, positions = shape.height * shape.width, zero = coding.zero_point,
          epsilon = EpsilonOf(*node.operation.As<LayerNormalization>(), shape.channels, coding.real_scale()),
          output_scale = SignedOutputScale(model.value(node.output).coding->scale, coding.real_scale()),
          quantization = QuantizationOf(*model.value(node.output).coding, node.activation)](auto inputs, auto codes,
                                                                                            auto) {
    for (int64_t p = 0; p < positions; ++p) {
      const auto at = [&](int64_t c) { return static_cast<size_t>(p + c * positions); };
      int64_t sum = 0, squares = 0;
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t level = inputs[0][at(c)] - zero;
        sum += level;
        squares += level * level;
      }
      const float inverse = InverseDeviation(channels * squares - sum * sum, epsilon, output_scale);
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t centered = channels * (inputs[0][at(c)] - zero) - sum;
        codes[at(c)] = CodeOfSteps(static_cast<float>(centered) * inverse, quantization);
      }
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  const auto& op = *node.operation.As<LayerNormalization>();
  const ValueShape& shape = writer.model().value(node.input()).shape;
  std::string current = writer.RealName(node.input());
  const auto move = [&](const std::vector<int64_t>& permutation, const char* as) {
    if (shape.flat) return;
    OnnxWriter::SetInts(writer.AddNode("Transpose", {current}, node.name + as), "perm", permutation);
    current = node.name + as;
  };
  move({0, 2, 3, 1}, ".channels_last");
  writer.AddFloats(node.name + ".ones", {shape.channels}, std::vector<float>(static_cast<size_t>(shape.channels), 1));
  auto* written = writer.AddNode("LayerNormalization", {current, node.name + ".ones"}, node.name + ".normalized");
  OnnxWriter::SetInt(written, "axis", -1);
  OnnxWriter::SetFloat(written, "epsilon", op.epsilon);
  current = node.name + ".normalized";
  move({0, 3, 1, 2}, ".channels_first");
  writer.WriteQuantize(node, current);
}

void Read(OnnxReader& reader, const OnnxNode& node) {
  const Moved moved = reader.MovedValueAt(node, 0);
  const ValueShape& shape = reader.value(moved.value).shape;
  const int rank = shape.flat ? 2 : 4;
  if (moved.groups > 0 || moved.channels_last == shape.flat)
    node.Fail("only a normalization over channels is understood: behind a Transpose that puts them last");
  const int64_t axis = node.Int("axis", -1);
  if (axis != -1 && axis != rank - 1) node.Fail("its axis must be the last");
  if (node.Int("stash_type", 1) != 1) node.Fail("its stash_type must be float32");
  for (const float scale : reader.Floats(node, 1)) {
    if (scale != 1) node.Fail("its scale is not 1: it has to be a part of the weights behind it");
  }
  if (node.HasInput(2)) {
    for (const float shift : reader.Floats(node, 2)) {
      if (shift != 0) node.Fail("its shift is not 0: it has to be a part of the biases behind it");
    }
  }
  reader.Start(node, LayerNormalization{static_cast<float>(node.Float("epsilon", 1e-5f))}, {moved.value}, ".normalized",
               {.is_channels_last = moved.channels_last});
}

int Sample(RandomGraph& graph, int input) {
  const Value from = graph.value(input);
  const Activation activation = graph.RandomActivation(20);
  ActivationCoding coding = graph.CodingOfAbout(*from.coding, 1, !activation.relu);
  coding.scale = graph.Real(1.5f, 4.0f) / static_cast<float>(coding.highest_code());
  const float epsilon = graph.Chance(50) ? 1e-5f : graph.Real(1e-6f, 1e-2f);
  return graph.AddNode(graph.NextName(), {"", LayerNormalization{epsilon}, {input}, 0, activation}, coding);
}

}  // namespace

double EpsilonOf(const LayerNormalization& op, int64_t channels, float scale) {
  if (!std::isfinite(scale)) return std::numeric_limits<double>::quiet_NaN();
  const double ratio = static_cast<double>(channels) / double{scale};
  return double{op.epsilon} * ratio * ratio;
}

template <>
const OperatorDefinition& Definition<LayerNormalization>() {
  static const OperatorDefinition definition = {
      .name = "LayerNormalization",
      .output_shape = Shape,
      .validate = ValidateNormalization,
      .scalar_rule = Rule,
      .write_onnx = Write,
      .onnx_forms = {{"LayerNormalization", {{"axis"}, {"epsilon"}, {"stash_type"}}, Read, 17}},
      .sample = Sample,
      .sample_weight = 1,
      .equal = EqualAttributes<LayerNormalization>};
  return definition;
}

}  // namespace steadfast::model
