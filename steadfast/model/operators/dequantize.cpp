#include "steadfast/model/operators/dequantize.h"

#include <algorithm>

#include "steadfast/base/elementary.h"  // PortableLog
#include "steadfast/base/error.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/operators/softmax.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  return model.value(node.input()).shape;
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  return [reals_of = RealsOf(*node.operation.As<Dequantize>(), *model.value(node.input()).coding)](auto inputs, auto,
                                                                                                   auto reals) {
    for (size_t i = 0; i < reals.size(); ++i) reals[i] = reals_of[inputs[0][i]];
  };
}

void Validate(const QuantizedModel& model, const Node& node) {
  if (node.output != model.output || model.value(node.output).coding)
    throw InputError(node.name + ": only stands at the end of a network");
}

void Write(OnnxWriter& writer, const Node& node) {
  writer.AddNode("Identity", {writer.RealName(node.input())}, writer.RealName(node.output));
}

// Directly, or moved about behind it.
bool ComesFromSoftmax(const QuantizedModel& model, int value) {
  for (const Node& node : model.nodes) {
    if (node.output != value) continue;
    if (node.operation.definition().keeps_coding) return ComesFromSoftmax(model, node.input());
    return node.operation.Is<Softmax>();
  }
  return false;
}

}  // namespace

void AddDequantizedOutput(QuantizedModel& model, int value, const std::string& name) {
  const bool of_probabilities = ComesFromSoftmax(model, value);
  const ValueShape shape = model.value(value).shape;
  model.output = static_cast<int>(model.values.size());
  model.values.push_back({name, shape, std::nullopt});
  model.nodes.push_back({name, Dequantize{of_probabilities}, {value}, model.output});
}

std::array<float, 256> RealsOf(const Dequantize& op, const ActivationCoding& coding) {
  std::array<float, 256> reals = {};
  for (int code = 0; code <= coding.highest_code(); ++code) {
    float& real = reals[static_cast<size_t>(code)];
    real = RealOf(code, coding);
    if (op.of_probabilities)
      real = static_cast<float>(
          PortableLog(std::max(code - coding.zero_point, 0) + (code > coding.zero_point ? 0.0 : 0.5)) -
          PortableLog(256.0));
  }
  return reals;
}

template <>
const OperatorDefinition& Definition<Dequantize>() {
  static const OperatorDefinition definition = {.name = "Dequantize",
                                                .may_be_real = true,
                                                .output_shape = Shape,
                                                .validate = Validate,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .equal = EqualAttributes<Dequantize>};
  return definition;
}

}  // namespace steadfast::model
