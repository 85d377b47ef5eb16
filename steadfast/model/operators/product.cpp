#include "steadfast/model/operators/product.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  if (node.inputs.size() != 2) throw InputError(fmt::format("{}: needs two inputs", node.name));
  const Product& op = *node.operation.As<Product>();
  const ValueShape &a = model.value(node.inputs[0]).shape, &b = model.value(node.inputs[1]).shape;
  const auto fail = [&](const char* what) { throw InputError(fmt::format("{}: {}", node.name, what)); };
  if (op.groups < 1 || a.channels % op.groups != 0 || b.channels % op.groups != 0)
    fail("the channels of its inputs are not so many for each group");
  if (a.flat || b.flat) fail("its inputs have no positions");
  const ProductSize size = SizeOf(op, a, b);
  if (b.channels != op.groups * size.inner) fail("its inputs do not fit to be multiplied");
  return {op.groups * size.rows, b.height, b.width};
}

void ValidateProduct(const QuantizedModel& model, const Node& node) {
  const Product& op = *node.operation.As<Product>();
  const Value &a = model.value(node.inputs[0]), &b = model.value(node.inputs[1]);
  const auto largest = [](const ActivationCoding& coding) {
    return int64_t{std::max(coding.zero_point, coding.highest_code() - coding.zero_point)};
  };
  const int64_t inner = SizeOf(op, a.shape, b.shape).inner;
  if (inner * largest(*a.coding) * largest(*b.coding) >= int64_t{1} << 31)
    throw InputError(fmt::format("{}: sums of {} products do not fit 32 bits", node.name, inner));
  if (!std::isfinite(op.factor)) throw InputError(fmt::format("{}: its factor is not a finite number", node.name));
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  const Product& op = *node.operation.As<Product>();
  const Value &a = model.value(node.inputs[0]), &b = model.value(node.inputs[1]);
  return [op, size = SizeOf(op, a.shape, b.shape), zero_a = a.coding->zero_point, zero_b = b.coding->zero_point,
          requantization = RequantizationOfProduct(model, node, op.factor)](auto inputs, auto codes, auto) {
    size_t at = 0;
    for (int64_t g = 0; g < op.groups; ++g) {
      const uint8_t* left = inputs[0].data() + g * size.rows * size.inner;
      const uint8_t* right = inputs[1].data() + g * size.inner * size.columns;
      for (int64_t m = 0; m < size.rows; ++m) {
        for (int64_t n = 0; n < size.columns; ++n) {
          int32_t sum = 0;
          for (int64_t k = 0; k < size.inner; ++k) {
            const int64_t of_left = op.transposed_left ? k * size.rows + m : m * size.inner + k;
            sum += (left[of_left] - zero_a) * (right[k * size.columns + n] - zero_b);
          }
          codes[at++] = Requantize(sum, requantization, 0);
        }
      }
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  const Product& op = *node.operation.As<Product>();
  const ValueShape &a = writer.model().value(node.inputs[0]).shape, &b = writer.model().value(node.inputs[1]).shape;
  const ValueShape& output = writer.model().value(node.output).shape;
  const std::string& name = node.name;
  const auto grouped = [&](int input, const ValueShape& shape, const std::string& as) {
    return writer.AddReshape(writer.RealName(node.inputs[static_cast<size_t>(input)]),
                             {0, op.groups, shape.channels / op.groups, shape.height * shape.width}, name + as);
  };
  std::string left = grouped(0, a, ".left");
  if (op.transposed_left) {
    OnnxWriter::SetInts(writer.AddNode("Transpose", {left}, name + ".transposed"), "perm", {0, 1, 3, 2});
    left = name + ".transposed";
  }
  const std::string right = grouped(1, b, ".right");
  std::string current = name + ".product";
  writer.AddNode("MatMul", {left, right}, current);
  if (op.factor != 1) {
    writer.AddFloats(name + ".factor", {}, {op.factor});
    writer.AddNode("Mul", {current, name + ".factor"}, name + ".scaled");
    current = name + ".scaled";
  }
  writer.WriteQuantize(
      node, writer.AddReshape(current, {0, output.channels, output.height, output.width}, name + ".ungrouped"));
}

// Scores of two convolutions of the input; half the time, what they make of a third.
int Sample(RandomGraph& graph, int input) {
  const ValueShape shape = graph.value(input).shape;
  if (shape.flat || shape.height * shape.width > 40) return -1;
  const std::string name = graph.NextName();
  const int groups = static_cast<int>(graph.Between(1, 3));
  const int64_t channels = groups * graph.Between(1, 4);
  const auto matrix = [&](const char* as) { return graph.AddConvolution(input, name + as, Window{}, channels); };
  const auto multiply = [&](const std::string& as, Product op, int a, int b) {
    const ActivationCoding from = *graph.value(a).coding, of_b = *graph.value(b).coding;
    const auto inner = static_cast<float>(SizeOf(op, graph.value(a).shape, graph.value(b).shape).inner);
    const float spread = std::sqrt(inner) * from.scale * static_cast<float>(from.highest_code()) * of_b.scale *
                         static_cast<float>(of_b.highest_code()) / 4;
    const Activation activation = graph.RandomActivation(20);
    ActivationCoding coding = graph.CodingOfAbout(from, 1, !activation.relu);
    coding.scale = spread * op.factor * 2 / static_cast<float>(coding.highest_code()) + 1e-6f;
    return graph.AddNode(as, {"", op, {a, b}, 0, activation}, coding);
  };
  const int keys = matrix(".keys"), queries = graph.Chance(20) ? keys : matrix(".queries");
  const float factor = graph.Chance(50) ? graph.Real(0.1f, 1.0f) : 1.0f;
  const int scores = multiply(name + ".scores", {true, groups, factor}, keys, queries);
  if (graph.Chance(50)) return scores;
  return multiply(name, {false, groups, 1}, matrix(".values"), scores);
}

}  // namespace

ProductSize SizeOf(const Product& op, const ValueShape& a, const ValueShape& b) {
  const int64_t channels = a.channels / op.groups, positions = a.height * a.width;
  return {op.transposed_left ? positions : channels, op.transposed_left ? channels : positions, b.height * b.width};
}

template <>
const OperatorDefinition& Definition<Product>() {
  static const OperatorDefinition definition = {.name = "Product",
                                                .least_inputs = 2,
                                                .most_inputs = 2,
                                                .output_shape = Shape,
                                                .validate = ValidateProduct,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .sample = Sample,
                                                .sample_weight = 1,
                                                .equal = EqualAttributes<Product>};
  return definition;
}

}  // namespace steadfast::model
