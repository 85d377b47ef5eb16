// A picture of memory banks as SVG: which cells are faulty, or how much each part of a bank matters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace steadfast::report {

struct BankPicture {
  struct Point {
    int64_t row, column;
    size_t series;        // index into BankPicture::series: its colour
    double weight = 1.0;  // how much it counts; of several points in one square, the heaviest series gives the colour
  };
  struct Bank {
    std::string title;  // "weight-sram, bank 3"
    int64_t rows, columns;
    std::vector<Point> points;
  };
  struct Series {
    std::string title;   // "stuck at 0"
    std::string colour;  // "#c44e52"
  };
  std::string title, note;
  std::vector<Series> series;
  std::vector<Bank> banks;
};

// Banks are drawn in squares of at least one cell, at most 128 across and 96 down; a square is the darker, the more of
// the weight of the heaviest square lies in it. Titles are escaped.
std::string ToSvg(const BankPicture& picture);

}  // namespace steadfast::report
