/* From sums and real numbers to codes. */
#include "steadfast_device.h"

typedef union {
  uint64_t bits;
  double real;
} double_word;

/* Shifts of negative numbers, which C99 leaves to compilers: towards minus infinity. */
static int64_t shifted(int64_t number, int32_t shift) {
  return number >= 0 ? number >> shift : ~(~number >> shift);
}

static int32_t signed_of(uint32_t pattern) {
  return pattern <= 0x7FFFFFFFu ? (int32_t)pattern : -(int32_t)(0xFFFFFFFFu - pattern) - 1;
}

steadfast_fixed steadfast_fixed_of(double factor) {
  const int32_t largest = 0x7FFFFFFF;
  steadfast_fixed result = {0, 0};
  double_word word;
  int32_t exponent;
  int64_t multiplier;
  int is_negative;
  word.real = factor;
  is_negative = (word.bits >> 63) != 0;
  exponent = (int32_t)(word.bits >> 52 & 0x7FFu) - 1022;
  if (factor != factor) return result;
  /* The fraction, of 53 bits, to 31 bits, half away from zero. */
  multiplier = (int64_t)(((word.bits & 0xFFFFFFFFFFFFFu) + 0x10000000000000u + 0x200000u) >> 22);
  if (multiplier == (int64_t)1 << 31) {
    multiplier /= 2;
    ++exponent;
  }
  if (exponent < -31) return result;
  if (exponent > 30) {
    multiplier = largest;
    exponent = 30;
  }
  result.multiplier = (int32_t)(is_negative ? -multiplier : multiplier);
  result.shift = exponent;
  return result;
}

int32_t steadfast_rounded_once(int32_t number, steadfast_fixed scale) {
  const int32_t shift = 31 - scale.shift;
  return (int32_t)shifted((int64_t)number * scale.multiplier + ((int64_t)1 << (shift - 1)), shift);
}

static int32_t rounded_shift(int32_t number, int32_t shift) {
  const int32_t mask = (int32_t)(((int64_t)1 << shift) - 1);
  const int32_t whole = (int32_t)shifted(number, shift);
  const int32_t remainder = (int32_t)((uint32_t)number & (uint32_t)mask);
  return whole + (remainder > (mask >> 1) + (number < 0 ? 1 : 0) ? 1 : 0);
}

int32_t steadfast_rounded_twice(int32_t number, steadfast_fixed scale) {
  const int32_t left = scale.shift > 0 ? scale.shift : 0, right = scale.shift < 0 ? -scale.shift : 0;
  const int64_t product = (int64_t)signed_of((uint32_t)number << left) * scale.multiplier;
  const int64_t half = (int64_t)1 << 30;
  const int64_t doubled = (product + (product >= 0 ? half : 1 - half)) / ((int64_t)1 << 31);
  return rounded_shift((int32_t)(doubled < 0x7FFFFFFF ? doubled : 0x7FFFFFFF), right);
}

/* To the nearest whole number, half to even; |x| < 2^22. */
static int32_t nearest(float x) {
  const float magic = 12582912.0f; /* 1.5 * 2^23 */
  const float sum = x + magic;
  return (int32_t)(sum - magic);
}

uint8_t steadfast_clipped(int64_t code, const steadfast_range *range) {
  if (code < range->lowest) code = range->lowest;
  if (code > range->highest) code = range->highest;
  return (uint8_t)(code < range->zero_below ? range->lowest : code);
}

float steadfast_real_of(int32_t sum, const steadfast_factor *factor) {
  const float product = (float)sum * factor->scale;
  const float quotient = product / factor->divisor;
  return quotient + factor->offset;
}

uint8_t steadfast_requantize(int32_t sum, const steadfast_factor *factor, const steadfast_range *range) {
  const float lowest = (float)(range->lowest - range->zero_point), highest = (float)(range->highest - range->zero_point);
  float steps;
  if (factor->rule >= STEADFAST_ONCE) {
    const int32_t whole = factor->rule >= STEADFAST_TWICE ? steadfast_rounded_twice(sum, factor->fixed)
                                                          : steadfast_rounded_once(sum, factor->fixed);
    const int64_t code = (int64_t)whole + range->zero_point;
    return (uint8_t)(code < range->lowest ? range->lowest : code > range->highest ? range->highest : code);
  }
  steps = steadfast_real_of(sum, factor);
  if (!(steps > lowest)) steps = lowest; /* also what is not a number */
  if (!(steps < highest)) steps = highest;
  return steadfast_clipped(nearest(steps) + range->zero_point, range);
}

static int32_t whole_of(float steps) {
  if (!(steps > -1024.0f)) steps = -1024.0f;
  if (!(steps < 1024.0f)) steps = 1024.0f;
  return nearest(steps);
}

uint8_t steadfast_code_of(float steps, const steadfast_range *range) {
  return steadfast_clipped(whole_of(steps) + range->zero_point, range);
}

uint8_t steadfast_code_with_zero(float steps, const steadfast_range *range) {
  const float zero = (float)(range->zero_point + range->stored_offset);
  return steadfast_clipped(whole_of(steps + zero) - range->stored_offset, range);
}

/* Bit by bit: the largest root of 54 bits whose square is no more than the fraction, then rounded. */
double steadfast_root(double x) {
  double_word word;
  uint64_t fraction, root = 0, rest = 0;
  int32_t exponent, i;
  word.real = x;
  if (x != x || x == 0) return x;
  if (x < 0) return (x - x) / (x - x);
  exponent = (int32_t)(word.bits >> 52);
  fraction = word.bits & 0xFFFFFFFFFFFFFu;
  if (exponent == 0x7FF) return x;
  if (exponent == 0) {
    exponent = 1;
    while (fraction < 0x10000000000000u) {
      fraction <<= 1;
      --exponent;
    }
  } else {
    fraction += 0x10000000000000u;
  }
  exponent -= 1023; /* x = fraction * 2^(exponent - 52) */
  if ((exponent & 1) != 0) {
    fraction <<= 1;
    --exponent;
  }
  /* sqrt(fraction * 2^54) has 54 bits: 27 digits of two bits of the fraction, and 27 of zeros. */
  for (i = 0; i < 54; ++i) {
    const uint64_t digit = i < 27 ? fraction >> (52 - 2 * i) & 3u : 0;
    rest = rest << 2 | digit;
    root <<= 1;
    if (rest >= 2 * root + 1) {
      rest -= 2 * root + 1;
      ++root;
    }
  }
  /* 53 bits and one to round by; a root of 53 bits is never midway unless it is exact. */
  root = (root >> 1) + (root & 1u);
  word.bits = ((uint64_t)(exponent / 2 + 1023) << 52) + (root - 0x10000000000000u);
  return word.real;
}
