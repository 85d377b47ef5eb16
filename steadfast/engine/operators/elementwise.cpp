// A table of codes, looked up row by row.
#include <array>

#include "steadfast/engine/kernels/token_slices.h"
#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/operators/elementwise.h"

namespace steadfast::engine {
namespace {

class ElementwiseOperator final : public ChannelwiseOperator {
 public:
  explicit ElementwiseOperator(const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape),
        kernels_(TokenSliceKernelsOf(source.set)),
        table_(model::TableOf(source.model, source.node)) {}

 private:
  void RunPlane(std::span<const From> inputs, Workspace&, const To& output) const override {
    for (int64_t pixel = 0; pixel < out_.height * out_.width; ++pixel)
      kernels_.look_up(table_.data(), inputs[0].at(pixel), output.at(pixel));
  }

  const TokenSliceKernels& kernels_;
  const std::array<uint8_t, 256> table_;
};

}  // namespace

std::unique_ptr<Operator> MakeElementwise(const OperatorSource& source) {
  return std::make_unique<ElementwiseOperator>(source);
}

}  // namespace steadfast::engine
