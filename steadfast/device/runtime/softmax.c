/* Softmax over channels, at each position, in each group. */
#include "steadfast_device.h"

static float floor_of(float x) { /* |x| < 2^23 */
  const int32_t whole = (int32_t)x;
  const float back = (float)whole;
  return back > x ? back - 1.0f : back;
}

static void one(const steadfast_softmax *softmax, const uint8_t *input, uint8_t *codes) {
  const int32_t positions = softmax->positions;
  const steadfast_range *range = &softmax->range;
  int32_t i, best = input[0], sum = 0;
  float real_sum = 0, inverse, of_one;
  for (i = 1; i < softmax->terms; ++i) {
    const int32_t code = input[i * positions];
    if (softmax->falls ? code < best : code > best) best = code;
  }
  for (i = 0; i < softmax->terms; ++i) {
    const int32_t distance = softmax->falls ? input[i * positions] - best : best - input[i * positions];
    if (softmax->rule == STEADFAST_SOFTMAX)
      sum += softmax->integers[distance];
    else
      real_sum = real_sum + softmax->floats[distance];
  }
  inverse = softmax->rule == STEADFAST_SOFTMAX ? (float)(1.0 / ((double)sum * (double)range->scale))
                                               : 1.0f / (real_sum * (1.0f / 256));
  of_one = 1.0f / range->scale;
  of_one = of_one < 8388608.0f ? floor_of(of_one) : of_one; /* from there on floats are whole */
  for (i = 0; i < softmax->terms; ++i) {
    const int32_t distance = softmax->falls ? input[i * positions] - best : best - input[i * positions];
    if (softmax->rule == STEADFAST_SOFTMAX) {
      const float steps = (float)softmax->integers[distance] * inverse;
      codes[i * positions] = steadfast_code_of(steps, range);
    } else if (softmax->rule == STEADFAST_SOFTMAX_ORT) {
      const float steps = softmax->floats[distance] * of_one;
      codes[i * positions] = steadfast_code_of(steps / real_sum, range);
    } else {
      const float product = softmax->floats[distance] * inverse;
      const float steps = product + 0.5f;
      codes[i * positions] = (uint8_t)(!(steps > 0) ? 0 : steps >= 255.0f ? 255 : (int32_t)steps);
    }
  }
}

void steadfast_apply_softmax(const steadfast_softmax *softmax, const uint8_t *input, uint8_t *codes) {
  int32_t g, p;
  for (g = 0; g < softmax->groups; ++g) {
    for (p = 0; p < softmax->positions; ++p) {
      const int32_t first = g * softmax->terms * softmax->positions + p;
      one(softmax, input + first, codes + first);
    }
  }
}
