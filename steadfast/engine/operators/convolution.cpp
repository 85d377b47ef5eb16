#include "steadfast/model/operators/convolution.h"

#include "steadfast/engine/operators/weighted_sum.h"

namespace steadfast::engine {

std::unique_ptr<Operator> MakeConvolution(const OperatorSource& source) {
  const auto& operation = *source.node.operation.As<model::Convolution>();
  return std::make_unique<WeightedSum>(source.input(0).shape, operation.window, operation.groups, source);
}

}  // namespace steadfast::engine
