// A table of codes, looked up row by row.
#include <array>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/operators/elementwise.h"

namespace steadfast::engine {
namespace {

class ElementwiseOperator final : public ChannelwiseOperator {
 public:
  explicit ElementwiseOperator(const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape),
        table_(model::TableOf(source.model, source.node)) {}

 private:
  void RunChannel(int64_t, std::span<const uint8_t* const> inputs, Workspace&, uint8_t* output) const override {
    const int64_t bytes = out_.height * out_.width * kRowBytes;
    for (int64_t i = 0; i < bytes; ++i) output[i] = table_[inputs[0][i]];
  }

  const std::array<uint8_t, 256> table_;
};

}  // namespace

std::unique_ptr<Operator> MakeElementwise(const OperatorSource& source) {
  return std::make_unique<ElementwiseOperator>(source);
}

}  // namespace steadfast::engine
