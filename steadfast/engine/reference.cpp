#include "steadfast/engine/reference.h"

#include <algorithm>
#include <cmath>
#include <variant>

namespace steadfast::engine {
namespace {

using model::Convolution;
using model::Flatten;
using model::Linear;
using model::MaxPool;
using model::Node;
using model::QuantizedModel;
using model::Value;
using model::WeightTensor;

int LevelOf(const Value& value, uint8_t code) {
  return code - value.coding->zero_point;
}

// One image through one node: `input` are codes, results go to `codes` (coded outputs) or `reals`.
class NodeRunner {
 public:
  NodeRunner(const QuantizedModel& model, const Node& node)
      : model_(model),
        node_(node),
        input_value_(model.values[static_cast<size_t>(node.input)]),
        output_value_(model.values[static_cast<size_t>(node.output)]) {
    if (model::AffineOf(node) != nullptr) requantization_ = model::RequantizationOf(model, node);
  }

  void Run(std::span<const uint8_t> input, std::span<uint8_t> codes, std::span<float> reals) const {
    std::visit([&](const auto& operation) { Run(operation, input, codes, reals); }, node_.operation);
  }

 private:
  void Store(int64_t channel, int64_t index, int32_t sum, std::span<uint8_t> codes, std::span<float> reals) const {
    if (requantization_.real) {
      reals[static_cast<size_t>(index)] = RealOf(sum, requantization_, channel);
    } else {
      codes[static_cast<size_t>(index)] = Requantize(sum, requantization_, channel);
    }
  }

  void Run(const Convolution& op, std::span<const uint8_t> input, std::span<uint8_t> codes,
           std::span<float> reals) const {
    const WeightTensor& weight = model_.weights[static_cast<size_t>(op.weight)];
    const model::ValueShape in = input_value_.shape, out = output_value_.shape;
    const int64_t group_inputs = weight.shape[1], group_outputs = out.channels / op.groups;
    for (int64_t oc = 0; oc < out.channels; ++oc) {
      const int64_t first_channel = oc / group_outputs * group_inputs;
      for (int64_t oy = 0; oy < out.height; ++oy) {
        for (int64_t ox = 0; ox < out.width; ++ox) {
          int32_t sum = 0;
          for (int64_t c = 0; c < group_inputs; ++c) {
            for (int64_t ky = 0; ky < op.window.kernel_h; ++ky) {
              for (int64_t kx = 0; kx < op.window.kernel_w; ++kx) {
                const int64_t y = oy * op.window.stride_h - op.window.pad_h + ky * op.window.dilation_h;
                const int64_t x = ox * op.window.stride_w - op.window.pad_w + kx * op.window.dilation_w;
                if (y < 0 || y >= in.height || x < 0 || x >= in.width) continue;  // padding has level 0
                const int64_t at = ((first_channel + c) * in.height + y) * in.width + x;
                const int64_t w = ((oc * group_inputs + c) * op.window.kernel_h + ky) * op.window.kernel_w + kx;
                sum += LevelOf(input_value_, input[static_cast<size_t>(at)]) *
                       weight.format.level(weight.codes[static_cast<size_t>(w)]);
              }
            }
          }
          Store(oc, (oc * out.height + oy) * out.width + ox, sum, codes, reals);
        }
      }
    }
  }

  void Run(const Linear& op, std::span<const uint8_t> input, std::span<uint8_t> codes, std::span<float> reals) const {
    const WeightTensor& weight = model_.weights[static_cast<size_t>(op.weight)];
    const int64_t inputs = weight.shape[1];
    for (int64_t o = 0; o < weight.outputs(); ++o) {
      int32_t sum = 0;
      for (int64_t i = 0; i < inputs; ++i) {
        sum += LevelOf(input_value_, input[static_cast<size_t>(i)]) *
               weight.format.level(weight.codes[static_cast<size_t>(o * inputs + i)]);
      }
      Store(o, o, sum, codes, reals);
    }
  }

