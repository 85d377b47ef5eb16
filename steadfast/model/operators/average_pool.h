// The mean over a window, padding counted as level 0: an int32 sum of levels, requantized to a coding of its own. A
// window as large as its input is global average pooling.
#pragma once

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct AveragePool {
  Window window;
  int64_t elements() const { return int64_t{window.kernel_h} * window.kernel_w; }
  bool operator==(const AveragePool&) const = default;
};
template <>
const OperatorDefinition& Definition<AveragePool>();

}  // namespace steadfast::model
