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

std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (char c : text) {
    if (c == '"') quoted += c;
    quoted += c;
  }
  quoted += '"';
  return quoted;
}

std::vector<CsvRow> ParseCsv(std::string_view text, const std::string& name) {
  std::vector<CsvRow> rows;
  int line = 1;
  for (size_t at = 0; at < text.size();) {
    CsvRow row{line, {}};
    const auto fail = [&](const char* what) { throw InputError(fmt::format("{}: line {}: {}", name, line, what)); };
    for (bool more = true; more;) {
      std::string field;
      if (at < text.size() && text[at] == '"') {
        for (++at;; ++at) {
          if (at >= text.size()) fail("a quote is not closed");
          if (text[at] == '\n') ++line;
          if (text[at] != '"') {
            field += text[at];
          } else if (at + 1 < text.size() && text[at + 1] == '"') {
            field += text[at++];
          } else {
            break;
          }
        }
        ++at;
        if (at < text.size() && text[at] != ',' && text[at] != '\n' && text[at] != '\r')
          fail("text behind a closing quote");
      } else {
        while (at < text.size() && text[at] != ',' && text[at] != '\n') field += text[at++];
        const bool ends_line = at >= text.size() || text[at] == '\n';
        if (ends_line && !field.empty() && field.back() == '\r') field.pop_back();
      }
      row.fields.push_back(std::move(field));
      more = at < text.size() && text[at] == ',';
      if (more) ++at;
    }
    while (at < text.size() && text[at] == '\r') ++at;
    if (at < text.size()) ++at;  // the end of the line
    ++line;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::vector<std::string> SplitNames(std::string_view text, const std::vector<std::string>& known) {
  const auto pieces = Split(text, ',');
  std::vector<std::string> names;
  for (size_t first = 0; first < pieces.size();) {
    // The longest run of pieces that is a name.
    size_t last = pieces.size();
    std::string name;
    for (; last > first; --last) {
      name = fmt::format(
          "{}", fmt::join(pieces.begin() + static_cast<long>(first), pieces.begin() + static_cast<long>(last), ","));
      if (std::find(known.begin(), known.end(), name) != known.end()) break;
    }
    if (last == first) name = pieces[last++];
    names.push_back(name);
    first = last;
  }
  return names;
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
