/* The largest code under a window. */
#include "steadfast_device.h"

void steadfast_max_pool(const steadfast_shape *in, const steadfast_shape *out, const steadfast_window *window,
                        const uint8_t *input, uint8_t *codes) {
  int32_t c, oy, ox, ky, kx;
  for (c = 0; c < out->channels; ++c, input += in->height * in->width) {
    for (oy = 0; oy < out->height; ++oy) {
      for (ox = 0; ox < out->width; ++ox) {
        uint8_t best = 0;
        for (ky = 0; ky < window->kernel_h; ++ky) {
          const int32_t y = oy * window->stride_h - window->pad_top + ky * window->dilation_h;
          if (y < 0 || y >= in->height) continue;
          for (kx = 0; kx < window->kernel_w; ++kx) {
            const int32_t x = ox * window->stride_w - window->pad_left + kx * window->dilation_w;
            if (x >= 0 && x < in->width && input[y * in->width + x] > best) best = input[y * in->width + x];
          }
        }
        *codes++ = best;
      }
    }
  }
}
