// The numbers that scores are taken from, by a table of codes.
#include "steadfast/model/operators/dequantize.h"
#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class DequantizeOperator final : public Operator {
 public:
  explicit DequantizeOperator(const OperatorSource& source)
      : reals_(RealsOf(*source.node.operation.As<model::Dequantize>(), *source.input(0).coding)),
        elements_(source.output().shape.elements()) {}

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace&, const BlockOutput& output) const override {
    for (int64_t i = 0; i < elements_ * kRowBytes; ++i) output.reals[i] = reals_[inputs[0][i]];
  }

  void RunChanged(const BlockChange& change, Workspace&, std::any&) const override {
    const ChangedValue& input = *change.inputs[0];
    const int64_t of_channel = input.rows_of_channel() * kRowBytes;
    for (const int32_t channel : input.channels()) {
      const uint8_t* codes = input.channel(channel);
      float* reals = change.reals + channel * of_channel;
      for (int64_t i = 0; i < of_channel; ++i) reals[i] = reals_[codes[i]];
    }
    *change.real_lanes |= input.lanes();
  }

 private:
  const std::array<float, 256> reals_;
  const int64_t elements_;
};

}  // namespace

std::unique_ptr<Operator> MakeDequantize(const OperatorSource& source) {
  return std::make_unique<DequantizeOperator>(source);
}

}  // namespace steadfast::engine
