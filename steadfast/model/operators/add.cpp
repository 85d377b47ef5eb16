#include "steadfast/model/operators/add.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  const ValueShape& first = model.value(node.inputs[0]).shape;
  if (node.inputs.size() != 2 || !(model.value(node.inputs[1]).shape == first))
    throw InputError(fmt::format("{}: needs two inputs of one shape", node.name));
  return first;
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  if (IsOfTflite(model.profile)) {
    const ActivationCoding &a = *model.value(node.inputs[0]).coding, &b = *model.value(node.inputs[1]).coding,
                           &output = *model.value(node.output).coding;
    if (const auto factors = IntegerAddOf(model.profile, a, b, output)) {
      return [zero_a = a.zero_point, zero_b = b.zero_point, add = *factors,
              q = QuantizationOf(output, node.activation)](auto inputs, auto codes, auto) {
        for (size_t i = 0; i < codes.size(); ++i) {
          const int64_t steps = add.Of(inputs[0][i] - zero_a, inputs[1][i] - zero_b);
          codes[i] = static_cast<uint8_t>(std::clamp<int64_t>(steps + q.zero_point, q.lowest, q.highest));
        }
      };
    }
  }
  return [a = *model.value(node.inputs[0]).coding, b = *model.value(node.inputs[1]).coding,
          output = *model.value(node.output).coding, is_ort = IsOfOrtKernels(model, node),
          q = QuantizationOf(*model.value(node.output).coding, node.activation)](auto inputs, auto codes, auto) {
    for (size_t i = 0; i < codes.size(); ++i) {
      const float sum = RealOf(inputs[0][i], a) + RealOf(inputs[1][i], b);
      codes[i] = is_ort ? CodeOfStepsAndZero(sum / q.scale, q, output.stored_offset()) : CodeOf(sum, q);
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  writer.AddNode("Add", {writer.RealName(node.inputs[0]), writer.RealName(node.inputs[1])}, node.name + ".sum");
  writer.WriteQuantize(node, node.name + ".sum");
}

// Of two values; the reader takes Adds of constants itself.
void Read(OnnxReader& reader, const OnnxNode& node) {
  reader.Start(node, Add{}, {reader.RealValue(node, 0), reader.RealValue(node, 1)}, ".sum");
}

// A convolution that keeps the shape, added to what went into it.
int Sample(RandomGraph& graph, int input) {
  const ValueShape shape = graph.value(input).shape;
  if (shape.flat) return -1;
  Window window;
  const auto side = [&](int64_t size) { return size >= 3 && graph.Chance(70) ? 3 : 1; };
  window.kernel_h = side(shape.height);
  window.kernel_w = side(shape.width);
  window.pad_top = window.pad_bottom = window.kernel_h / 2;
  window.pad_left = window.pad_right = window.kernel_w / 2;
  const std::string name = graph.NextName();
  const int branch = graph.AddConvolution(input, name + ".branch", window, shape.channels);
  const Activation activation = graph.RandomActivation(60);
  std::vector<int> inputs = {input, branch};
  if (graph.Chance(50)) std::swap(inputs[0], inputs[1]);
  const ActivationCoding larger = *graph.value(branch).coding;
  return graph.AddNode(name, {"", Add{}, inputs, 0, activation},
                       graph.CodingOfAbout(larger, graph.Real(0.5f, 2.0f), !activation.relu));
}

}  // namespace

std::optional<IntegerAdd> IntegerAddOf(Profile profile, const ActivationCoding& a, const ActivationCoding& b,
                                       const ActivationCoding& output) {
  IntegerAdd add;
  if (profile != Profile::kXnnpack) {
    const double twice = 2 * std::max(double{a.scale}, double{b.scale});
    add.rounds_twice = true;
    add.of_a = FixedPointScaleOf(a.scale / twice);
    add.of_b = FixedPointScaleOf(b.scale / twice);
    add.of_sum = FixedPointScaleOf(twice / ((1 << 20) * double{output.scale}));
    return add;
  }
  const float ratio_a = a.scale / output.scale, ratio_b = b.scale / output.scale;
  for (const float ratio : {ratio_a, ratio_b}) {
    if (!(ratio >= 0x1p-10f && ratio < 0x1p8f)) return std::nullopt;
  }
  int exponent = 0;
  std::frexp(std::max(ratio_a, ratio_b), &exponent);
  add.shift = 20 - (exponent - 1);
  add.a = static_cast<int32_t>(std::rint(std::ldexp(double{ratio_a}, add.shift)));
  add.b = static_cast<int32_t>(std::rint(std::ldexp(double{ratio_b}, add.shift)));
  return add;
}

template <>
const OperatorDefinition& Definition<Add>() {
  static const OperatorDefinition definition = {.name = "Add",
                                                .least_inputs = 2,
                                                .most_inputs = 2,
                                                .output_shape = Shape,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .onnx_forms = {{"Add", {}, Read}},
                                                .sample = Sample,
                                                .sample_weight = 2,
                                                .equal = EqualAttributes<Add>};
  return definition;
}

}  // namespace steadfast::model
