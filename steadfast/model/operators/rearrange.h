// The same codes in another order and shape, each any number of times or not at all: what slicing, splitting,
// transposing, reshaping and repeating make of a value.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/model/operation.h"
#include "steadfast/model/quantized_model.h"  // ValueShape

namespace steadfast::model {

struct Rearrange {
  ValueShape shape;
  std::vector<int32_t> from;  // [elements]: of the input
  bool operator==(const Rearrange&) const = default;
};
template <>
const OperatorDefinition& Definition<Rearrange>();

}  // namespace steadfast::model
