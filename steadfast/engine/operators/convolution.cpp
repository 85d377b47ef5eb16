// Convolution with stride, padding, dilation and groups (depthwise among them). Padding has level 0.
#include "steadfast/engine/operators/weighted_sum.h"
#include "steadfast/engine/reference.h"  // Requantize

namespace steadfast::engine {
namespace {

class ConvolutionOperator final : public WeightedSum {
 public:
  ConvolutionOperator(const model::Convolution& operation, const OperatorSource& source)
      : WeightedSum(source.input(0).shape, operation.window, operation.groups, operation.weight, source) {}

  void RunScalar(std::span<const std::span<const uint8_t>> inputs, std::span<uint8_t> codes,
                 std::span<float> reals) const override {
    const int64_t group_inputs = in_.channels / groups_, group_outputs = out_.channels / groups_;
    size_t index = 0;
    for (int64_t oc = 0; oc < out_.channels; ++oc) {
      const int64_t first_channel = oc / group_outputs * group_inputs;
      for (int64_t oy = 0; oy < out_.height; ++oy) {
        for (int64_t ox = 0; ox < out_.width; ++ox, ++index) {
          int32_t sum = 0;
          for (int64_t c = 0; c < group_inputs; ++c) {
            for (int64_t ky = 0; ky < window_.kernel_h; ++ky) {
              for (int64_t kx = 0; kx < window_.kernel_w; ++kx) {
                const int64_t y = oy * window_.stride_h - window_.pad_h + ky * window_.dilation_h;
                const int64_t x = ox * window_.stride_w - window_.pad_w + kx * window_.dilation_w;
                if (y < 0 || y >= in_.height || x < 0 || x >= in_.width) continue;
                const int64_t at = ((first_channel + c) * in_.height + y) * in_.width + x;
                const int level = inputs[0][static_cast<size_t>(at)] - zero_point_;
                sum += level * LevelAt(oc, (c * window_.kernel_h + ky) * window_.kernel_w + kx);
              }
            }
          }
          if (requantization_.real)
            reals[index] = RealOf(sum, requantization_, oc);
          else
            codes[index] = Requantize(sum, requantization_, oc);
        }
      }
    }
  }
};

}  // namespace

std::unique_ptr<Operator> Make(const model::Convolution& operation, const OperatorSource& source) {
  return std::make_unique<ConvolutionOperator>(operation, source);
}

}  // namespace steadfast::engine
