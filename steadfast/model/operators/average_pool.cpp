#include "steadfast/model/operators/average_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/operators/windows.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  const Window& window = node.operation.As<AveragePool>()->window;
  if (window.dilation_h != 1 || window.dilation_w != 1)
    throw InputError(fmt::format("{}: average pooling has no dilation", node.name));
  return PooledShape(node.name, model.value(node.input()).shape, window);
}

ScalarRule RoundedRule(const QuantizedModel& model, const Node& node) {
  const ActivationCoding& coding = *model.value(node.output).coding;
  return [in = model.value(node.input()).shape, out = model.value(node.output).shape,
          window = node.operation.As<AveragePool>()->window, offset = coding.stored_offset(),
          range = QuantizationOf(coding, node.activation)](auto inputs, auto codes, auto) {
    size_t at = 0;
    for (int64_t c = 0; c < out.channels; ++c) {
      const auto channel = inputs[0].subspan(static_cast<size_t>(c * in.height * in.width));
      ForEachWindow(in, out, window, [&](const auto& elements) {
        int32_t sum = 0, count = 0;
        elements([&](int64_t element) {
          sum += channel[static_cast<size_t>(element)];
          ++count;
        });
        codes[at++] = RoundedMean(sum, count, offset, range);
      });
    }
  };
}

ScalarRule MeanRule(const QuantizedModel& model, const Node& node) {
  const ActivationCoding &from = *model.value(node.input()).coding, &to = *model.value(node.output).coding;
  const ValueShape& in = model.value(node.input()).shape;
  const int64_t count = in.height * in.width;
  return [count, offset = from.stored_offset(),
          mean = MeanOfCodes(model.profile, node.operation.As<AveragePool>()->is_general, from, to, count),
          stored_offset = to.stored_offset(),
          range = QuantizationOf(to, node.activation)](auto inputs, auto codes, auto) {
    for (size_t c = 0; c < codes.size(); ++c) {
      int32_t sum = 0;
      for (const uint8_t code : inputs[0].subspan(c * static_cast<size_t>(count), static_cast<size_t>(count)))
        sum += code + offset;
      codes[c] = static_cast<uint8_t>(std::clamp<int64_t>(mean.Of(sum) - stored_offset, range.lowest, range.highest));
    }
  };
}

