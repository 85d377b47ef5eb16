#include "steadfast/memory/fault_summary.h"

#include <algorithm>
#include <map>

namespace steadfast::memory {
namespace {

// Counts of units that have faults; the others count as zeros.
Spread SpreadOf(const std::map<std::array<int64_t, 3>, int64_t>& counts, int64_t units) {
  Spread spread{.units = units};
  double sum = 0, squares = 0;
  for (const auto& [unit, count] : counts) {
    sum += static_cast<double>(count);
    squares += static_cast<double>(count) * static_cast<double>(count);
    spread.most = std::max(spread.most, count);
  }
  if (units == 0) return spread;
  const auto n = static_cast<double>(units);
  spread.mean = sum / n;
  if (units < 2 || sum == 0) return spread;
  const double variance = (squares - n * spread.mean * spread.mean) / (n - 1);
  spread.dispersion = variance / spread.mean;
  if (variance > spread.mean) spread.clustering = spread.mean * spread.mean / (variance - spread.mean);
  return spread;
}

}  // namespace

std::vector<MemorySummary> Summarize(const FaultLists& lists, const MemoryImage& image) {
  std::vector<MemorySummary> summaries;
  for (int m = 0; m < static_cast<int>(image.chip().memories.size()); ++m) {
    const Memory& memory = image.chip().memories[static_cast<size_t>(m)];
    MemorySummary summary{.memory = memory.name, .banks = image.BanksOf(m)};
    for (int a = 0; a < static_cast<int>(image.arrays().size()); ++a) {
      if (image.arrays()[static_cast<size_t>(a)].memory == m) summary.cells += image.FailingCells(a);
    }
    std::map<std::array<int64_t, 3>, int64_t> banks, rows, columns;
    for (const auto& [trial, map] : lists) {
      for (const Fault& fault : map.faults) {
        if (image.arrays()[static_cast<size_t>(fault.bit.array)].memory != m) continue;
        ++summary.faults;
        ++summary.of_kind[static_cast<size_t>(fault.kind)];
        const PhysicalAddress at = image.PhysicalOf(fault.bit);
        const auto number = static_cast<int64_t>(trial);
        ++banks[{number, at.bank, 0}];
        ++rows[{number, at.bank, at.row}];
        ++columns[{number, at.bank, at.column}];
      }
    }
    const auto trials = static_cast<int64_t>(lists.size());
    summary.over_banks = SpreadOf(banks, trials * summary.banks);
    summary.over_rows = SpreadOf(rows, trials * summary.banks * memory.rows_per_bank);
    summary.over_columns = SpreadOf(columns, trials * summary.banks * memory.columns());
    summaries.push_back(std::move(summary));
  }
  return summaries;
}

}  // namespace steadfast::memory
