// Products, Softmax and layer normalization of tokens.h on a slice's quads (slices.h), and tables of codes: 4 channels
// of 16 images side by side, the quads of a pixel one after the other. Internal to the engine.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "steadfast/engine/buffer.h"
#include "steadfast/engine/instruction_set.h"  // InstructionSet
#include "steadfast/engine/kernels.h"          // QuantizeConstants, RequantizeConstants

namespace steadfast::engine {

// Softmax's exponentials, by distance to the largest code: whole, and byte by byte from the lowest (all are below
// 2^24).
struct ExponentialTable {
  std::array<int32_t, 256> whole;
  std::array<std::array<uint8_t, 256>, 3> bytes;

  explicit ExponentialTable(const std::array<int32_t, 256>& exponentials) : whole(exponentials) {
    for (size_t i = 0; i < 256; ++i) {
      for (size_t b = 0; b < 3; ++b) bytes[b][i] = static_cast<uint8_t>(exponentials[i] >> (8 * b));
    }
  }
};

// Two matrices to be multiplied: left [rows][quads], rows in fours, right [columns][quads] of 4 codes along what is
// summed, and where the result's quads of 4 rows go: output [columns], of which each has rows / 4.
struct QuadProduct {
  std::span<const uint8_t*const> left, right;
  int64_t quads;
  int left_zero_point, right_zero_point;
  RequantizeConstants constants;
  std::span<uint8_t* const> output;
};

struct TokenSliceKernels {
  // Softmax of the codes of `quads` quads. numerators: room for [quads][64].
  void (*softmax)(const uint8_t* input, int64_t quads, const ExponentialTable& exponentials, int32_t* numerators,
                  const QuantizeConstants& constants, uint8_t* output);

  // Layer normalization of such codes. epsilon: model::EpsilonOf.
  void (*normalize)(const uint8_t* input, int64_t quads, int zero_point, double epsilon,
                    const QuantizeConstants& constants, uint8_t* output);

  // memory: room to work in.
  void (*product)(const QuadProduct& product, Buffer<int16_t>& memory);

  // Of the quads of 4 pixels: one for each of their 4 channels, of the 4 pixels.
  void (*transpose)(const uint8_t* const pixels[4], uint8_t* const channels[4]);

  // to[i] = table[codes[i]], i < 64; table: 256 codes.
  void (*look_up)(const uint8_t* table, const uint8_t* codes, uint8_t* to);
};

// with_byte_tables: whether to look codes up in registers (AVX-512 VBMI) where the machine can, which the sets' names
// do not say.
const TokenSliceKernels& TokenSliceKernelsOf(InstructionSet set, bool with_byte_tables = true);

}  // namespace steadfast::engine
