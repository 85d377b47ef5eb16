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

#include "steadfast/base/philox.h"       // PhiloxKey
#include "steadfast/memory/fault_law.h"  // FaultModel
#include "steadfast/memory/fault_map.h"  // FaultMap

namespace steadfast::memory {

// Stored with results: the same version, seed and trial give the same faults.
inline constexpr int kSamplerVersion = 1;

// BitAddress::array is the place in `arrays`. trial: 0 to 2^32 - 1. rate: faults per cell, in [0, 1]; throws UsageError
// outside.
FaultMap SampleFaults(PhiloxKey key, uint64_t trial, std::span<const SampledArray> arrays, double rate,
                      const FaultModel& model);

}  // namespace steadfast::memory
