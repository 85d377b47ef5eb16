// The inner loops of the dense path, one set for each instruction set. Internal to the engine.
//
// A "row" is the codes of one element for the 64 images of a block: 64 bytes. A "quad" is 4 rows interleaved so that
// the 4 codes of an image lie side by side: 256 bytes. Sums are 64 int32 in the kernel set's own order of images.
#pragma once

#include <array>
#include <cstdint>

#include "steadfast/engine/dense.h"  // InstructionSet, kBlockImages

namespace steadfast::engine {

inline constexpr int kRowBytes = 64;
inline constexpr int kQuadBytes = 256;
inline constexpr int kOutputsPerCall = 6;  // 6 x 4 vector registers of sums

struct RequantizeConstants {
  float scale;
  float offset;
  float lowest;
  float highest;
  int zero_below;
};

struct DenseKernels {
  // Interleaves 4 rows into a quad.
  void (*make_quad)(const uint8_t* const rows[4], uint8_t* quad);

  // sums[o][lane] = sum over taps of the 4-way product of base[offsets[t]] with weights[t * outputs + o], for
  // o < outputs <= kOutputsPerCall. Sums wrap modulo 2^32.
  void (*products)(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights, int outputs,
                   int32_t* sums);

  // into[lane] = max(into[lane], sums[lane]) for `count` sums.
  void (*maximum)(const int32_t* sums, int32_t* into, int count);

  // One row of codes from 64 sums, to which `correction` is added first.
  void (*requantize)(const int32_t* sums, int32_t correction, const RequantizeConstants& constants, uint8_t* row);

  // row = max(row, other)
  void (*maximum_rows)(const uint8_t* other, uint8_t* row);

  // lane_of_image[i]: where image i stands among 64 sums.
  std::array<uint8_t, kBlockImages> lane_of_image;
};

const DenseKernels& KernelsOf(InstructionSet set);

}  // namespace steadfast::engine
