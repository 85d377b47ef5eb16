#include "steadfast/memory/fault_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "steadfast/base/elementary.h"  // PortableLog
#include "steadfast/base/error.h"
#include "steadfast/base/text.h"  // ParseDouble

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

FaultKind KindAt(PhiloxKey key, uint32_t trial, BitAddress bit, const FaultModel& model) {
  switch (model.law) {
    case FaultLaw::kFlip:
      return FaultKind::kFlip;
    case FaultLaw::kStuckAt0:
      return FaultKind::kStuckAt0;
    case FaultLaw::kStuckAt1:
      return FaultKind::kStuckAt1;
    case FaultLaw::kMixed:
      break;
  }
  const auto random = Philox4x32({static_cast<uint32_t>(bit.cell), static_cast<uint32_t>(bit.cell >> 32), trial,
                                  static_cast<uint32_t>(bit.array) << 16 | kStuckValues},
                                 key);
  return OpenUnit(random[0], random[1]) < model.stuck_at_1 ? FaultKind::kStuckAt1 : FaultKind::kStuckAt0;
}

}  // namespace

std::string NameOf(const FaultModel& model) {
  switch (model.law) {
    case FaultLaw::kFlip:
      return "flip";
    case FaultLaw::kStuckAt0:
      return "sa0";
    case FaultLaw::kStuckAt1:
      return "sa1";
    case FaultLaw::kMixed:
      return fmt::format("mixed:{}", FormatShortest(model.stuck_at_1));
  }
  return "?";
}

FaultModel ParseFaultModel(std::string_view text) {
  if (text == "flip") return {FaultLaw::kFlip};
  if (text == "sa0") return {FaultLaw::kStuckAt0};
  if (text == "sa1") return {FaultLaw::kStuckAt1};
  if (text.starts_with("mixed:")) return {FaultLaw::kMixed, ParseDouble(text.substr(6), "fault mixed:P1", 0.0, 1.0)};
  throw UsageError(fmt::format("fault: '{}' is not one of flip, sa0, sa1, mixed:P1", text));
}

FaultMap SampleFaults(PhiloxKey key, uint64_t trial, std::span<const int64_t> cells, double rate,
                      const FaultModel& model) {
  if (!(rate >= 0.0 && rate <= 1.0)) throw UsageError(fmt::format("fault rate: {}, expected 0 to 1", rate));
  if (trial > std::numeric_limits<uint32_t>::max())
    throw UsageError(fmt::format("trial number {}, expected below 2^32", trial));
  if (cells.size() >= 65536) throw UsageError(fmt::format("{} memory arrays, at most 65535 are sampled", cells.size()));
  const auto trial_word = static_cast<uint32_t>(trial);
  const double until = rate < 1.0 ? -PortableLog1p(-rate) : std::numeric_limits<double>::infinity();
  FaultMap map;
  std::vector<int64_t> hit;
  for (size_t array = 0; array < cells.size(); ++array) {
    for (int64_t first = 0; first < cells[array]; first += kBlockCells) {
      const Block block{static_cast<uint32_t>(array), static_cast<uint32_t>(first / kBlockCells), first,
                        std::min(kBlockCells, cells[array] - first)};
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
        const BitAddress bit{static_cast<int>(array), cell};
        map.faults.push_back({bit, KindAt(key, trial_word, bit, model)});
      }
    }
  }
  return map;
}

}  // namespace steadfast::memory
