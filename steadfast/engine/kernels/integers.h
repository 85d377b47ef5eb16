// The arithmetic of TFLite's integer kernels on many numbers at once: fixed-point factors, and their addition. The same
// numbers as the scalar rules (model/requantization.h, model/operators/add.h), in forms that vectors take. Internal to
// the engine.
#pragma once

#include <cstdint>

#include "steadfast/engine/instruction_set.h"  // InstructionSet
#include "steadfast/model/operators/add.h"     // IntegerAdd

namespace steadfast::engine {

// What steps of a result become: clipped, then counted from the zero point.
struct StepRange {
  int32_t least, most;
  int32_t zero_point;
};

struct IntegerKernels {
  // codes[i] of sums[i] + correction (modulo 2^32) by a factor, rounded once or twice; count: a multiple of 16.
  void (*requantize)(const int32_t* sums, int64_t count, int32_t correction, const model::FixedPointScale& scale,
                     bool rounds_twice, const StepRange& range, uint8_t* codes);
  // 64 codes of two inputs with these zero points.
  void (*add_rows)(const uint8_t* a, int32_t zero_a, const uint8_t* b, int32_t zero_b, const model::IntegerAdd& add,
                   const StepRange& range, uint8_t* row);
};

const IntegerKernels& IntegerKernelsOf(InstructionSet set);

}  // namespace steadfast::engine
