// Faulty buffers, where values lie as rows and as slices. Internal to the engine.
#pragma once

#include <cstdint>

#include "steadfast/engine/slices.h"  // SliceLayout
#include "steadfast/model/value_faults.h"

namespace steadfast::engine {

// The faults of the values of a block; without faults none.
struct BlockFaults {
  const model::ValueFaults* faults = nullptr;
  int64_t block = 0;
  const model::ValueFaults::OfValue* Of(int value) const {
    if (faults == nullptr || faults->values[static_cast<size_t>(value)].empty()) return nullptr;
    return &faults->values[static_cast<size_t>(value)];
  }
};

// rows: [element][64], of the images of a block.
void ApplyToRows(const model::ValueFaults::OfValue& faults, int64_t block, uint8_t* rows);
// quads: of a slice of the block.
void ApplyToSlice(const model::ValueFaults::OfValue& faults, int64_t block, int64_t slice, const SliceLayout& layout,
                  uint8_t* quads);

}  // namespace steadfast::engine
