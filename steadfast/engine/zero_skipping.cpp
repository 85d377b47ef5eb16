#include "steadfast/engine/zero_skipping.h"

#include <algorithm>
#include <vector>

#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/product.h"

namespace steadfast::engine {

ZeroSkippingCycles& ZeroSkippingCycles::operator+=(const ZeroSkippingCycles& other) {
  plain += other.plain;
  skipping += other.skipping;
  products += other.products;
  skipped += other.skipped;
  return *this;
}

int StreamedInputOf(const model::Node& node) {
  if (node.operation.Is<model::Product>()) return node.inputs[1];
  return node.operation.weighted() == nullptr ? -1 : node.input();
}

ZeroSkippingCycles CountCycles(const model::QuantizedModel& model, const model::Node& node,
                               std::span<const uint8_t> codes, const ZeroSkippingMachine& machine) {
  const model::Value& input = model.values[static_cast<size_t>(StreamedInputOf(node))];
  const bool linear = node.operation.Is<model::Linear>();
  const model::ValueShape in = linear ? model::ValueShape{input.shape.elements(), 1, 1} : input.shape;
  const model::ValueShape out = model.values[static_cast<size_t>(node.output)].shape;
  model::Window window;
  int groups = 1;
  if (const auto* convolution = node.operation.As<model::Convolution>()) {
    window = convolution->window;
    groups = convolution->groups;
  }
  if (const auto* product = node.operation.As<model::Product>()) groups = product->groups;
  const int zero = input.coding->zero_point;
  const int64_t group_inputs = in.channels / groups, group_outputs = out.channels / groups;
  const int64_t passes = (group_outputs + machine.filters - 1) / machine.filters;
  ZeroSkippingCycles cycles;
  std::vector<int64_t> of_lane(static_cast<size_t>(machine.lanes));
  for (int group = 0; group < groups; ++group) {
    for (int64_t oy = 0; oy < out.height; ++oy) {
      for (int64_t ox = 0; ox < out.width; ++ox) {
        std::fill(of_lane.begin(), of_lane.end(), 0);
        int64_t place = 0, inside = 0, zeros = 0;
        for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
          for (int64_t kx = 0; kx < window.kernel_w; ++kx) {
            const int64_t y = oy * window.stride_h - window.pad_top + ky * window.dilation_h;
            const int64_t x = ox * window.stride_w - window.pad_left + kx * window.dilation_w;
            const bool padding = y < 0 || y >= in.height || x < 0 || x >= in.width;
            for (int64_t c = 0; c < group_inputs; ++c, ++place) {
              if (padding) continue;
              ++inside;
              const int64_t at = ((group * group_inputs + c) * in.height + y) * in.width + x;
              if (codes[static_cast<size_t>(at)] == zero)
                ++zeros;
              else
                ++of_lane[static_cast<size_t>(place / machine.brick % machine.lanes)];
            }
          }
        }
        // Without skipping, lanes share the window evenly.
        cycles.plain += passes * ((place + machine.lanes - 1) / machine.lanes);
        cycles.skipping += passes * std::max<int64_t>(1, *std::max_element(of_lane.begin(), of_lane.end()));
        cycles.products += inside * group_outputs;
        cycles.skipped += zeros * group_outputs;
      }
    }
  }
  return cycles;
}

}  // namespace steadfast::engine