  void Run(const MaxPool& op, std::span<const uint8_t> input, std::span<uint8_t> codes, std::span<float>) const {
    const model::ValueShape in = input_value_.shape, out = output_value_.shape;
    for (int64_t c = 0; c < out.channels; ++c) {
      for (int64_t oy = 0; oy < out.height; ++oy) {
        for (int64_t ox = 0; ox < out.width; ++ox) {
          uint8_t best = 0;
          for (int64_t ky = 0; ky < op.window.kernel_h; ++ky) {
            for (int64_t kx = 0; kx < op.window.kernel_w; ++kx) {
              const int64_t y = oy * op.window.stride_h - op.window.pad_h + ky * op.window.dilation_h;
              const int64_t x = ox * op.window.stride_w - op.window.pad_w + kx * op.window.dilation_w;
              if (y < 0 || y >= in.height || x < 0 || x >= in.width) continue;  // padding never wins
              best = std::max(best, input[static_cast<size_t>((c * in.height + y) * in.width + x)]);
            }
          }
          codes[static_cast<size_t>((c * out.height + oy) * out.width + ox)] = best;
        }
      }
    }
  }

  void Run(const Flatten&, std::span<const uint8_t> input, std::span<uint8_t> codes, std::span<float>) const {
    std::copy(input.begin(), input.end(), codes.begin());
  }

  const QuantizedModel& model_;
  const Node& node_;
  const Value& input_value_;
  const Value& output_value_;
  model::Requantization requantization_;
};

}  // namespace

float RealOf(int32_t accumulator, const model::Requantization& requantization, int64_t channel) {
  const float product = static_cast<float>(accumulator) * requantization.scale[static_cast<size_t>(channel)];
  return product + requantization.offset[static_cast<size_t>(channel)];
}

uint8_t Requantize(int32_t accumulator, const model::Requantization& requantization, int64_t channel) {
  const float rounded = std::rint(RealOf(accumulator, requantization, channel));
  const float clipped = std::min(std::max(rounded, requantization.lowest), requantization.highest);
  const int code = static_cast<int>(clipped);
  return static_cast<uint8_t>(code < requantization.zero_below ? static_cast<int>(requantization.lowest) : code);
}

std::vector<float> RunReference(const QuantizedModel& model, std::span<const uint8_t> images, Trace* trace) {
  const auto input_elements = static_cast<size_t>(model.values[0].shape.elements());
  const size_t count = images.size() / input_elements;
  std::vector<NodeRunner> runners;
  for (const Node& node : model.nodes) runners.emplace_back(model, node);
  std::vector<std::vector<uint8_t>> codes(model.values.size());
  for (size_t v = 0; v < codes.size(); ++v) codes[v].resize(static_cast<size_t>(model.values[v].shape.elements()));
  std::vector<float> logits(count * static_cast<size_t>(model.classes()));
  if (trace != nullptr) {
    trace->codes.assign(model.values.size(), {});
    for (size_t v = 0; v < codes.size(); ++v) {
      if (model.values[v].coding) trace->codes[v].reserve(count * codes[v].size());
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const auto image = images.subspan(i * input_elements, input_elements);
    std::copy(image.begin(), image.end(), codes[0].begin());
    const auto reals =
        std::span(logits).subspan(i * static_cast<size_t>(model.classes()), static_cast<size_t>(model.classes()));
    for (size_t n = 0; n < runners.size(); ++n) {
      runners[n].Run(codes[static_cast<size_t>(model.nodes[n].input)],
                     codes[static_cast<size_t>(model.nodes[n].output)], reals);
    }
    if (trace == nullptr) continue;
    for (size_t v = 0; v < codes.size(); ++v) {
      if (model.values[v].coding) trace->codes[v].insert(trace->codes[v].end(), codes[v].begin(), codes[v].end());
    }
  }
  return logits;
}

}  // namespace steadfast::engine
