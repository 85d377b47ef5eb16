// The largest code under a window; padding counts as nothing.
#pragma once

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct MaxPool {
  Window window;
  bool operator==(const MaxPool&) const = default;
};
template <>
const OperatorDefinition& Definition<MaxPool>();

}  // namespace steadfast::model
