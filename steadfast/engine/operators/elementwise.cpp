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
  void RunPlane(std::span<const From> inputs, Workspace&, const To& output) const override {
    for (int64_t pixel = 0; pixel < out_.height * out_.width; ++pixel) {
      const uint8_t* from = inputs[0].at(pixel);
      uint8_t* to = output.at(pixel);
      for (int64_t i = 0; i < kRowBytes; ++i) to[i] = table_[from[i]];
    }
  }

  const std::array<uint8_t, 256> table_;
};

}  // namespace

std::unique_ptr<Operator> MakeElementwise(const OperatorSource& source) {
  return std::make_unique<ElementwiseOperator>(source);
}

}  // namespace steadfast::engine
