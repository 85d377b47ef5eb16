// The product of two values, element by element: a gate. The second may have one element a channel (squeeze and excite,
// Hu et al., 2018). float(level) * scale of each, rounded; their product, rounded; then quantization.
#pragma once

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Multiply {
  bool operator==(const Multiply&) const = default;
};
template <>
const OperatorDefinition& Definition<Multiply>();

}  // namespace steadfast::model
