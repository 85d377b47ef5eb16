#include "steadfast/model/operators/softmax.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "steadfast/base/elementary.h"  // PortableExp
#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

constexpr double kOne = 1 << 20;
constexpr int64_t kMostTerms = 2047;  // whose sum fits 31 bits

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  const int groups = node.operation.As<Softmax>()->groups;
  const ValueShape& shape = model.value(node.input()).shape;
  if (groups < 1 || shape.channels % groups != 0)
    throw InputError(fmt::format("{}: {} channels are not {} equal groups", node.name, shape.channels, groups));
  if (shape.channels / groups > kMostTerms)
    throw InputError(fmt::format("{}: a Softmax of {} numbers, expected at most {}", node.name, shape.channels / groups,
                                 kMostTerms));
  return shape;
}

// TFLite's optimized softmax of int8.
ScalarRule FloatTableRule(const QuantizedModel& model, const Node& node) {
  return [exponentials = FloatExponentialsOf(model, node)](auto inputs, auto codes, auto) {
    const auto& levels = inputs[0];
    const int largest = *std::max_element(levels.begin(), levels.end());
    float sum = 0;
    for (const uint8_t level : levels) sum += exponentials[static_cast<size_t>(largest - level)];
    const float inverse = 1.0f / (sum * (1.0f / 256));
    for (size_t i = 0; i < codes.size(); ++i) {
      const float steps = std::floor(exponentials[static_cast<size_t>(largest - levels[i])] * inverse + 0.5f);
      codes[i] = static_cast<uint8_t>(steps > 0 ? std::min(steps, 255.0f) : 0.0f);  // NaN becomes the lowest
    }
  };
}

