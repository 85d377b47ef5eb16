#include "steadfast/model/operators/windows.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"

namespace steadfast::model {
namespace {

[[noreturn]] void Fail(std::string_view where, const std::string& what) {
  throw InputError(fmt::format("{}: {}", where, what));
}

int64_t WindowOutput(std::string_view where, int64_t input, int kernel, int stride, int pad, int dilation) {
  if (kernel < 1 || stride < 1 || pad < 0 || dilation < 1 || kernel > 4096 || stride > 4096 || pad > 4096 ||
      dilation > 4096) {
    Fail(where,
         fmt::format("kernel {}, stride {}, padding {}, dilation {} are not possible", kernel, stride, pad, dilation));
  }
  const int64_t reach = int64_t{dilation} * (kernel - 1) + 1;
  const int64_t room = input + 2 * int64_t{pad} - reach;
  if (room < 0)
    Fail(where, fmt::format("a window of {} does not fit an input of {} with padding {}", reach, input, pad));
  return room / stride + 1;
}

}  // namespace

ValueShape WindowShape(std::string_view where, const ValueShape& input, const Window& window, int64_t channels) {
  if (input.flat) Fail(where, "its input has no rows and columns");
  return {channels,
          WindowOutput(where, input.height, window.kernel_h, window.stride_h, window.pad_h, window.dilation_h),
          WindowOutput(where, input.width, window.kernel_w, window.stride_w, window.pad_w, window.dilation_w)};
}

ValueShape PooledShape(std::string_view where, const ValueShape& input, const Window& window) {
  if (window.pad_h >= window.kernel_h || window.pad_w >= window.kernel_w)
    Fail(where, "padding is not smaller than the pooling window");
  return WindowShape(where, input, window, input.channels);
}

}  // namespace steadfast::model
