#include "steadfast/model/operators/constant.h"

#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/concatenate.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

const Constant& Of(const Node& node) {
  return *node.operation.As<Constant>();
}

ValueShape Shape(const QuantizedModel&, const Node& node) {
  return Of(node).shape;
}

void ValidateConstant(const QuantizedModel& model, const Node& node) {
  const Constant& op = Of(node);
  if (static_cast<int64_t>(op.codes.size()) != op.shape.elements())
    throw InputError(fmt::format("{}: {} codes, expected {}", node.name, op.codes.size(), op.shape.elements()));
  const int highest = model.value(node.output).coding->highest_code();
  if (std::any_of(op.codes.begin(), op.codes.end(), [&](uint8_t code) { return code > highest; }))
    throw InputError(fmt::format("{}: has codes above {}", node.name, highest));
  if (!(node.activation == Activation{})) throw InputError(fmt::format("{}: clips constants", node.name));
}

ScalarRule Rule(const QuantizedModel&, const Node& node) {
  return [codes = Of(node).codes](auto, auto output, auto) { std::copy(codes.begin(), codes.end(), output.begin()); };
}

// As real numbers, to be quantized in the graph: which tells them from weights, which are stored as codes.
// Whether a join takes the value, or what is made of it alone: ONNX joins no single image with a batch.
bool IsJoined(const QuantizedModel& model, int value) {
  return std::any_of(model.nodes.begin(), model.nodes.end(), [&](const Node& node) {
    if (std::find(node.inputs.begin(), node.inputs.end(), value) == node.inputs.end()) return false;
    return node.operation.Is<Concatenate>() || (node.inputs.size() == 1 && IsJoined(model, node.output));
  });
}

void Write(OnnxWriter& writer, const Node& node) {
  const Constant& op = Of(node);
  const ActivationCoding& coding = *writer.model().value(node.output).coding;
  std::vector<float> reals;
  for (const uint8_t code : op.codes) reals.push_back(RealOf(code, coding));
  const std::string name = node.name + ".constant";
  const std::vector<int64_t> dims = {1, op.shape.channels, op.shape.height, op.shape.width};
  writer.AddFloats(name, dims, reals);
  writer.WriteQuantize(node, IsJoined(writer.model(), node.output) ? writer.AddForEachImage(name, dims) : name);
}

// Behind it, a convolution of 1 x 1: an embedding, added to the input.
int Sample(RandomGraph& graph, int input) {
  const ValueShape shape = graph.value(input).shape;
  if (shape.flat || shape.height * shape.width > 64) return -1;
  const std::string name = graph.NextName();
  const int positions =
      graph.AddNode(name + ".positions", {"", OneHotPositions(shape.height, shape.width), {0}, 0}, ActivationCoding{});
  const int embedding = graph.AddConvolution(positions, name + ".embedding", Window{}, shape.channels);
  if (graph.Chance(30))
    return graph.AddNode(name, {"", Concatenate{}, {input, embedding}, 0},
                         graph.CodingOfAbout(*graph.value(input).coding, 1.5f, true));
  return graph.AddNode(name, {"", Add{}, {input, embedding}, 0},
                       graph.CodingOfAbout(*graph.value(input).coding, 1.5f, true));
}

}  // namespace

Constant OneHotPositions(int64_t height, int64_t width) {
  const int64_t positions = height * width;
  Constant constant{{positions, height, width}, std::vector<uint8_t>(static_cast<size_t>(positions * positions), 0)};
  for (int64_t p = 0; p < positions; ++p) constant.codes[static_cast<size_t>(p * positions + p)] = 1;
  return constant;
}

template <>
const OperatorDefinition& Definition<Constant>() {
  static const OperatorDefinition definition = {.name = "Constant",
                                                .output_shape = Shape,
                                                .validate = ValidateConstant,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .sample = Sample,
                                                .sample_weight = 1,
                                                .equal = EqualAttributes<Constant>};
  return definition;
}

}  // namespace steadfast::model
