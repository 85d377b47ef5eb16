// Which of many units (cells, rows, banks) are hit, each with probability p, independently.
//
// Each unit carries a unit-rate Poisson process and is hit when its first point comes before t = -ln(1 - p). So what
// is hit in a trial at one rate is hit at any higher rate, and p = 1 is every unit.
// The points of a block of units in a slab of time are drawn by exponential gaps; slabs are dyadic, so a rate costs O(p
// N) and rates down to 1e-12 are resolved. The numbers come from Philox keyed by (seed, trial, array, block), never by
// the model: two models with the same layout meet the same faults, whatever the fault kind or the encoding.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "steadfast/base/philox.h"       // PhiloxKey
#include "steadfast/memory/fault_law.h"  // CellFault
#include "steadfast/memory/fault_map.h"  // FaultMap

namespace steadfast::memory {

// Stored with results: the same version, seed and trial give the same faults.
inline constexpr int kSamplerVersion = 1;

// How time is cut: finely, so that a rate costs as much as it hits; or, for the many small maps of single images, so
// that there are few slabs. The two give different faults.
enum class Slabs { kFine, kFew };

// BitAddress::array is the place in `arrays`. trial: 0 to 2^32 - 1. rate: faults per cell, in [0, 1]; throws UsageError
// outside.
FaultMap SampleFaults(PhiloxKey key, uint64_t trial, std::span<const SampledArray> arrays, double rate,
                      const CellFault& fault, Slabs slabs = Slabs::kFine);

// What random numbers are for: they are told apart in the counter.
enum class Stream : uint32_t {
  kCells = 0,
  kStuckValues = 1,
  kRows = 2,
  kColumns = 3,
  kWords = 4,
  kBanks = 5,
  kBursts = 6,
  kBurstLengths = 7,
  kClusters = 8,
  kClusterFactors = 9,
  kLevels = 10,
  kExactly = 11,
  kTable = 12,
};

// When a unit that is hit with this probability is: t = -ln(1 - p); infinity for 1. Throws UsageError outside [0, 1].
double TimeOf(double rate);

// The units of a group (an array, a memory) that are hit before `until`, in ascending order. group: below 65,536.
std::vector<int64_t> HitUnits(PhiloxKey key, uint32_t trial, Stream stream, uint32_t group, int64_t units, double until,
                              Slabs slabs = Slabs::kFine);

// The units of a part of a group (a region of a memory) that are hit, where each part has a time of its own. part:
// below 2^32; units: of the part.
std::vector<int64_t> HitUnitsOfPart(PhiloxKey key, uint32_t trial, Stream stream, uint32_t group, uint32_t part,
                                    int64_t units, double until);

// One random number of a unit, in (0, 1). draw: below 2^8, which of several.
double DrawOf(PhiloxKey key, uint32_t trial, Stream stream, uint32_t group, int64_t unit, uint32_t draw = 0);

// The fault of a faulty cell of an array of this number, or nothing.
std::optional<FaultKind> KindAt(PhiloxKey key, uint32_t trial, uint32_t array, int64_t cell, const CellFault& fault);

// A trial's number as random numbers take it; throws UsageError where it is too large.
uint32_t TrialWord(uint64_t trial);

}  // namespace steadfast::memory
