// Every row, column, word, bank, burst or cell of a chip that holds something, one after the other: what a sweep of
// larger faults than single bits tries.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "steadfast/memory/fault_law.h"     // CellFault
#include "steadfast/memory/fault_list.h"    // FaultLists
#include "steadfast/memory/memory_image.h"  // MemoryImage

namespace steadfast::memory {

struct FaultUnit {
  std::string name;  // "weights, bank 0, row 3"
  FaultMap map;      // all of its cells that can fail; never empty
};

// unit: "row", "column", "word", "bank", "burst:LENGTH" (every start in every row, as far as the row goes) or "cell".
// The fault is the same for all cells: flip, sa0 or sa1. Throws UsageError for other units and faults, and for more
// than 2^24.
std::vector<FaultUnit> EveryUnit(const MemoryImage& image, std::string_view unit, FaultKind kind);

// As trials, in their order.
FaultLists ListsOf(const std::vector<FaultUnit>& units);

}  // namespace steadfast::memory
