#include "steadfast/model/operators/multiply.h"

#include <fmt/format.h>

#include <algorithm>

#include <utility>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  const ValueShape& first = model.value(node.inputs[0]).shape;
  if (node.inputs.size() != 2) throw InputError(fmt::format("{}: needs two inputs", node.name));
  const ValueShape& second = model.value(node.inputs[1]).shape;
  const ValueShape one_a_channel{first.channels, 1, 1, first.flat};
  if (!(second == first) && !(second == one_a_channel))
    throw InputError(
        fmt::format("{}: needs two inputs of one shape, or a second one with one element a channel", node.name));
  return first;
}

// XNNPACK: the product of levels times one factor, in float32. TFLite's own kernels: the same, fixed-point.
ScalarRule TfliteRule(const QuantizedModel& model, const Node& node) {
  const int64_t pixels = model.value(node.inputs[0]).shape.elements() / model.value(node.inputs[1]).shape.elements();
  const ActivationCoding &a = *model.value(node.inputs[0]).coding, &b = *model.value(node.inputs[1]).coding,
                         &output = *model.value(node.output).coding;
  const float product = a.scale * b.scale;
  const float factor = product / output.scale;
  return [pixels = static_cast<size_t>(pixels), zero_a = a.zero_point, zero_b = b.zero_point, factor,
          is_float = model.profile == Profile::kXnnpack, scale = FixedPointScaleOf(factor),
          q = QuantizationOf(output, node.activation)](auto inputs, auto codes, auto) {
    for (size_t i = 0; i < codes.size(); ++i) {
      const int32_t levels = (inputs[0][i] - zero_a) * (inputs[1][i / pixels] - zero_b);
      if (is_float)
        codes[i] = CodeOfSteps(static_cast<float>(levels) * factor, q);
      else
        codes[i] = static_cast<uint8_t>(
            std::clamp<int64_t>(int64_t{RoundedTwice(levels, scale)} + q.zero_point, q.lowest, q.highest));
    }
  };
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  if (IsOfTflite(model.profile)) return TfliteRule(model, node);
  const int64_t pixels = model.value(node.inputs[0]).shape.elements() / model.value(node.inputs[1]).shape.elements();
  return [pixels = static_cast<size_t>(pixels), a = *model.value(node.inputs[0]).coding,
          b = *model.value(node.inputs[1]).coding, output = *model.value(node.output).coding,
          is_ort = IsOfOrtKernels(model, node),
          q = QuantizationOf(*model.value(node.output).coding, node.activation)](auto inputs, auto codes, auto) {
    for (size_t i = 0; i < codes.size(); ++i) {
      const float product = RealOf(inputs[0][i], a) * RealOf(inputs[1][i / pixels], b);
      codes[i] = is_ort ? CodeOfStepsAndZero(product / q.scale, q, output.stored_offset()) : CodeOf(product, q);
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  writer.AddNode("Mul", {writer.RealName(node.inputs[0]), writer.RealName(node.inputs[1])}, node.name + ".product");
  writer.WriteQuantize(node, node.name + ".product");
}

// Of two values; the reader takes Muls with constants itself.
void Read(OnnxReader& reader, const OnnxNode& node) {
  int first = reader.RealValue(node, 0), second = reader.RealValue(node, 1);
  if (reader.value(first).shape.elements() < reader.value(second).shape.elements()) std::swap(first, second);
  reader.Start(node, Multiply{}, {first, second}, ".product");
}

// A value times a convolution of itself, or of its mean.
int Sample(RandomGraph& graph, int input) {
  const ValueShape shape = graph.value(input).shape;
  if (shape.flat) return -1;
  const std::string name = graph.NextName();
  int gate = input;
  if (graph.Chance(50)) {
    Window window;
    window.kernel_h = window.stride_h = static_cast<int>(shape.height);
    window.kernel_w = window.stride_w = static_cast<int>(shape.width);
    gate = graph.AddNode(name + ".mean", {"", AveragePool{window}, {input}, 0},
                         graph.CodingOfAbout(*graph.value(input).coding, 0.7f, true));
  }
  gate = graph.AddConvolution(gate, name + ".gate", Window{}, shape.channels);
  const ActivationCoding a = *graph.value(input).coding, b = *graph.value(gate).coding;
  const float largest = a.scale * static_cast<float>(a.highest_code()) * b.scale * static_cast<float>(b.highest_code());
  const Activation activation = graph.RandomActivation(20);
  ActivationCoding coding = graph.CodingOfAbout(a, 1, !activation.relu);
  coding.scale = largest * graph.Real(0.1f, 0.6f) / static_cast<float>(coding.highest_code()) + 1e-6f;
  return graph.AddNode(name, {"", Multiply{}, {input, gate}, 0, activation}, coding);
}

}  // namespace

template <>
const OperatorDefinition& Definition<Multiply>() {
  static const OperatorDefinition definition = {.name = "Multiply",
                                                .least_inputs = 2,
                                                .most_inputs = 2,
                                                .output_shape = Shape,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .onnx_forms = {{"Mul", {}, Read}},
                                                .sample = Sample,
                                                .sample_weight = 1,
                                                .equal = EqualAttributes<Multiply>};
  return definition;
}

}  // namespace steadfast::model
