// Where values lie while a network runs: those that live at the same time do not overlap.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::device {

struct Arena {
  std::vector<int64_t> offsets;  // [value]; -1: it lies elsewhere
  int64_t bytes = 0;
};

// values: those to place, by index; the first is there before the first node (an input that is copied) where it is
// value 0. A Flatten's output lies where its input does, placed or not. The largest are placed first, each as low as it
// fits.
Arena PlaceValues(const model::QuantizedModel& model, const std::vector<bool>& placed);

// The value whose codes a value has: of what Flatten gives, its input.
int SourceOf(const model::QuantizedModel& model, int value);

}  // namespace steadfast::device
