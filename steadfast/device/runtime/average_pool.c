/* Means over windows, or over all positions. */
#include "steadfast_device.h"

static uint8_t code_of(const steadfast_mean *mean, int32_t sum, int32_t count, float real_sum) {
  const steadfast_range *range = &mean->range;
  switch (mean->rule) {
    case STEADFAST_MEAN_LEVELS:
      return steadfast_requantize(sum, &mean->factor, range);
    case STEADFAST_MEAN_REAL: {
      const float average = real_sum / (float)mean->count;
      return steadfast_code_with_zero(average / range->scale, range);
    }
    case STEADFAST_MEAN_CODES: {
      const int32_t stored = sum + count * range->stored_offset;
      const int32_t rounded = stored > 0 ? (stored + count / 2) / count : (stored - count / 2) / count;
      return steadfast_clipped((int64_t)rounded - range->stored_offset, range);
    }
    case STEADFAST_MEAN_FLOAT: {
      const float product = (float)(sum + count * mean->input_offset) * mean->factor.scale;
      steadfast_range whole = *range;
      whole.zero_point = (int16_t)-range->stored_offset;
      return steadfast_code_of(product + mean->factor.offset, &whole);
    }
    default: {
      const int32_t stored = sum + count * mean->input_offset - mean->less;
      return steadfast_clipped((int64_t)steadfast_rounded_twice(stored, mean->fixed) + mean->bias - range->stored_offset,
                               range);
    }
  }
}

void steadfast_average_pool(const steadfast_mean *mean, const uint8_t *input, uint8_t *codes) {
  const steadfast_window *window = &mean->window;
  const steadfast_shape *in = &mean->in, *out = &mean->out;
  /* Sums of levels; of all others, of codes. */
  const int32_t zero = mean->rule == STEADFAST_MEAN_LEVELS || mean->rule == STEADFAST_MEAN_REAL ? mean->input_zero : 0;
  int32_t c, oy, ox, ky, kx;
  for (c = 0; c < out->channels; ++c, input += in->height * in->width) {
    for (oy = 0; oy < out->height; ++oy) {
      for (ox = 0; ox < out->width; ++ox) {
        int32_t sum = 0, count = 0;
        float real_sum = 0;
        for (ky = 0; ky < window->kernel_h; ++ky) {
          const int32_t y = oy * window->stride_h - window->pad_top + ky;
          if (y < 0 || y >= in->height) continue;
          for (kx = 0; kx < window->kernel_w; ++kx) {
            const int32_t x = ox * window->stride_w - window->pad_left + kx;
            if (x < 0 || x >= in->width) continue;
            sum += input[y * in->width + x] - zero;
            ++count;
            if (mean->rule == STEADFAST_MEAN_REAL) {
              const float real = (float)(input[y * in->width + x] - zero) * mean->scale;
              real_sum = real_sum + real;
            }
          }
        }
        *codes++ = code_of(mean, sum, count, real_sum);
      }
    }
  }
}
