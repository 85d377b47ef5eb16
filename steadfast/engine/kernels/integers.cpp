#include "steadfast/engine/kernels/integers.h"

#include <algorithm>

#include "steadfast/engine/kernels/loops.h"        // STEADFAST_INLINE
#include "steadfast/engine/kernels/token_parts.h"  // STEADFAST_AVX2 and so on

namespace steadfast::engine {
namespace {

// model::RoundedOnce; half: 1 << (shift - 1).
STEADFAST_INLINE int32_t Once(int32_t number, int64_t multiplier, int64_t half, int shift) {
  return static_cast<int32_t>((int64_t{number} * multiplier + half) >> shift);
}

// model::RoundedTwice: the nudges of gemmlowp, which end in truncation, are the same as half added and a shift.
struct TwiceRounding {
  int64_t multiplier;
  int left, right;
  int64_t half;  // of the second rounding; 0 where there is none
  explicit TwiceRounding(const model::FixedPointScale& scale)
      : multiplier(scale.multiplier),
        left(std::max(scale.shift, 0)),
        right(std::max(-scale.shift, 0)),
        half(right == 0 ? 0 : int64_t{1} << (right - 1)) {}
};
STEADFAST_INLINE int32_t Twice(int32_t number, const TwiceRounding& rounding) {
  const auto shifted = static_cast<int32_t>(static_cast<uint32_t>(number) << rounding.left);
  const int64_t doubled = (int64_t{shifted} * rounding.multiplier + (int64_t{1} << 30)) >> 31;
  const int64_t high = std::min<int64_t>(doubled, 0x7fffffff);
  const int64_t nudge = rounding.half - (rounding.half > 0 && high < 0 ? 1 : 0);
  return static_cast<int32_t>((high + nudge) >> rounding.right);
}

STEADFAST_INLINE uint8_t CodeOfSteps(int32_t steps, const StepRange& range) {
  return static_cast<uint8_t>(std::min(std::max(steps, range.least), range.most) + range.zero_point);
}

STEADFAST_INLINE void RequantizeFixed(const int32_t* sums, int64_t count, int32_t correction,
                                      const model::FixedPointScale& scale, bool rounds_twice, const StepRange& range,
                                      uint8_t* codes) {
  const auto corrected = [&](int64_t i) {
    return static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + static_cast<uint32_t>(correction));
  };
  constexpr int64_t kAtOnce = 16;
  if (rounds_twice) {
    const TwiceRounding rounding(scale);
    for (int64_t first = 0; first < count; first += kAtOnce) {
      for (int64_t i = first; i < first + kAtOnce; ++i) codes[i] = CodeOfSteps(Twice(corrected(i), rounding), range);
    }
    return;
  }
  const int shift = 31 - scale.shift;
  const int64_t multiplier = scale.multiplier, half = int64_t{1} << (shift - 1);
  for (int64_t first = 0; first < count; first += kAtOnce) {
    for (int64_t i = first; i < first + kAtOnce; ++i)
      codes[i] = CodeOfSteps(Once(corrected(i), multiplier, half, shift), range);
  }
}

STEADFAST_INLINE void AddRowsOfIntegers(const uint8_t* a, int32_t zero_a, const uint8_t* b, int32_t zero_b,
                                        const model::IntegerAdd& add, const StepRange& range, uint8_t* row) {
  if (!add.rounds_twice) {
    const int32_t factor_a = add.a, factor_b = add.b, half = int32_t{1} << (add.shift - 1);
    const int shift = add.shift;
    for (int i = 0; i < kRowBytes; ++i)
      row[i] = CodeOfSteps(((a[i] - zero_a) * factor_a + (b[i] - zero_b) * factor_b + half) >> shift, range);
    return;
  }
  const TwiceRounding of_a(add.of_a), of_b(add.of_b), of_sum(add.of_sum);
  for (int i = 0; i < kRowBytes; ++i) {
    const auto sum = static_cast<uint32_t>(Twice((a[i] - zero_a) * (1 << 20), of_a)) +
                     static_cast<uint32_t>(Twice((b[i] - zero_b) * (1 << 20), of_b));
    row[i] = CodeOfSteps(Twice(static_cast<int32_t>(sum), of_sum), range);
  }
}

#define STEADFAST_INTEGER_KERNELS(NAME, TARGET)                                                                   \
  struct NAME {                                                                                                   \
    TARGET static void Requantize(const int32_t* sums, int64_t count, int32_t correction,                         \
                                  const model::FixedPointScale& scale, bool rounds_twice, const StepRange& range, \
                                  uint8_t* codes) {                                                               \
      RequantizeFixed(sums, count, correction, scale, rounds_twice, range, codes);                                \
    }                                                                                                             \
    TARGET static void AddRows(const uint8_t* a, int32_t zero_a, const uint8_t* b, int32_t zero_b,                \
                               const model::IntegerAdd& add, const StepRange& range, uint8_t* row) {              \
      AddRowsOfIntegers(a, zero_a, b, zero_b, add, range, row);                                                   \
    }                                                                                                             \
    static constexpr IntegerKernels kKernels = {Requantize, AddRows};                                             \
  };

STEADFAST_INTEGER_KERNELS(PlainIntegers, )
#if defined(__x86_64__)
STEADFAST_INTEGER_KERNELS(Avx2Integers, STEADFAST_AVX2)
STEADFAST_INTEGER_KERNELS(Avx512Integers, STEADFAST_AVX512)
#endif

}  // namespace

const IntegerKernels& IntegerKernelsOf(InstructionSet set) {
#if defined(__x86_64__)
  if (set == InstructionSet::kAmx || set == InstructionSet::kAvx512Vnni || set == InstructionSet::kAvx512)
    return Avx512Integers::kKernels;
  if (set == InstructionSet::kAvx2 || set == InstructionSet::kAvxVnni) return Avx2Integers::kKernels;
#endif
  (void)set;
  return PlainIntegers::kKernels;
}

}  // namespace steadfast::engine
