/* The product of two values, element by element; the second may have one element a channel. */
#include "steadfast_device.h"

void steadfast_multiply(const steadfast_multiplication *multiply, const uint8_t *a, const uint8_t *b, uint8_t *codes) {
  const steadfast_range *range = &multiply->range;
  int32_t i;
  for (i = 0; i < multiply->elements; ++i) {
    const int32_t level_a = a[i] - multiply->zero_a, level_b = b[i / multiply->sharing] - multiply->zero_b;
    if (multiply->rule == STEADFAST_MULTIPLY_LEVELS) {
      codes[i] = steadfast_code_of((float)(level_a * level_b) * multiply->factor, range);
    } else if (multiply->rule == STEADFAST_MULTIPLY_FIXED) {
      const int32_t steps = steadfast_rounded_twice(level_a * level_b, multiply->fixed);
      codes[i] = steadfast_clipped((int64_t)steps + range->zero_point, range);
    } else {
      const float real_a = (float)level_a * multiply->scale_a, real_b = (float)level_b * multiply->scale_b;
      const float product = real_a * real_b;
      const float steps = product / range->scale;
      codes[i] = multiply->rule == STEADFAST_MULTIPLY_REAL ? steadfast_code_of(steps, range)
                                                           : steadfast_code_with_zero(steps, range);
    }
  }
}
