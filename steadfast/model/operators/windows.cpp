#include "steadfast/model/operators/windows.h"

#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"

namespace steadfast::model {
namespace {

[[noreturn]] void Fail(std::string_view where, const std::string& what) {
  throw InputError(fmt::format("{}: {}", where, what));
}

constexpr int kLargest = 4096;  // kernel, stride, padding or dilation

int64_t WindowOutput(std::string_view where, int64_t input, int kernel, int stride, int before, int after,
                     int dilation) {
  const auto possible = [](int value, int smallest) { return value >= smallest && value <= kLargest; };
  if (!possible(kernel, 1) || !possible(stride, 1) || !possible(before, 0) || !possible(after, 0) ||
      !possible(dilation, 1)) {
    Fail(where, fmt::format("kernel {}, stride {}, padding {} and {}, dilation {} are not possible", kernel, stride,
                            before, after, dilation));
  }
  const int64_t reach = int64_t{dilation} * (kernel - 1) + 1;
  const int64_t room = input + before + after - reach;
  if (room < 0) {
    Fail(where,
         fmt::format("a window of {} does not fit an input of {} with padding {} and {}", reach, input, before, after));
  }
  return room / stride + 1;
}

}  // namespace

ValueShape WindowShape(std::string_view where, const ValueShape& input, const Window& window, int64_t channels) {
  if (input.flat) Fail(where, "its input has no rows and columns");
  return {channels,
          WindowOutput(where, input.height, window.kernel_h, window.stride_h, window.pad_top, window.pad_bottom,
                       window.dilation_h),
          WindowOutput(where, input.width, window.kernel_w, window.stride_w, window.pad_left, window.pad_right,
                       window.dilation_w)};
}

ValueShape PooledShape(std::string_view where, const ValueShape& input, const Window& window) {
  if (std::max(window.pad_top, window.pad_bottom) >= window.kernel_h ||
      std::max(window.pad_left, window.pad_right) >= window.kernel_w)
    Fail(where, "padding is not smaller than the pooling window");
  return WindowShape(where, input, window, input.channels);
}

}  // namespace steadfast::model
