// A linear layer is a convolution of 1 x 1 windows on an input of one pixel.
#include "steadfast/engine/operators/weighted_sum.h"

namespace steadfast::engine {

std::unique_ptr<Operator> MakeLinear(const OperatorSource& source) {
  const model::ValueShape pixel{source.input(0).shape.elements(), 1, 1};
  return std::make_unique<WeightedSum>(pixel, model::Window{}, 1, source);
}

}  // namespace steadfast::engine
