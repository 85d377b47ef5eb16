#include "steadfast/model/operators/rearrange.h"

#include <fmt/format.h>

#include <numeric>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/random_graph.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  const Rearrange& op = *node.operation.As<Rearrange>();
  const ValueShape& shape = op.shape;
  const auto fail = [&](const char* what) { throw InputError(fmt::format("{}: {}", node.name, what)); };
  if (shape.channels < 1 || shape.height < 1 || shape.width < 1 || (shape.flat && shape.height * shape.width != 1))
    fail("gives an impossible shape");
  if (static_cast<int64_t>(op.from.size()) != shape.elements()) fail("does not say where all of its elements are from");
  const int64_t elements = model.value(node.input()).shape.elements();
  for (const int32_t from : op.from) {
    if (from < 0 || from >= elements) fail("takes elements that its input does not have");
  }
  return shape;
}

ScalarRule Rule(const QuantizedModel&, const Node& node) {
  return [from = node.operation.As<Rearrange>()->from](auto inputs, auto codes, auto) {
    for (size_t i = 0; i < from.size(); ++i) codes[i] = inputs[0][static_cast<size_t>(from[i])];
  };
}

// A list of elements, with quantizers of the same scale around it, so that a reader sees where it ends.
void Write(OnnxWriter& writer, const Node& node) {
  const Rearrange& op = *node.operation.As<Rearrange>();
  const ValueShape& shape = op.shape;
  const std::string& name = node.name;
  const int64_t elements = writer.model().value(node.input()).shape.elements();
  const std::string flat = writer.AddReshape(writer.RealName(node.input()), {0, elements}, name + ".elements");
  writer.AddIntegers(name + ".from", {op.from.begin(), op.from.end()});
  OnnxWriter::SetInt(writer.AddNode("Gather", {flat, name + ".from"}, name + ".gathered"), "axis", 1);
  const std::vector<int64_t> dims = shape.flat ? std::vector<int64_t>{0, shape.channels}
                                               : std::vector<int64_t>{0, shape.channels, shape.height, shape.width};
  writer.WriteQuantizeAgain(node, writer.AddReshape(name + ".gathered", dims, name + ".rearranged"));
}

// Channels and positions trade places; or some channels; or any elements.
int Sample(RandomGraph& graph, int input) {
  const Value from = graph.value(input);
  if (from.shape.flat || from.shape.elements() > 4096) return -1;
  const int64_t channels = from.shape.channels, positions = from.shape.height * from.shape.width;
  Rearrange op;
  const int64_t kind = graph.Between(0, 2);
  if (kind == 0 && positions > 64) return -1;
  if (kind == 0) {
    op.shape = {positions, 1, channels};
    for (int64_t p = 0; p < positions; ++p) {
      for (int64_t c = 0; c < channels; ++c) op.from.push_back(static_cast<int32_t>(c * positions + p));
    }
  } else if (kind == 1) {
    const int64_t first = graph.Between(0, channels - 1), count = graph.Between(1, channels - first);
    op.shape = {count, from.shape.height, from.shape.width};
    op.from.resize(static_cast<size_t>(count * positions));
    std::iota(op.from.begin(), op.from.end(), static_cast<int32_t>(first * positions));
  } else {
    op.shape = {graph.Between(1, 5), graph.Between(1, 3), graph.Between(1, 3)};
    for (int64_t i = 0; i < op.shape.elements(); ++i)
      op.from.push_back(static_cast<int32_t>(graph.Between(0, from.shape.elements() - 1)));
  }
  bool is_same = op.shape == from.shape;  // nothing to read back
  for (size_t i = 0; i < op.from.size(); ++i) is_same = is_same && op.from[i] == static_cast<int32_t>(i);
  return is_same ? -1 : graph.AddNode(graph.NextName(), {"", op, {input}, 0}, from.coding);
}

}  // namespace

template <>
const OperatorDefinition& Definition<Rearrange>() {
  static const OperatorDefinition definition = {.name = "Rearrange",
                                                .keeps_coding = true,
                                                .output_shape = Shape,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .sample = Sample,
                                                .sample_weight = 1,
                                                .equal = EqualAttributes<Rearrange>};
  return definition;
}

}  // namespace steadfast::model
