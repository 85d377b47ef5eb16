// A value times a gate of the same shape, or of one row a channel.
#include "steadfast/engine/kernels/tokens.h"
#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {
namespace {

class MultiplyOperator final : public Operator {
 public:
  explicit MultiplyOperator(const OperatorSource& source)
      : kernels_(TokenKernelsOf(source.set)),
        channels_(source.input(0).shape.channels),
        pixels_(source.input(0).shape.elements() / channels_),
        gate_pixels_(source.input(1).shape.elements() / channels_),
        a_(OperandOf(*source.input(0).coding)),
        b_(OperandOf(*source.input(1).coding)),
        constants_(ConstantsOf(source.output(), source.node)) {}

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace&, const BlockOutput& output) const override {
    for (int64_t c = 0; c < channels_; ++c)
      RunChannel(inputs[0] + c * pixels_ * kRowBytes, inputs[1] + c * gate_pixels_ * kRowBytes,
                 output.rows + c * pixels_ * kRowBytes);
  }

  void RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const override {
    for (int64_t c = 0; c < channels_; ++c) {
      if (!change.inputs[0]->is_changed(c) && !change.inputs[1]->is_changed(c)) continue;
      RunChannel(change.inputs[0]->channel(c), change.inputs[1]->channel(c), change.output->Begin(c));
      change.output->Finish(c, change.valid, *workspace.kernels);
    }
  }

 private:
  void RunChannel(const uint8_t* value, const uint8_t* gate, uint8_t* output) const {
    const int64_t step = gate_pixels_ == 1 ? 0 : kRowBytes;
    for (int64_t i = 0; i < pixels_; ++i)
      kernels_.multiply_rows(value + i * kRowBytes, a_, gate + i * step, b_, constants_, output + i * kRowBytes);
  }

  const TokenKernels& kernels_;
  const int64_t channels_, pixels_, gate_pixels_;
  const OperandConstants a_, b_;
  const QuantizeConstants constants_;
};

}  // namespace

std::unique_ptr<Operator> MakeMultiply(const OperatorSource& source) {
  return std::make_unique<MultiplyOperator>(source);
}

}  // namespace steadfast::engine
