#include "steadfast/memory/fault_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "steadfast/base/elementary.h"  // PortableLog
#include "steadfast/base/error.h"

namespace steadfast::memory {
namespace {

constexpr int64_t kBlockCells = int64_t{1} << 20;
constexpr int kLowestExponent = -44;  // slab 0 is [0, 2^-44), slab k is [2^(k-45), 2^(k-44))
constexpr int kLastSlab = 60;         // reaches t = 2^16; -ln(1 - p) of a double below 1 is under 37

// Streams of random numbers, told apart in the counter.
constexpr uint32_t kPositions = 0;
constexpr uint32_t kStuckValues = 1;

double SlabStart(int slab) {
  double start = 1.0;
  if (slab == 0) return 0.0;
  for (int exponent = kLowestExponent + slab - 1; exponent < 0; ++exponent) start *= 0.5;
  for (int exponent = 0; exponent < kLowestExponent + slab - 1; ++exponent) start *= 2.0;
  return start;
}

double SlabLength(int slab) {
  return slab == 0 ? SlabStart(1) : SlabStart(slab);
}

struct Block {
  uint32_t array;
  uint32_t index;
  int64_t first_cell;
  int64_t cells;
};

// Appends the cells of a block with a point in the slab before time `until`.
void DrawSlab(PhiloxKey key, uint32_t trial, const Block& block, int slab, double until, std::vector<int64_t>& hit) {
  const double start = SlabStart(slab), length = SlabLength(slab);
  const auto end = static_cast<double>(block.cells);
  // Position along the block's cells laid end to end, each `length` long; in units of cells.
  double position = 0.0;
  for (uint32_t draw = 0;; ++draw) {
    const auto random =
        Philox4x32({draw, block.index, trial, block.array << 16 | static_cast<uint32_t>(slab) << 8 | kPositions}, key);
    for (int half = 0; half < 2; ++half) {
      const double unit = OpenUnit(random[static_cast<size_t>(2 * half)], random[static_cast<size_t>(2 * half + 1)]);
      position += -PortableLog(unit) / length;
      if (!(position < end)) return;
      const auto cell = static_cast<int64_t>(position);
      const double time = start + (position - static_cast<double>(cell)) * length;
      if (time < until) hit.push_back(block.first_cell + cell);
    }
  }
}

std::optional<FaultKind> KindAt(PhiloxKey key, uint32_t trial, uint32_t array, int64_t cell, const FaultModel& model) {
  double draw = 0.0;
  if (model.law->draws) {
    const auto random = Philox4x32(
        {static_cast<uint32_t>(cell), static_cast<uint32_t>(cell >> 32), trial, array << 16 | kStuckValues}, key);
    draw = OpenUnit(random[0], random[1]);
  }
  return model.law->kind(model.parameters, draw);
}

}  // namespace

FaultMap SampleFaults(PhiloxKey key, uint64_t trial, std::span<const SampledArray> arrays, double rate,
                      const FaultModel& model) {
  if (!(rate >= 0.0 && rate <= 1.0)) throw UsageError(fmt::format("fault rate: {}, expected 0 to 1", rate));
  if (trial > std::numeric_limits<uint32_t>::max())
    throw UsageError(fmt::format("trial number {}, expected below 2^32", trial));
  for (const SampledArray& array : arrays) {
    if (array.number >= 65536) throw UsageError("a memory array has a number over 65535, which is not sampled");
  }
  const auto trial_word = static_cast<uint32_t>(trial);
  const double until = rate < 1.0 ? -PortableLog1p(-rate) : std::numeric_limits<double>::infinity();
  FaultMap map;
  std::vector<int64_t> hit;
  for (size_t place = 0; place < arrays.size(); ++place) {
    const auto [array, cells] = arrays[place];
    for (int64_t first = 0; first < cells; first += kBlockCells) {
      const Block block{array, static_cast<uint32_t>(first / kBlockCells), first, std::min(kBlockCells, cells - first)};
      hit.clear();
      if (rate >= 1.0) {
        for (int64_t cell = 0; cell < block.cells; ++cell) hit.push_back(first + cell);
      } else {
        for (int slab = 0; slab <= kLastSlab && SlabStart(slab) < until; ++slab) {
          DrawSlab(key, trial_word, block, slab, until, hit);
        }
        std::sort(hit.begin(), hit.end());
        hit.erase(std::unique(hit.begin(), hit.end()), hit.end());
      }
      for (int64_t cell : hit) {
        const auto kind = KindAt(key, trial_word, array, cell, model);
        if (kind) map.faults.push_back({{static_cast<int>(place), cell}, *kind});
      }
    }
  }
  return map;
}

}  // namespace steadfast::memory
