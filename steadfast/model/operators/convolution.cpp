#include "steadfast/model/operators/convolution.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/operators/windows.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  const auto& op = *node.operation.As<Convolution>();
  const ValueShape& input = model.value(node.input()).shape;
  const Parameter& weight = model.parameter(op.weighted.weight);
  if (weight.shape.size() != 4) {
    throw InputError(
        fmt::format("{}: weight {} has {} dimensions, expected 4", node.name, weight.name, weight.shape.size()));
  }
  if (op.groups < 1 || input.channels % op.groups != 0 || weight.outputs() % op.groups != 0 ||
      weight.group_inputs() != input.channels / op.groups || weight.kernel_h() != op.window.kernel_h ||
      weight.kernel_w() != op.window.kernel_w) {
    throw InputError(fmt::format("{}: weight {} of shape [{}] with {} groups does not fit an input of {} channels",
                                 node.name, weight.name, fmt::join(weight.shape, ", "), op.groups, input.channels));
  }
  return WindowShape(node.name, input, op.window, weight.outputs());
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  const auto& op = *node.operation.As<Convolution>();
  const Parameter& weight = model.parameter(op.weighted.weight);
  std::vector<int> levels;
  for (int64_t o = 0; o < weight.outputs(); ++o) {
    for (int64_t i = 0; i < weight.products(); ++i) levels.push_back(weight.level(weight.IndexOf(o, i)));
  }
  return [in = model.value(node.input()).shape, out = model.value(node.output).shape, window = op.window,
          groups = op.groups, zero_point = model.value(node.input()).coding->zero_point, levels,
          requantization = RequantizationOf(model, node)](auto inputs, auto codes, auto reals) {
    const int64_t group_inputs = in.channels / groups, group_outputs = out.channels / groups;
    size_t index = 0;
    for (int64_t oc = 0; oc < out.channels; ++oc) {
      const int64_t first_channel = oc / group_outputs * group_inputs;
      for (int64_t oy = 0; oy < out.height; ++oy) {
        for (int64_t ox = 0; ox < out.width; ++ox, ++index) {
          int32_t sum = 0;
          for (int64_t c = 0; c < group_inputs; ++c) {
            for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
              for (int64_t kx = 0; kx < window.kernel_w; ++kx) {
                const int64_t y = oy * window.stride_h - window.pad_top + ky * window.dilation_h;
                const int64_t x = ox * window.stride_w - window.pad_left + kx * window.dilation_w;
                if (y < 0 || y >= in.height || x < 0 || x >= in.width) continue;
                const int64_t at = ((first_channel + c) * in.height + y) * in.width + x;
                const int64_t product = (c * window.kernel_h + ky) * window.kernel_w + kx;
                const int level = inputs[0][static_cast<size_t>(at)] - zero_point;
                sum += level *
                       levels[static_cast<size_t>(oc * group_inputs * window.kernel_h * window.kernel_w + product)];
              }
            }
          }
          sum = WithAddend(sum, requantization, oc);
          if (requantization.real)
            reals[index] = RealOf(sum, requantization, oc);
          else
            codes[index] = Requantize(sum, requantization, oc);
        }
      }
    }
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  const auto& op = *node.operation.As<Convolution>();
  const std::string weight = writer.WriteWeights(op.weighted.weight);
  auto* conv = writer.AddNode("Conv", {writer.RealName(node.input()), weight}, node.name + ".sum");
  OnnxWriter::SetWindow(conv, op.window);
  OnnxWriter::SetInt(conv, "group", op.groups);
  writer.WriteSteps(node, node.name + ".sum", 2);
}

void Read(OnnxReader& reader, const OnnxNode& node) {
  const int input = reader.RealValue(node, 0), weight = reader.RealWeights(node, 1);
  const std::vector<int64_t> shape = reader.parameter(weight).shape;
  if (shape.size() != 4) node.Fail("its weights must have 4 dimensions");
  const auto small = [](int64_t size) { return static_cast<int>(std::min<int64_t>(size, 65536)); };
  Convolution op;
  op.window = node.WindowOf(small(shape[2]), small(shape[3]), reader.value(input).shape);
  op.groups = node.SmallInt("group", node.Int("group", 1));
  const auto make = [op](Weighted weighted) {
    Convolution made = op;
    made.weighted = std::move(weighted);
    return Operation(made);
  };
  reader.StartWeighted(node, make, input, weight);
}

int Sample(RandomGraph& graph, int input) {
  const ValueShape& shape = graph.value(input).shape;
  if (shape.flat) return -1;
  if (graph.Chance(8)) return graph.AddNormalization(input, graph.NextName());
  return graph.AddConvolution(input, graph.NextName(), graph.RandomWindow(shape, false));
}

}  // namespace

template <>
const OperatorDefinition& Definition<Convolution>() {
  static const OperatorDefinition definition = {
      .name = "Convolution",
      .may_be_real = true,
      .is_requantization = true,
      .output_shape = Shape,
      .scalar_rule = Rule,
      .write_onnx = Write,
      .onnx_forms = {{"Conv", {{"auto_pad"}, {"dilations"}, {"group"}, {"kernel_shape"}, {"pads"}, {"strides"}}, Read}},
      .sample = Sample,
      .sample_weight = 5,
      .equal = EqualAttributes<Convolution>,
      .weighted = WeightedOfAttributes<Convolution>};
  return definition;
}

}  // namespace steadfast::model
