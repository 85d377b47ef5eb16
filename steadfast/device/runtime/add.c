/* The sum of two values of one shape. */
#include "steadfast_device.h"

static uint32_t shifted_up(int32_t level) {
  return (uint32_t)level << 20;
}

static int32_t signed_of(uint32_t pattern) {
  return pattern <= 0x7FFFFFFFu ? (int32_t)pattern : -(int32_t)(0xFFFFFFFFu - pattern) - 1;
}

void steadfast_add(const steadfast_addition *add, const uint8_t *a, const uint8_t *b, uint8_t *codes) {
  int32_t i;
  for (i = 0; i < add->elements; ++i) {
    const int32_t level_a = a[i] - add->zero_a, level_b = b[i] - add->zero_b;
    if (add->rule == STEADFAST_ADD_INTEGER) {
      const int32_t sum = level_a * add->a + level_b * add->b + ((int32_t)1 << (add->shift - 1));
      const int32_t steps = sum >= 0 ? sum >> add->shift : ~(~sum >> add->shift);
      codes[i] = steadfast_clipped((int64_t)steps + add->range.zero_point, &add->range);
    } else if (add->rule == STEADFAST_ADD_FIXED) {
      const uint32_t sum = (uint32_t)steadfast_rounded_twice(signed_of(shifted_up(level_a)), add->of_a) +
                           (uint32_t)steadfast_rounded_twice(signed_of(shifted_up(level_b)), add->of_b);
      const int32_t steps = steadfast_rounded_twice(signed_of(sum), add->of_sum);
      codes[i] = steadfast_clipped((int64_t)steps + add->range.zero_point, &add->range);
    } else {
      const float real_a = (float)level_a * add->scale_a, real_b = (float)level_b * add->scale_b;
      const float sum = real_a + real_b;
      const float steps = sum / add->range.scale;
      codes[i] = add->rule == STEADFAST_ADD_REAL ? steadfast_code_of(steps, &add->range)
                                                 : steadfast_code_with_zero(steps, &add->range);
    }
  }
}
