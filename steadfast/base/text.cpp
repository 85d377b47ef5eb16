#include "steadfast/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "steadfast/base/error.h"

namespace steadfast {
namespace {

template <typename T>
T Parse(std::string_view text, std::string_view what, T low, T high, const char* kind) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  if (!whole || !(value >= low && value <= high)) {
    throw UsageError(fmt::format("{}: '{}' is not {} from {} to {}", what, text, kind, low, high));
  }
  return value;
}

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

double ParseDouble(std::string_view text, std::string_view what, double low, double high) {
  return Parse<double>(text, what, low, high, "a number");
}

int64_t ParseInt(std::string_view text, std::string_view what, int64_t low, int64_t high) {
  return Parse<int64_t>(text, what, low, high, "a whole number");
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> pieces;
  size_t start = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i == text.size() || text[i] == separator) {
      pieces.emplace_back(text.substr(start, i - start));
      start = i + 1;
    }
  }
  return pieces;
}

std::string FormatShortest(double value) {
  return fmt::format("{}", value);
}

std::string DidYouMean(std::string_view text, const std::vector<std::string>& candidates) {
  const auto nearest = std::min_element(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
    return EditDistance(text, a) < EditDistance(text, b);
  });
  if (nearest == candidates.end() || EditDistance(text, *nearest) > std::max<size_t>(1, text.size() / 3)) return "";
  return fmt::format(" (did you mean {}?)", *nearest);
}

}  // namespace steadfast
