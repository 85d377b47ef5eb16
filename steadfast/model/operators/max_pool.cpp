#include "steadfast/model/operators/max_pool.h"

#include <algorithm>

#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/operators/windows.h"
#include "steadfast/model/random_graph.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  return PooledShape(node.name, model.value(node.input()).shape, node.operation.As<MaxPool>()->window);
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  return [in = model.value(node.input()).shape, out = model.value(node.output).shape,
          window = node.operation.As<MaxPool>()->window](auto inputs, auto codes, auto) {
    size_t at = 0;
    for (int64_t c = 0; c < out.channels; ++c) {
      const auto channel = inputs[0].subspan(static_cast<size_t>(c * in.height * in.width));
      ForEachWindow(in, out, window, [&](const auto& elements) {
        uint8_t best = 0;
        elements([&](int64_t element) { best = std::max(best, channel[static_cast<size_t>(element)]); });
        codes[at++] = best;
      });
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  OnnxWriter::SetWindow(writer.AddNode("MaxPool", {writer.RealName(node.input())}, writer.RealName(node.output)),
                        node.operation.As<MaxPool>()->window);
}

void Read(OnnxReader& reader, const OnnxNode& node) {
  if (!node.Has("kernel_shape")) node.Fail("has no kernel_shape");
  reader.MoveCodes(node, MaxPool{node.WindowOf(1, 1, reader.value(reader.MovedValue(node)).shape)});
}

int Sample(RandomGraph& graph, int input) {
  const Value& from = graph.value(input);
  if (from.shape.flat) return -1;
  return graph.AddNode(graph.NextName(), {"", MaxPool{graph.RandomWindow(from.shape, true)}, {input}, 0}, from.coding);
}

}  // namespace

template <>
const OperatorDefinition& Definition<MaxPool>() {
  static const OperatorDefinition definition = {.name = "MaxPool",
                                                .keeps_coding = true,
                                                .output_shape = Shape,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .onnx_forms = {{"MaxPool",
                                                                {{"auto_pad"},
                                                                 {"ceil_mode", 10},
                                                                 {"dilations", 10},
                                                                 {"kernel_shape"},
                                                                 {"pads"},
                                                                 {"storage_order", 8},
                                                                 {"strides"}},
                                                                Read}},
                                                .sample = Sample,
                                                .sample_weight = 2,
                                                .equal = EqualAttributes<MaxPool>};
  return definition;
}

}  // namespace steadfast::model
