// The sum of two values of one shape, each with a scale of its own (a residual connection): float(level) * scale of
// each, rounded; their sum, rounded; then quantization.
#pragma once

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Add {
  bool operator==(const Add&) const = default;
};
template <>
const OperatorDefinition& Definition<Add>();

}  // namespace steadfast::model
