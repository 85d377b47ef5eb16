// Windows that slide over rows and columns: convolutions and pooling. Internal to the operators.
#pragma once

#include <cstdint>
#include <string_view>

#include "steadfast/model/quantized_model.h"  // ValueShape, Window

namespace steadfast::model {

// What a window makes of an input. Throw InputError where it does not fit.
ValueShape WindowShape(std::string_view where, const ValueShape& input, const Window& window, int64_t channels);
ValueShape PooledShape(std::string_view where, const ValueShape& input, const Window& window);

// Calls position(elements) for each position of the window, row by row; elements(visit) calls visit(index into the
// channel) for each element under it that is not padding.
template <typename Position>
void ForEachWindow(const ValueShape& in, const ValueShape& out, const Window& window, const Position& position) {
  for (int64_t oy = 0; oy < out.height; ++oy) {
    for (int64_t ox = 0; ox < out.width; ++ox) {
      position([&](const auto& visit) {
        for (int64_t ky = 0; ky < window.kernel_h; ++ky) {
          const int64_t y = oy * window.stride_h - window.pad_top + ky * window.dilation_h;
          if (y < 0 || y >= in.height) continue;
          for (int64_t kx = 0; kx < window.kernel_w; ++kx) {
            const int64_t x = ox * window.stride_w - window.pad_left + kx * window.dilation_w;
            if (x >= 0 && x < in.width) visit(y * in.width + x);
          }
        }
      });
    }
  }
}

}  // namespace steadfast::model