// ONNX Runtime's QLinearSoftmax: exponentials in float32, as large as their sum allows, and a whole number of steps.
ScalarRule OrtRule(const QuantizedModel& model, const Node& node) {
  const ValueShape& shape = model.value(node.input()).shape;
  const int64_t terms = shape.channels / node.operation.As<Softmax>()->groups, positions = shape.height * shape.width;
  const ActivationCoding& output = *model.value(node.output).coding;
  return [terms, positions, exponentials = FloatExponentialsOf(model, node),
          q = QuantizationOf(output, node.activation)](auto inputs, auto codes, auto) {
    const float steps_of_one = std::floor(1.0f / q.scale);
    const auto elements = static_cast<int64_t>(codes.size());
    for (int64_t first = 0; first < elements; first += terms * positions) {
      for (int64_t p = first; p < first + positions; ++p) {
        const auto at = [&](int64_t i) { return static_cast<size_t>(p + i * positions); };
        int largest = inputs[0][at(0)];
        for (int64_t i = 1; i < terms; ++i) largest = std::max(largest, int{inputs[0][at(i)]});
        const auto exponential = [&](int64_t i) {
          return exponentials[static_cast<size_t>(largest - inputs[0][at(i)])];
        };
        float sum = 0;
        for (int64_t i = 0; i < terms; ++i) sum += exponential(i);
        for (int64_t i = 0; i < terms; ++i) {
          const float steps = exponential(i) * steps_of_one;
          codes[at(i)] = CodeOfSteps(steps / sum, q);
        }
      }
    }
  };
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  if (IsOfTflite(model.profile)) return FloatTableRule(model, node);
  if (IsOfOrtKernels(model, node)) return OrtRule(model, node);
  const ValueShape& shape = model.value(node.input()).shape;
  const int64_t terms = shape.channels / node.operation.As<Softmax>()->groups, positions = shape.height * shape.width;
  const ActivationCoding& coding = *model.value(node.input()).coding;
  return [terms, positions, exponentials = ExponentialsOf(coding), falls = coding.real_scale() < 0,
          quantization = QuantizationOf(*model.value(node.output).coding, node.activation)](auto inputs, auto codes,
                                                                                            auto) {
    const auto elements = static_cast<int64_t>(codes.size());
    for (int64_t first = 0; first < elements; first += terms * positions) {
      for (int64_t p = first; p < first + positions; ++p) {
        const auto at = [&](int64_t i) { return static_cast<size_t>(p + i * positions); };
        int largest = inputs[0][at(0)];
        for (int64_t i = 1; i < terms; ++i)
          largest = falls ? std::min(largest, int{inputs[0][at(i)]}) : std::max(largest, int{inputs[0][at(i)]});
        const auto exponential = [&](int64_t i) {
          return exponentials[static_cast<size_t>(std::abs(largest - inputs[0][at(i)]))];
        };
        int32_t sum = 0;
        for (int64_t i = 0; i < terms; ++i) sum += exponential(i);
        const float inverse = InverseSum(sum, quantization.scale);
        for (int64_t i = 0; i < terms; ++i) {
          codes[at(i)] = CodeOfSteps(static_cast<float>(exponential(i)) * inverse, quantization);
        }
      }
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  const int64_t groups = node.operation.As<Softmax>()->groups;
  const ValueShape& shape = writer.model().value(node.input()).shape;
  std::string current = writer.RealName(node.input());
  if (groups > 1)
    current = writer.AddReshape(current, {0, groups, shape.channels / groups, shape.height * shape.width},
                                node.name + ".groups");
  OnnxWriter::SetInt(writer.AddNode("Softmax", {current}, node.name + ".softmax"), "axis", groups > 1 ? 2 : 1);
  current = node.name + ".softmax";
  if (groups > 1)
    current = writer.AddReshape(current, {0, shape.channels, shape.height, shape.width}, node.name + ".ungrouped");
  writer.WriteQuantize(node, current);
}

// Up to opset 12, over all axes from the one that is named: the same where all others have one element.
void Read(OnnxReader& reader, const OnnxNode& node) {
  const Moved moved = reader.MovedValueAt(node, 0);
  const ValueShape& shape = reader.value(moved.value).shape;
  if (moved.transposed || moved.channels_last) node.Fail("its input's axes are moved in a way that is not understood");
  const int rank = moved.groups > 0 || !shape.flat ? 4 : 2;
  int64_t axis = node.Int("axis", node.opset() < 13 ? 1 : -1);
  if (axis < 0) axis += rank;
  if (axis != (moved.groups > 0 ? 2 : 1)) node.Fail("only a Softmax over channels is understood");
  if (node.opset() < 13 && shape.height * shape.width > 1) node.Fail("is over rows and columns too (before opset 13)");
  reader.Start(node, Softmax{std::max(1, static_cast<int>(moved.groups))}, {moved.value}, ".softmax",
               {.is_grouped = moved.groups > 0});
}

int Sample(RandomGraph& graph, int input) {
  const Value from = graph.value(input);
  Softmax op;
  for (const int groups : {2, 3}) {
    if (!from.shape.flat && from.shape.channels % groups == 0 && graph.Chance(40)) op.groups = groups;
  }
  if (from.shape.channels / op.groups > kMostTerms) return -1;
  ActivationCoding coding = graph.CodingOfAbout(*from.coding, 1, graph.Chance(20));
  coding.scale = graph.Real(0.3f, 1.0f) / static_cast<float>(coding.highest_code());
  return graph.AddNode(graph.NextName(), {"", op, {input}, 0}, coding);
}

}  // namespace

std::array<int32_t, 256> ExponentialsOf(const ActivationCoding& input) {
  std::array<int32_t, 256> exponentials = {};
  const double scale = std::abs(double{input.real_scale()});
  if (!std::isfinite(scale)) return exponentials;
  for (int distance = 0; distance < 256; ++distance) {
    const double exponent = std::max(-scale * distance, -700.0);
    exponentials[static_cast<size_t>(distance)] = static_cast<int32_t>(std::nearbyint(kOne * PortableExp(exponent)));
  }
  return exponentials;
}

std::array<float, 256> FloatExponentialsOf(const QuantizedModel& model, const Node& node) {
  const Softmax& op = *node.operation.As<Softmax>();
  const Value& input = model.value(node.input());
  std::array<float, 256> exponentials = {};
  if (!IsOfTflite(model.profile)) {
    const double scale = input.coding->real_scale();
    const auto terms = static_cast<double>(input.shape.channels / op.groups);
    const double most = PortableLog(double{std::numeric_limits<float>::max()} / terms) - 5.0;
    for (int distance = 0; distance < 256 && std::isfinite(scale); ++distance)
      exponentials[static_cast<size_t>(distance)] =
          static_cast<float>(PortableExp(std::clamp(std::max(most, 0.0) - distance * scale, -700.0, 700.0)));
    return exponentials;
  }
  const float step = -input.coding->scale * op.beta;
  for (int distance = 0; distance < 256; ++distance) {
    const float exponent = step * static_cast<float>(distance);
    exponentials[static_cast<size_t>(distance)] =
        std::isnan(exponent) ? exponent : static_cast<float>(PortableExp(std::min(double{exponent}, 709.0)));
  }
  return exponentials;
}

template <>
const OperatorDefinition& Definition<Softmax>() {
  static const OperatorDefinition definition = {.name = "Softmax",
                                                .output_shape = Shape,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .onnx_forms = {{"Softmax", {{"axis"}}, Read}},
                                                .sample = Sample,
                                                .sample_weight = 1,
                                                .equal = EqualAttributes<Softmax>};
  return definition;
}

}  // namespace steadfast::model
