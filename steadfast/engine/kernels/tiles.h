// What the kernels with AMX tiles share: 8 tiles of 16 rows of 64 bytes, as ConfigureTiles of amx.cpp sets them up.
// Internal to the kernels.
#pragma once

#include <immintrin.h>

#include "steadfast/engine/kernels/loops.h"  // STEADFAST_INLINE

#define STEADFAST_AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8")))

namespace steadfast::engine {
namespace {

constexpr int kTileRows = 16, kTileBytes = 64;

// g++ 12 does not know that tile loads and stores read and write memory.
STEADFAST_INLINE void MemoryBarrier() {
  asm volatile("" ::: "memory");
}

}  // namespace
}  // namespace steadfast::engine
