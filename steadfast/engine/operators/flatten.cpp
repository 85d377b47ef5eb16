// The same codes under another shape: element e of a channel of n elements becomes channel n * channel + e.
#include <algorithm>
#include <cstring>

#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class FlattenOperator final : public Operator {
 public:
  explicit FlattenOperator(const OperatorSource& source) : elements_(source.output().shape.elements()) {}

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace&, const BlockOutput& output) const override {
    std::memcpy(output.rows, inputs[0], static_cast<size_t>(elements_ * kRowBytes));
  }

  void RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const override {
    const ChangedValue& input = *change.inputs[0];
    for (int32_t channel : input.channels()) {
      for (int64_t row = 0; row < input.rows_of_channel(); ++row) {
        const int64_t to = channel * input.rows_of_channel() + row;
        std::memcpy(change.output->Begin(to), input.channel(channel) + row * kRowBytes, kRowBytes);
        change.output->Finish(to, change.valid, *workspace.kernels);
      }
    }
  }

 private:
  const int64_t elements_;
};

}  // namespace

std::unique_ptr<Operator> MakeFlatten(const OperatorSource& source) {
  return std::make_unique<FlattenOperator>(source);
}

}  // namespace steadfast::engine
