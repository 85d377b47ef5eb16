// The mean over a window, padding counted as level 0: an int32 sum of levels, requantized to a coding of its own. A
// window as large as its input is global average pooling. Under TFLite's profiles: the mean of the codes as the file
// has them, from zero, half rounded away from it; no scale is looked at.
#pragma once

#include "steadfast/model/quantized_model.h"
#include "steadfast/model/requantization.h"  // Quantization

namespace steadfast::model {

struct AveragePool {
  Window window;
  int64_t elements() const { return int64_t{window.kernel_h} * window.kernel_w; }
  bool operator==(const AveragePool&) const = default;
};
template <>
const OperatorDefinition& Definition<AveragePool>();

// Under TFLite's profiles: the code that a sum of `count` codes becomes.
uint8_t RoundedMean(int32_t sum_of_codes, int32_t count, int stored_offset, const Quantization& range);

}  // namespace steadfast::model
