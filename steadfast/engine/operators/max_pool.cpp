// Max-pooling of codes. Padding never wins.
#include <algorithm>
#include <cstring>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/engine/operators/window_loop.h"

namespace steadfast::engine {
namespace {

class MaxPoolOperator final : public ChannelwiseOperator {
 public:
  MaxPoolOperator(const model::Window& window, const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape), window_(window) {}

  void RunScalar(std::span<const std::span<const uint8_t>> inputs, std::span<uint8_t> codes,
                 std::span<float>) const override {
    size_t at = 0;
    for (int64_t c = 0; c < out_.channels; ++c) {
      const auto channel = inputs[0].subspan(static_cast<size_t>(c * in_.height * in_.width));
      ForEachWindow(in_, out_, window_, [&](const auto& elements) {
        uint8_t best = 0;
        elements([&](int64_t element) { best = std::max(best, channel[static_cast<size_t>(element)]); });
        codes[at++] = best;
      });
    }
  }

 private:
  void RunChannel(int64_t, std::span<const uint8_t* const> inputs, Workspace& workspace,
                  uint8_t* output) const override {
    ForEachWindow(in_, out_, window_, [&](const auto& elements) {
      std::memset(output, 0, kRowBytes);
      elements([&](int64_t element) { workspace.kernels->maximum_rows(inputs[0] + element * kRowBytes, output); });
      output += kRowBytes;
    });
  }

  const model::Window window_;
};

}  // namespace

std::unique_ptr<Operator> Make(const model::MaxPool& operation, const OperatorSource& source) {
  return std::make_unique<MaxPoolOperator>(operation.window, source);
}

}  // namespace steadfast::engine
