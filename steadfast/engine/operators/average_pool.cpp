// The mean over a window: an int32 sum of levels (padding has level 0), then the requantization of weighted sums.
#include <algorithm>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/engine/operators/window_loop.h"
#include "steadfast/engine/reference.h"  // Requantize

namespace steadfast::engine {
namespace {

class AveragePoolOperator final : public ChannelwiseOperator {
 public:
  AveragePoolOperator(const model::Window& window, const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape),
        window_(window),
        zero_point_(source.input(0).coding->zero_point),
        requantization_(model::RequantizationOf(source.model, source.node)) {}

  void RunScalar(std::span<const std::span<const uint8_t>> inputs, std::span<uint8_t> codes,
                 std::span<float>) const override {
    size_t at = 0;
    for (int64_t c = 0; c < out_.channels; ++c) {
      const auto channel = inputs[0].subspan(static_cast<size_t>(c * in_.height * in_.width));
      ForEachWindow(in_, out_, window_, [&](const auto& elements) {
        int32_t sum = 0;
        elements([&](int64_t element) { sum += channel[static_cast<size_t>(element)] - zero_point_; });
        codes[at++] = Requantize(sum, requantization_, c);
      });
    }
  }

 private:
  void RunChannel(int64_t channel, std::span<const uint8_t* const> inputs, Workspace& workspace,
                  uint8_t* output) const override {
    const auto c = static_cast<size_t>(channel);
    const RequantizeConstants constants{requantization_.scale[c], requantization_.offset[c], requantization_.lowest,
                                        requantization_.highest, requantization_.zero_below};
    ForEachWindow(in_, out_, window_, [&](const auto& elements) {
      int32_t sums[kBlockImages] = {};
      int32_t count = 0;
      elements([&](int64_t element) {
        workspace.kernels->add_scaled_row(inputs[0] + element * kRowBytes, 1, sums, sums);
        ++count;
      });
      workspace.kernels->requantize(sums, -zero_point_ * count, constants, output);
      output += kRowBytes;
    });
  }

  const model::Window window_;
  const int zero_point_;
  const model::Requantization requantization_;
};

}  // namespace

std::unique_ptr<Operator> Make(const model::AveragePool& operation, const OperatorSource& source) {
  return std::make_unique<AveragePoolOperator>(operation.window, source);
}

}  // namespace steadfast::engine
