/* Elements of what memory holds. Any pattern of bits is allowed there. */
#include "steadfast_device.h"

typedef union {
  uint32_t bits;
  float real;
} word;

uint32_t steadfast_bits(const steadfast_parameter *parameter, int32_t element) {
  const uint32_t index = (uint32_t)element;
  if (parameter->bits == 32) return parameter->words[index];
  if (parameter->bits == 8) return parameter->words[index >> 2] >> (index & 3u) * 8u & 0xFFu;
  {
    const uint32_t bits = parameter->bits, a_word = 32u / bits;
    const uint32_t place = index / a_word;
    return parameter->words[place] >> (index - place * a_word) * bits & (((uint32_t)1 << bits) - 1u);
  }
}

int32_t steadfast_level(const steadfast_parameter *parameter, int32_t element) {
  const uint32_t pattern = steadfast_bits(parameter, element);
  int32_t code = (int32_t)pattern;
  if (parameter->is_signed && (pattern >> (parameter->bits - 1) & 1u) != 0) code -= (int32_t)1 << parameter->bits;
  return parameter->multiplier * code + parameter->offset;
}

int32_t steadfast_integer(const steadfast_parameter *parameter, int32_t element) {
  const uint32_t pattern = steadfast_bits(parameter, element);
  return pattern <= 0x7FFFFFFFu ? (int32_t)pattern : -(int32_t)(0xFFFFFFFFu - pattern) - 1;
}

float steadfast_real(const steadfast_parameter *parameter, int32_t element) {
  const uint32_t pattern = steadfast_bits(parameter, element);
  word result;
  result.bits = pattern;
  if (parameter->kind == STEADFAST_BFLOAT16) result.bits = pattern << 16;
  if (parameter->kind == STEADFAST_FLOAT16) {
    const uint32_t sign = (pattern & 0x8000u) << 16, exponent = pattern >> 10 & 31u, fraction = pattern & 0x3FFu;
    if (exponent == 0) {
      const float magnitude = (float)fraction * 5.9604644775390625e-8f; /* 2^-24 */
      return sign != 0 ? -magnitude : magnitude;
    }
    result.bits = sign | (exponent == 31u ? 0x7F800000u : (exponent + 112u) << 23) | fraction << 13;
  }
  return result.real;
}
