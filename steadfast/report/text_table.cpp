#include "steadfast/report/text_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace steadfast::report {
namespace {

// Characters shown: bytes that do not continue a UTF-8 sequence.
size_t ColumnsOf(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string Percent(double share) {
  return fmt::format("{:.2f}", share * 100);
}

TextTable::TextTable(std::vector<std::string> headers) {
  for (auto& header : headers) {
    right_.push_back(header.starts_with('>'));
    headers_.push_back(right_.back() ? header.substr(1) : header);
  }
}

std::string Printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

void TextTable::AddRow(std::vector<std::string> cells) {
  assert(cells.size() == headers_.size());
  cells.resize(headers_.size());
  for (auto& cell : cells) cell = Printable(std::move(cell));
  rows_.push_back(std::move(cells));
}

std::string TextTable::Text() const {
  std::vector<size_t> widths;
  for (size_t c = 0; c < headers_.size(); ++c) {
    size_t width = ColumnsOf(headers_[c]);
    for (const auto& row : rows_) width = std::max(width, ColumnsOf(row[c]));
    widths.push_back(width);
  }
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t c = 0; c < cells.size(); ++c) {
      const std::string padding(widths[c] - ColumnsOf(cells[c]), ' ');
      if (c > 0) text += "  ";
      text += right_[c] ? padding + cells[c] : cells[c] + padding;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text + "\n";
  };
  std::string text = line(headers_);
  std::vector<std::string> rules;
  for (size_t width : widths) rules.emplace_back(width, '-');
  text += line(rules);
  for (const auto& row : rows_) text += line(row);
  return text;
}

}  // namespace steadfast::report
