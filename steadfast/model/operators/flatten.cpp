#include "steadfast/model/operators/flatten.h"

#include <algorithm>

#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/random_graph.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  return ValueShape{model.value(node.input()).shape.elements(), 1, 1, true};
}

ScalarRule Rule(const QuantizedModel&, const Node&) {
  return [](auto inputs, auto codes, auto) { std::copy(inputs[0].begin(), inputs[0].end(), codes.begin()); };
}

void Write(OnnxWriter& writer, const Node& node) {
  OnnxWriter::SetInt(writer.AddNode("Flatten", {writer.RealName(node.input())}, writer.RealName(node.output)), "axis",
                     1);
}

void Read(OnnxReader& reader, const OnnxNode& node) {
  const int64_t axis = node.Int("axis", 1);
  if (axis != 1 && !(node.opset() >= 11 && axis == -3)) node.Fail("axis must be 1");
  reader.MoveCodes(node, Flatten{});
}

int Sample(RandomGraph& graph, int input) {
  const Value from = graph.value(input);
  if (from.shape.flat) return -1;
  return graph.AddNode(graph.NextName(), {"", Flatten{}, {input}, 0}, from.coding);
}

}  // namespace

template <>
const OperatorDefinition& Definition<Flatten>() {
  static const OperatorDefinition definition = {.name = "Flatten",
                                                .keeps_coding = true,
                                                .output_shape = Shape,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .onnx_forms = {{"Flatten", {{"axis"}}, Read}},
                                                .sample = Sample,
                                                .sample_weight = 1,
                                                .equal = EqualAttributes<Flatten>};
  return definition;
}

}  // namespace steadfast::model