// ONNX Runtime's of a window: real numbers, and the zero point added before rounding.
ScalarRule OrtRule(const QuantizedModel& model, const Node& node) {
  const auto& op = *node.operation.As<AveragePool>();
  const ActivationCoding& to = *model.value(node.output).coding;
  return [in = model.value(node.input()).shape, out = model.value(node.output).shape, window = op.window,
          from = *model.value(node.input()).coding, count = static_cast<float>(op.elements()),
          offset = to.stored_offset(), q = QuantizationOf(to, node.activation)](auto inputs, auto codes, auto) {
    size_t at = 0;
    for (int64_t c = 0; c < out.channels; ++c) {
      const auto channel = inputs[0].subspan(static_cast<size_t>(c * in.height * in.width));
      ForEachWindow(in, out, window, [&](const auto& elements) {
        float sum = 0;
        elements([&](int64_t element) { sum += RealOf(channel[static_cast<size_t>(element)], from); });
        codes[at++] = CodeOfStepsAndZero(sum / count / q.scale, q, offset);
      });
    }
  };
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  if (IsOfOrtKernels(model, node) && !node.operation.As<AveragePool>()->is_mean) return OrtRule(model, node);
  if (IsOfTflite(model.profile) && node.operation.As<AveragePool>()->is_mean) return MeanRule(model, node);
  if (IsOfTflite(model.profile)) return RoundedRule(model, node);
  const auto& op = *node.operation.As<AveragePool>();
  return [in = model.value(node.input()).shape, out = model.value(node.output).shape, window = op.window,
          zero_point = model.value(node.input()).coding->zero_point,
          requantization = RequantizationOfMean(model, node, op.elements())](auto inputs, auto codes, auto) {
    size_t at = 0;
    for (int64_t c = 0; c < out.channels; ++c) {
      const auto channel = inputs[0].subspan(static_cast<size_t>(c * in.height * in.width));
      ForEachWindow(in, out, window, [&](const auto& elements) {
        int32_t sum = 0;
        elements([&](int64_t element) { sum += channel[static_cast<size_t>(element)] - zero_point; });
        codes[at++] = Requantize(sum, requantization, c);
      });
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  const Window& window = node.operation.As<AveragePool>()->window;
  if (node.operation.As<AveragePool>()->is_mean) {
    writer.AddNode("GlobalAveragePool", {writer.RealName(node.input())}, node.name + ".mean");
    return writer.WriteQuantize(node, node.name + ".mean");
  }
  auto* pool = writer.AddNode("AveragePool", {writer.RealName(node.input())}, node.name + ".mean");
  OnnxWriter::SetInts(pool, "kernel_shape", {window.kernel_h, window.kernel_w});
  OnnxWriter::SetInts(pool, "strides", {window.stride_h, window.stride_w});
  OnnxWriter::SetInts(pool, "pads", {window.pad_top, window.pad_left, window.pad_bottom, window.pad_right});
  OnnxWriter::SetInt(pool, "count_include_pad", 1);
  writer.WriteQuantize(node, node.name + ".mean");
}

void Read(OnnxReader& reader, const OnnxNode& node) {
  if (!node.Has("kernel_shape")) node.Fail("has no kernel_shape");
  const int input = reader.RealValue(node, 0);
  const Window window = node.WindowOf(1, 1, reader.value(input).shape);
  if (window.has_padding() && node.Int("count_include_pad", 0) != 1)
    node.Fail("padding must count (count_include_pad = 1)");
  reader.Start(node, AveragePool{window}, {input}, ".mean");
}

Window Whole(const ValueShape& shape) {
  Window window;
  window.kernel_h = static_cast<int>(shape.height);
  window.kernel_w = static_cast<int>(shape.width);
  return window;
}

void ReadGlobal(OnnxReader& reader, const OnnxNode& node) {
  const int input = reader.RealValue(node, 0);
  const ValueShape& shape = reader.value(input).shape;
  if (shape.flat) node.Fail("its input has no rows and columns");
  node.SmallInt("height", shape.height);
  node.SmallInt("width", shape.width);
  reader.Start(node, AveragePool{.window = Whole(shape), .is_mean = true}, {input}, ".mean");
}

int Sample(RandomGraph& graph, int input) {
  const Value from = graph.value(input);
  if (from.shape.flat) return -1;
  Window window = graph.RandomWindow(from.shape, true);
  if (graph.Chance(30)) window = Whole(from.shape);
  window.dilation_h = window.dilation_w = 1;
  ActivationCoding coding = graph.CodingOfAbout(*from.coding, graph.Real(0.3f, 1.5f), true);
  if (graph.Chance(30)) coding.scale = from.coding->scale;  // means that lie midway between codes
  return graph.AddNode(graph.NextName(), {"", AveragePool{window}, {input}, 0, graph.RandomActivation(20)}, coding);
}

}  // namespace

MeanOfCodes::MeanOfCodes(Profile profile, bool is_general, const ActivationCoding& from, const ActivationCoding& to,
                         int64_t count)
    : is_float_(profile == Profile::kXnnpack) {
  const int from_zero = from.zero_point + from.stored_offset(), to_zero = to.zero_point + to.stored_offset();
  const auto n = static_cast<float>(count);
  if (is_float_) {
    factor_ = from.scale / (to.scale * n);
    const float zeros = static_cast<float>(from_zero) * n * factor_;
    offset_ = static_cast<float>(to_zero) - zeros;
    return;
  }
  if (profile == Profile::kLiteRtBuiltin && !is_general) {
    const float zeros = static_cast<float>(from_zero) * from.scale / to.scale;
    scale_ = FixedPointScaleOf(from.scale / (n * to.scale));
    const float rounded = std::trunc(zeros > 0 ? zeros + 0.5f : zeros - 0.5f);
    bias_ = to_zero - (std::abs(rounded) < 0x1p30f ? static_cast<int64_t>(rounded) : 0);
    return;
  }
  const FixedPointScale whole = FixedPointScaleOf(double{from.scale} / to.scale);
  int shift = 0;
  while (shift < 32 && (int64_t{2} << shift) <= count) ++shift;
  shift = std::max(0, std::min(shift, 31 + whole.shift));
  scale_ = {static_cast<int32_t>((int64_t{whole.multiplier} << shift) / count), whole.shift - shift};
  less_ = static_cast<int32_t>(from_zero * count);
  bias_ = to_zero;
}

int64_t MeanOfCodes::Of(int32_t sum_of_stored) const {
  if (!is_float_) return RoundedTwice(sum_of_stored - less_, scale_) + bias_;
  const float product = static_cast<float>(sum_of_stored) * factor_;
  const float rounded = std::rint(product + offset_);
  return static_cast<int64_t>(rounded > -1024.0f ? std::min(rounded, 1024.0f) : -1024.0f);  // NaN becomes the lowest
}

uint8_t RoundedMean(int32_t sum_of_codes, int32_t count, int stored_offset, const Quantization& range) {
  const int32_t sum = sum_of_codes + count * stored_offset;
  const int32_t mean = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
  return static_cast<uint8_t>(std::clamp(mean - stored_offset, range.lowest, range.highest));
}

template <>
const OperatorDefinition& Definition<AveragePool>() {
  static const OperatorDefinition definition = {.name = "AveragePool",
                                                .is_requantization = true,
                                                .output_shape = Shape,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .onnx_forms = {{"AveragePool",
                                                                {{"auto_pad"},
                                                                 {"ceil_mode", 10},
                                                                 {"count_include_pad", 7},
                                                                 {"dilations", 19},
                                                                 {"kernel_shape"},
                                                                 {"pads"},
                                                                 {"strides"}},
                                                                Read},
                                                               {"GlobalAveragePool", {}, ReadGlobal}},
                                                .sample = Sample,
                                                .sample_weight = 2,
                                                .equal = EqualAttributes<AveragePool>};
  return definition;
}

}  // namespace steadfast::model
