#include "steadfast/model/operators/concatenate.h"

#include <fmt/format.h>

#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  ValueShape joined = model.value(node.input()).shape;
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    const ValueShape& other = model.value(node.inputs[i]).shape;
    if (other.height != joined.height || other.width != joined.width || other.flat != joined.flat)
      throw InputError(fmt::format("{}: joins values of different height or width", node.name));
    joined.channels += other.channels;
  }
  return joined;
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  std::vector<std::array<uint8_t, 256>> tables;
  for (size_t i = 0; i < node.inputs.size(); ++i) tables.push_back(TranslationOf(model, node, i));
  return [tables](auto inputs, auto codes, auto) {
    size_t at = 0;
    for (size_t i = 0; i < tables.size(); ++i) {
      for (uint8_t code : inputs[i]) codes[at++] = tables[i][code];
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  std::vector<std::string> inputs;
  for (int input : node.inputs) inputs.push_back(writer.RealName(input));
  OnnxWriter::SetInt(writer.AddNode("Concat", inputs, node.name + ".joined"), "axis", 1);
  writer.WriteQuantize(node, node.name + ".joined");
}

void Read(OnnxReader& reader, const OnnxNode& node) {
  std::vector<int> inputs;
  for (int i = 0; i < node.inputs(); ++i) inputs.push_back(reader.RealValue(node, i));
  if (inputs.empty()) node.Fail("has no inputs");
  if (!node.Has("axis")) node.Fail("has no axis");
  const int64_t axis = node.Int("axis", 1), dimensions = reader.value(inputs[0]).shape.flat ? 2 : 4;
  if (axis != 1 && !(node.opset() >= 11 && axis == 1 - dimensions)) node.Fail("axis must be 1, that of the channels");
  reader.Start(node, Concatenate{}, inputs, ".joined");
}

// Two or three convolutions of one input, or the input itself, joined.
int Sample(RandomGraph& graph, int input) {
  if (graph.value(input).shape.flat) return -1;
  std::vector<int> parts;
  const Window window;
  const int64_t count = graph.Between(1, 3);
  const std::string name = graph.NextName();
  for (int64_t i = 0; i < count; ++i)
    parts.push_back(graph.AddConvolution(input, fmt::format("{}.part{}", name, i), window));
  if (graph.Chance(40)) parts.push_back(input);
  const ActivationCoding first = *graph.value(parts[0]).coding;
  const bool same = count == 1 && parts.size() == 1;
  return graph.AddNode(
      name, {"", Concatenate{}, parts, 0, same ? Activation{.relu = first.zero_below > 0} : graph.RandomActivation(15)},
      same ? first : graph.CodingOfAbout(first, graph.Real(0.5f, 2.0f), true));
}

}  // namespace

std::array<uint8_t, 256> TranslationOf(const QuantizedModel& model, const Node& node, size_t input) {
  const ActivationCoding& from = *model.value(node.inputs[input]).coding;
  const ActivationCoding& to = *model.value(node.output).coding;
  const Quantization quantization = QuantizationOf(to, node.activation);
  if (IsOfTflite(model.profile)) {  // moved, whatever a fault makes of scales
    std::array<uint8_t, 256> codes = {};
    for (size_t code = 0; code < codes.size(); ++code) codes[code] = static_cast<uint8_t>(code);
    return codes;
  }
  // A scale that keeps every level what it is. (A fault may make it another one.)
  const bool is_plain = std::isfinite(to.scale * 256) && to.scale > 0 && !from.dequantizing_scale;
  const bool same = is_plain && from == to && node.activation == Activation{};
  std::array<uint8_t, 256> table = {};
  for (int code = 0; code < 256; ++code) {
    table[static_cast<size_t>(code)] = same ? static_cast<uint8_t>(code) : CodeOf(RealOf(code, from), quantization);
  }
  return table;
}

template <>
const OperatorDefinition& Definition<Concatenate>() {
  static const OperatorDefinition definition = {.name = "Concatenate",
                                                .most_inputs = 1 << 16,
                                                .output_shape = Shape,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .onnx_forms = {{"Concat", {{"axis"}}, Read}},
                                                .sample = Sample,
                                                .sample_weight = 2,
                                                .equal = EqualAttributes<Concatenate>};
  return definition;
}

}  // namespace steadfast::model
