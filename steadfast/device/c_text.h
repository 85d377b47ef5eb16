// Values as C writes them. Internal to the room.
#pragma once

#include <fmt/format.h>

#include <string>

#include "steadfast/model/quantized_model.h"
#include "steadfast/model/requantization.h"  // FixedPointScale

namespace steadfast::device {

// Of names that a file gives: nothing that could end a comment or a line.
std::string CommentOf(const std::string& text);

// C99 writes no number that is none: these throw InputError for such. (Constants are made of finite scales, but
// products of them may overflow.)
std::string FloatOf(float number);
std::string DoubleOf(double number);

// Initializers of steadfast_device.h's structures.
std::string FixedOf(const model::FixedPointScale& scale);
std::string ShapeOf(const model::ValueShape& shape);
std::string WindowOf(const model::Window& window);
std::string RangeOf(const model::ActivationCoding& coding, const model::Activation& activation);
inline constexpr const char* kRealRange = "{1.0f, 0, 0, 0, 0, 0}";  // where a result is real

// Numbers in rows, as an initializer's text.
template <typename Numbers, typename Text>
std::string Rows(const Numbers& numbers, size_t a_row, const Text& text) {
  std::string rows;
  size_t i = 0;
  for (const auto& number : numbers) {
    rows += fmt::format("{}{}{}", i % a_row == 0 ? "  " : " ", text(number), i + 1 == numbers.size() ? "" : ",");
    if (++i % a_row == 0 || i == numbers.size()) rows += "\n";
  }
  return rows;
}

}  // namespace steadfast::device
