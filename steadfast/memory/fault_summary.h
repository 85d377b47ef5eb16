// What a fault map, or many, look like: how many faults of which kind, and whether they keep together.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/memory/fault_list.h"    // FaultLists
#include "steadfast/memory/memory_image.h"  // MemoryImage

namespace steadfast::memory {

// Counts of faults over the banks, rows or columns of a memory, over all trials.
struct Spread {
  int64_t units = 0;  // banks, rows or columns, times trials
  double mean = 0;    // faults of one
  int64_t most = 0;   // of any
  // Variance over mean: about 1 where cells fail independently, larger where faults keep together; nothing without
  // faults. (Cells that hold nothing are cells without faults here.)
  std::optional<double> dispersion;
  // Stapper's clustering parameter by the method of moments, mean^2 / (variance - mean); nothing where the variance is
  // no larger than the mean.
  std::optional<double> clustering;
};

struct MemorySummary {
  std::string memory;
  int64_t banks = 0, cells = 0;      // cells that hold something
  std::array<int64_t, 5> of_kind{};  // by FaultKind
  int64_t faults = 0;                // in all trials
  Spread over_banks, over_rows, over_columns;
};

// One a memory of the chip.
std::vector<MemorySummary> Summarize(const FaultLists& lists, const MemoryImage& image);

}  // namespace steadfast::memory
