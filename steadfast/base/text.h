// Parsing what users type, strictly, and printing numbers so that they read back the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadfast {

// The whole text as a number; throws UsageError that names `what`, the text, and the range.
double ParseDouble(std::string_view text, std::string_view what, double low, double high);
int64_t ParseInt(std::string_view text, std::string_view what, int64_t low, int64_t high);

// The pieces between separators; "" gives one empty piece.
std::vector<std::string> Split(std::string_view text, char separator);

// CsvField writes a field of a CSV row by RFC 4180, quoted where it must be. ParseCsv reads the rows of such a file:
// `line` is the line on which a row starts; fields that are not quoted are taken as they stand. It throws InputError,
// naming file and line, for a quote that is not closed, or text after a closing quote.
std::string CsvField(const std::string& text);
struct CsvRow {
  int line;
  std::vector<std::string> fields;
};
std::vector<CsvRow> ParseCsv(std::string_view text, const std::string& name);

// `text` split at commas into names of `known`: an exact name, unquoted, always wins over any splitting. Pieces that
// are none of them stay as they are.
std::vector<std::string> SplitNames(std::string_view text, const std::vector<std::string>& known);

// Shortest decimal text that reads back as the same double: 0.001, 1e-05.
std::string FormatShortest(double value);

// The candidate nearest to `text` by edit distance, as " (did you mean X?)", or "" if none is near.
std::string DidYouMean(std::string_view text, const std::vector<std::string>& candidates);

}  // namespace steadfast
