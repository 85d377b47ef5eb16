#include "steadfast/model/operators/add.h"

#include <fmt/format.h>

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
  return [a = *model.value(node.inputs[0]).coding, b = *model.value(node.inputs[1]).coding,
          quantization = QuantizationOf(*model.value(node.output).coding, node.activation)](auto inputs, auto codes,
                                                                                            auto) {
    for (size_t i = 0; i < codes.size(); ++i)
      codes[i] = CodeOf(RealOf(inputs[0][i], a) + RealOf(inputs[1][i], b), quantization);
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
