// Tables for terminals: columns as wide as their content, numbers to the right.
#pragma once

#include <string>
#include <vector>

namespace steadfast::report {

// Text from a file as it may go to a terminal: control characters become question marks.
std::string Printable(std::string text);

// A share in percent: "98.76".
std::string Percent(double share);

class TextTable {
 public:
  // headers: one a column; those that start with '>' are set to the right (the '>' is not shown).
  explicit TextTable(std::vector<std::string> headers);
  // Cells are made printable.
  void AddRow(std::vector<std::string> cells);
  // Lines with two spaces between columns, a rule under the header, a newline at the end of each.
  std::string Text() const;

 private:
  std::vector<std::string> headers_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace steadfast::report
