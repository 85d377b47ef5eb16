#include "steadfast/memory/fault_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "steadfast/base/elementary.h"  // PortableLog
#include "steadfast/base/error.h"

namespace steadfast::memory {
namespace {

constexpr int64_t kBlockCells = int64_t{1} << 20;
constexpr int kLowestExponent = -44;  // slab 0 is [0, 2^-44), slab k is [2^(k-45), 2^(k-44))
constexpr int kLastSlab = 60;         // reaches t = 2^16; -ln(1 - p) of a double below 1 is under 37

double SlabStart(int slab) {
  double start = 1.0;
  if (slab == 0) return 0.0;
  for (int exponent = kLowestExponent + slab - 1; exponent < 0; ++exponent) start *= 0.5;
  for (int exponent = 0; exponent < kLowestExponent + slab - 1; ++exponent) start *= 2.0;
  return start;
}

struct Block {
  uint32_t group;
  uint32_t index;
  int64_t first;
  int64_t units;
  Stream stream;
  int first_slab = 0;  // reaches from time 0 to where the next begins
};

// Appends the units of a block with a point in the slab before time `until`.
void DrawSlab(PhiloxKey key, uint32_t trial, const Block& block, int slab, double until, std::vector<int64_t>& hit) {
  const bool is_first = slab == block.first_slab;
  const double start = is_first ? 0.0 : SlabStart(slab), length = is_first ? SlabStart(slab + 1) : SlabStart(slab);
  const auto end = static_cast<double>(block.units);
  // Position along the block's units laid end to end, each `length` long; in units.
  double position = 0.0;
  for (uint32_t draw = 0;; ++draw) {
    const auto random =
        Philox4x32({draw, block.index, trial,
                    block.group << 16 | static_cast<uint32_t>(slab) << 8 | static_cast<uint32_t>(block.stream)},
                   key);
    for (int half = 0; half < 2; ++half) {
      const double unit = OpenUnit(random[static_cast<size_t>(2 * half)], random[static_cast<size_t>(2 * half + 1)]);
      position += -PortableLog(unit) / length;
      if (!(position < end)) return;
      const auto unit_hit = static_cast<int64_t>(position);
      const double time = start + (position - static_cast<double>(unit_hit)) * length;
      if (time < until) hit.push_back(block.first + unit_hit);
    }
  }
}

// Appends all units of a block that are hit before `until`, in ascending order.
void DrawBlock(PhiloxKey key, uint32_t trial, const Block& block, double until, std::vector<int64_t>& hit) {
  if (until == std::numeric_limits<double>::infinity()) {
    for (int64_t unit = 0; unit < block.units; ++unit) hit.push_back(block.first + unit);
    return;
  }
  const auto first = static_cast<std::ptrdiff_t>(hit.size());
  for (int slab = block.first_slab; slab <= kLastSlab && (slab == block.first_slab || SlabStart(slab) < until); ++slab)
    DrawSlab(key, trial, block, slab, until, hit);
  std::sort(hit.begin() + first, hit.end());
  hit.erase(std::unique(hit.begin() + first, hit.end()), hit.end());
}

void CheckGroup(uint32_t group) {
  if (group >= 65536) throw UsageError("a memory array has a number over 65535, which is not sampled");
}

}  // namespace

uint32_t TrialWord(uint64_t trial) {
  if (trial > std::numeric_limits<uint32_t>::max())
    throw UsageError(fmt::format("trial number {}, expected below 2^32", trial));
  return static_cast<uint32_t>(trial);
}

double TimeOf(double rate) {
  if (!(rate >= 0.0 && rate <= 1.0)) throw UsageError(fmt::format("fault rate: {}, expected 0 to 1", rate));
  return rate < 1.0 ? -PortableLog1p(-rate) : std::numeric_limits<double>::infinity();
}

std::vector<int64_t> HitUnits(PhiloxKey key, uint32_t trial, Stream stream, uint32_t group, int64_t units, double until,
                              Slabs slabs) {
  CheckGroup(group);
  // So long that about one point falls into the first slab.
  const auto length = static_cast<int>(std::bit_width(static_cast<uint64_t>(std::min(units, kBlockCells))));
  const int first_slab = slabs == Slabs::kFine ? 0 : -kLowestExponent - length;
  std::vector<int64_t> hit;
  for (int64_t first = 0; first < units; first += kBlockCells) {
    const auto index = static_cast<uint32_t>(first / kBlockCells);
    DrawBlock(key, trial, {group, index, first, std::min(kBlockCells, units - first), stream, first_slab}, until, hit);
  }
  return hit;
}

std::vector<int64_t> HitUnitsOfPart(PhiloxKey key, uint32_t trial, Stream stream, uint32_t group, uint32_t part,
                                    int64_t units, double until) {
  CheckGroup(group);
  std::vector<int64_t> hit;
  DrawBlock(key, trial, {group, part, 0, units, stream}, until, hit);
  return hit;
}

double DrawOf(PhiloxKey key, uint32_t trial, Stream stream, uint32_t group, int64_t unit, uint32_t draw) {
  const auto random = Philox4x32({static_cast<uint32_t>(unit), static_cast<uint32_t>(unit >> 32), trial,
                                  group << 16 | draw << 8 | static_cast<uint32_t>(stream)},
                                 key);
  return OpenUnit(random[0], random[1]);
}

std::optional<FaultKind> KindAt(PhiloxKey key, uint32_t trial, uint32_t array, int64_t cell, const CellFault& fault) {
  const double draw = fault.law->draws ? DrawOf(key, trial, Stream::kStuckValues, array, cell) : 0.0;
  return fault.law->kind(fault.parameters, draw);
}

FaultMap SampleFaults(PhiloxKey key, uint64_t trial, std::span<const SampledArray> arrays, double rate,
                      const CellFault& fault, Slabs slabs) {
  const double until = TimeOf(rate);
  const uint32_t trial_word = TrialWord(trial);
  FaultMap map;
  for (size_t place = 0; place < arrays.size(); ++place) {
    const auto [array, cells] = arrays[place];
    for (int64_t cell : HitUnits(key, trial_word, Stream::kCells, array, cells, until, slabs)) {
      const auto kind = KindAt(key, trial_word, array, cell, fault);
      if (kind) map.faults.push_back({{static_cast<int>(place), cell}, *kind});
    }
  }
  return map;
}

}  // namespace steadfast::memory
