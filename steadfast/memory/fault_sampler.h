// Random fault maps: each cell is faulty with probability p, independently.
//
// Each cell carries a unit-rate Poisson process and is faulty when its first point comes before t = -ln(1 - p). So the
// faults of a trial at one rate are a subset of the same trial's faults at any higher rate, and p = 1 is every cell.
// The points of a block of cells in a slab of time are drawn by exponential gaps; slabs are dyadic, so a rate costs O(p
// N) and rates down to 1e-12 are resolved. The numbers come from Philox keyed by (seed, trial, array, block), never by
// the model: two models with the same layout meet the same faults, whatever the fault kind or the encoding.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "steadfast/base/philox.h"       // PhiloxKey
#include "steadfast/memory/fault_map.h"  // FaultMap

namespace steadfast::memory {

// Stored with results: the same version, seed and trial give the same faults.
inline constexpr int kSamplerVersion = 1;

enum class FaultLaw { kFlip, kStuckAt0, kStuckAt1, kMixed };

// What happens to a faulty cell.
struct FaultModel {
  FaultLaw law = FaultLaw::kFlip;
  double stuck_at_1 = 0.0;  // kMixed: the probability that a stuck cell holds 1
  bool operator==(const FaultModel&) const = default;
};

std::string NameOf(const FaultModel& model);        // "flip", "sa0", "sa1", "mixed:0.5"
FaultModel ParseFaultModel(std::string_view text);  // throws UsageError

// cells[a]: cells of array a, fewer than 65,536 arrays. trial: 0 to 2^32 - 1. rate: faults per cell, in [0, 1]; throws
// UsageError outside.
FaultMap SampleFaults(PhiloxKey key, uint64_t trial, std::span<const int64_t> cells, double rate,
                      const FaultModel& model);

}  // namespace steadfast::memory
