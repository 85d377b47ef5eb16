// A fully connected layer, on a flat input.
#pragma once

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Linear {
  Weighted weighted;
  bool operator==(const Linear&) const = default;
};
template <>
const OperatorDefinition& Definition<Linear>();

}  // namespace steadfast::model
