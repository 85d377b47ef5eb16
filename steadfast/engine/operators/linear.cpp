// Fully connected layers.
#include "steadfast/engine/operators/weighted_sum.h"
#include "steadfast/engine/reference.h"  // Requantize

namespace steadfast::engine {
namespace {

class LinearOperator final : public WeightedSum {
 public:
  LinearOperator(const model::Linear& operation, const OperatorSource& source)
      : WeightedSum({source.input(0).shape.elements(), 1, 1}, model::Window{}, 1, operation.weight, source) {}

  void RunScalar(std::span<const std::span<const uint8_t>> inputs, std::span<uint8_t> codes,
                 std::span<float> reals) const override {
    for (int64_t o = 0; o < out_.channels; ++o) {
      int32_t sum = 0;
      for (int64_t i = 0; i < in_.channels; ++i)
        sum += (inputs[0][static_cast<size_t>(i)] - zero_point_) * LevelAt(o, i);
      if (requantization_.real)
        reals[static_cast<size_t>(o)] = RealOf(sum, requantization_, o);
      else
        codes[static_cast<size_t>(o)] = Requantize(sum, requantization_, o);
    }
  }
};

}  // namespace

std::unique_ptr<Operator> Make(const model::Linear& operation, const OperatorSource& source) {
  return std::make_unique<LinearOperator>(operation, source);
}

}  // namespace steadfast::engine
