#include "steadfast/model/operators/linear.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  const Parameter& weight = model.parameter(node.operation.As<Linear>()->weighted.weight);
  const ValueShape& input = model.value(node.input()).shape;
  const auto fail = [&](const std::string& what) { throw InputError(fmt::format("{}: {}", node.name, what)); };
  if (weight.shape.size() != 2)
    fail(fmt::format("weight {} has {} dimensions, expected 2", weight.name, weight.shape.size()));
  if (!input.flat) fail("its input must be flattened first");
  if (weight.products() != input.elements())
    fail(fmt::format("weight {} takes {} inputs, and {} arrive", weight.name, weight.products(), input.elements()));
  return ValueShape{weight.outputs(), 1, 1, true};
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  const Parameter& weight = model.parameter(node.operation.As<Linear>()->weighted.weight);
  std::vector<int> levels;  // [out][in]
  for (int64_t o = 0; o < weight.outputs(); ++o) {
    for (int64_t i = 0; i < weight.products(); ++i) levels.push_back(weight.level(weight.IndexOf(o, i)));
  }
  return [outputs = weight.outputs(), products = weight.products(), levels,
          zero_point = model.value(node.input()).coding->zero_point,
          requantization = RequantizationOf(model, node)](auto inputs, auto codes, auto reals) {
    for (int64_t o = 0; o < outputs; ++o) {
      int32_t sum = 0;
      for (int64_t i = 0; i < products; ++i)
        sum += (inputs[0][static_cast<size_t>(i)] - zero_point) * levels[static_cast<size_t>(o * products + i)];
      sum = WithAddend(sum, requantization, o);
      if (requantization.real)
        reals[static_cast<size_t>(o)] = RealOf(sum, requantization, o);
      else
        codes[static_cast<size_t>(o)] = Requantize(sum, requantization, o);
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  const int index = node.operation.As<Linear>()->weighted.weight;
  const std::string weight = writer.WriteWeights(index);
  auto* gemm = writer.AddNode("Gemm", {writer.RealName(node.input()), weight}, node.name + ".sum");
  OnnxWriter::SetInt(gemm, "transB", writer.model().parameter(index).output_axis == 0 ? 1 : 0);
  writer.WriteSteps(node, node.name + ".sum", 0);
}

Operation Make(Weighted weighted) {
  return Linear{std::move(weighted)};
}

void ReadGemm(OnnxReader& reader, const OnnxNode& node) {
  const int input = reader.RealValue(node, 0);
  const auto [weight, is_transposed] = reader.RealMatrix(node, 1);
  if (node.Float("alpha", 1) != 1 || node.Float("beta", 1) != 1 || node.Int("transA", 0) != 0)
    node.Fail("alpha and beta must be 1, transA 0");
  reader.PutOutputs(node, weight, (node.Int("transB", 0) == 0) != is_transposed);
  reader.StartWeighted(node, Make, input, weight);
}

// Of weights, or of two values as matrices.
void ReadMatMul(OnnxReader& reader, const OnnxNode& node) {
  if (reader.IsMoved(node, 0)) {
    const Moved a = reader.MovedValueAt(node, 0), b = reader.MovedValueAt(node, 1);
    if (a.groups < 1 || b.groups != a.groups || b.transposed)
      node.Fail("multiplies values whose axes are moved in a way that is not understood");
    return reader.Start(node, Product{a.transposed, static_cast<int>(a.groups)}, {a.value, b.value}, ".product",
                        {.is_grouped = true});
  }
  const int input = reader.RealValue(node, 0);
  const auto [weight, is_transposed] = reader.RealMatrix(node, 1);
  reader.PutOutputs(node, weight, !is_transposed);
  reader.StartWeighted(node, Make, input, weight);
}

int Sample(RandomGraph& graph, int input) {
  return graph.AddLinear(input, graph.NextName(), graph.Between(1, 20), graph.Format(), false);
}

}  // namespace

template <>
const OperatorDefinition& Definition<Linear>() {
  static const OperatorDefinition definition = {
      .name = "Linear",
      .may_be_real = true,
      .is_requantization = true,
      .output_shape = Shape,
      .scalar_rule = Rule,
      .write_onnx = Write,
      .onnx_forms = {{"Gemm", {{"alpha"}, {"beta"}, {"transA"}, {"transB"}}, ReadGemm}, {"MatMul", {}, ReadMatMul}},
      .sample = Sample,
      .sample_weight = 1,
      .equal = EqualAttributes<Linear>,
      .weighted = WeightedOfAttributes<Linear>};
  return definition;
}

}  // namespace steadfast::model
