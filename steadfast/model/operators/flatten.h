// The same codes under another shape: element e of a channel of n elements becomes channel n * channel + e.
#pragma once

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Flatten {
  bool operator==(const Flatten&) const = default;
};
template <>
const OperatorDefinition& Definition<Flatten>();

}  // namespace steadfast::model
