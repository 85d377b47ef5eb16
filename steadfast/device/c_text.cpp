#include "steadfast/device/c_text.h"

#include <cmath>

#include "steadfast/base/error.h"

namespace steadfast::device {

namespace {
double Finite(double number) {
  if (!std::isfinite(number))
    throw InputError("its scales make a constant that is no finite number, and C99 has no way to write it");
  return number;
}
}  // namespace

std::string CommentOf(const std::string& text) {
  std::string comment;
  for (const char letter : text) {
    const bool is_plain = letter >= ' ' && letter < 127 && letter != '*' && letter != '\\' && letter != '?';
    comment += is_plain ? letter : '_';
  }
  return comment;
}

std::string FloatOf(float number) {
  return fmt::format("{:a}f", static_cast<float>(Finite(number)));
}
std::string DoubleOf(double number) {
  return fmt::format("{:a}", Finite(number));
}
std::string FixedOf(const model::FixedPointScale& scale) {
  return fmt::format("{{{}, {}}}", scale.multiplier, scale.shift);
}
std::string ShapeOf(const model::ValueShape& shape) {
  return fmt::format("{{{}, {}, {}}}", shape.channels, shape.height, shape.width);
}
std::string WindowOf(const model::Window& window) {
  return fmt::format("{{{}, {}, {}, {}, {}, {}, {}, {}}}", window.kernel_h, window.kernel_w, window.stride_h,
                     window.stride_w, window.pad_top, window.pad_left, window.dilation_h, window.dilation_w);
}
std::string RangeOf(const model::ActivationCoding& coding, const model::Activation& activation) {
  const model::Quantization q = model::QuantizationOf(coding, activation);
  return fmt::format("{{{}, {}, {}, {}, {}, {}}}", FloatOf(q.scale), q.zero_point, q.lowest, q.highest, q.zero_below,
                     coding.stored_offset());
}

}  // namespace steadfast::device
