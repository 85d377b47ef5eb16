// The inner loops of what transformers brought: products of values, softmax, layer normalization, gates. They work on
// rows, for all instruction sets alike; see kernels.h. Internal to the engine.
#pragma once

#include <cstdint>

#include "steadfast/engine/instruction_set.h"  // InstructionSet
#include "steadfast/engine/kernels.h"          // QuantizeConstants, RequantizeConstants

namespace steadfast::engine {

struct TokenKernels {
  // Levels of two rows of a matrix, side by side: [64][2]. Without a second row, 0 beside each.
  void (*pair_rows)(const uint8_t* row, const uint8_t* second, int zero_point, int16_t* pairs);

  // output[m][n][lane] = code of the sum over pairs of left[m] and right[n]. left: [rows][pairs][64][2], right:
  // [columns][pairs][64][2]; output: [rows], of which each is [columns][64].
  void (*product)(const int16_t* left, int64_t rows, const int16_t* right, int64_t columns, int64_t pairs,
                  const RequantizeConstants& constants, uint8_t* const* output);

  // Softmax of `terms` rows, each `stride` bytes behind the one before, in input and output. exponentials: by distance
  // to the largest code. numerators: room for [terms][64].
  void (*softmax)(const uint8_t* input, int64_t terms, int64_t stride, const int32_t* exponentials, int32_t* numerators,
                  const QuantizeConstants& constants, uint8_t* output);

  // Layer normalization of such rows. epsilon: model::EpsilonOf.
  void (*normalize)(const uint8_t* input, int64_t channels, int64_t stride, int zero_point, double epsilon,
                    const QuantizeConstants& constants, uint8_t* output);

  // A row times another.
  void (*multiply_rows)(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b, const OperandConstants& of_b,
                        const QuantizeConstants& constants, uint8_t* row);
};

const TokenKernels& TokenKernelsOf(InstructionSet set);

}  // namespace steadfast::engine
