#include "steadfast/report/bank_picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "steadfast/report/html.h"

namespace steadfast::report {
namespace {

constexpr int64_t kSquaresAcross = 128, kSquaresDown = 96;
constexpr double kBankWidth = 256, kGap = 24, kTop = 64;
constexpr int kBanksAcross = 4;

// The cells of a bank, gathered into squares: [square][series], weights.
struct Squares {
  int64_t rows, columns;            // squares of the bank
  int64_t cell_rows, cell_columns;  // cells of a square
  std::map<std::pair<int64_t, int64_t>, std::vector<double>> weights;
};

Squares Gathered(const BankPicture::Bank& bank, size_t series) {
  Squares squares{};
  squares.cell_rows = std::max<int64_t>(1, (bank.rows + kSquaresDown - 1) / kSquaresDown);
  squares.cell_columns = std::max<int64_t>(1, (bank.columns + kSquaresAcross - 1) / kSquaresAcross);
  squares.rows = (bank.rows + squares.cell_rows - 1) / squares.cell_rows;
  squares.columns = (bank.columns + squares.cell_columns - 1) / squares.cell_columns;
  for (const auto& point : bank.points) {
    auto& weights = squares.weights[{point.row / squares.cell_rows, point.column / squares.cell_columns}];
    weights.resize(series);
    weights[point.series] += point.weight;
  }
  return squares;
}

double TotalOf(const std::vector<double>& weights) {
  double total = 0;
  for (double weight : weights) total += weight;
  return total;
}

}  // namespace

std::string ToSvg(const BankPicture& picture) {
  std::vector<Squares> all;
  double heaviest = 0;
  for (const auto& bank : picture.banks) {
    all.push_back(Gathered(bank, picture.series.size()));
    for (const auto& [place, weights] : all.back().weights) heaviest = std::max(heaviest, TotalOf(weights));
  }
  std::string body;
  double y = kTop, height_of_line = 0, width = 0;
  for (size_t b = 0; b < all.size(); ++b) {
    const Squares& squares = all[b];
    const int place = static_cast<int>(b % kBanksAcross);
    if (place == 0 && b > 0) y += height_of_line + kGap + 16;
    if (place == 0) height_of_line = 0;
    const double side = kBankWidth / static_cast<double>(squares.columns);
    const double x = place * (kBankWidth + kGap) + kGap, height = side * static_cast<double>(squares.rows);
    height_of_line = std::max(height_of_line, height);
    width = std::max(width, x + kBankWidth + kGap);
    body += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x, y - 4, html::Escape(picture.banks[b].title));
    body += fmt::format(
        "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"#f4f4f4\" "
        "stroke=\"#888\" stroke-width=\"0.5\"/>\n",
        x, y, kBankWidth, height);
    for (const auto& [at, weights] : squares.weights) {
      const auto series = static_cast<size_t>(std::max_element(weights.begin(), weights.end()) - weights.begin());
      const double share = heaviest > 0 ? TotalOf(weights) / heaviest : 0;
      if (share <= 0) continue;
      body += fmt::format(
          "<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\" "
          "fill-opacity=\"{:.3f}\"/>\n",
          x + side * static_cast<double>(at.second), y + side * static_cast<double>(at.first), side, side,
          picture.series[series].colour, 0.25 + 0.75 * std::sqrt(share));
    }
  }
  double legend_x = kGap;
  std::string legend;
  for (const auto& series : picture.series) {
    legend += fmt::format(
        "<rect x=\"{:.1f}\" y=\"38\" width=\"10\" height=\"10\" fill=\"{}\"/><text x=\"{:.1f}\" "
        "y=\"47\">{}</text>\n",
        legend_x, series.colour, legend_x + 14, html::Escape(series.title));
    legend_x += 34 + 7 * static_cast<double>(series.title.size());
  }
  width = std::max({width, legend_x, 480.0});
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} "
      "{1:.0f}\" font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" "
      "fill=\"white\"/>\n<text x=\"{2:.0f}\" y=\"18\" font-size=\"14\">{3}</text>\n<text x=\"{2:.0f}\" "
      "y=\"32\" fill=\"#555\">{4}</text>\n{5}{6}</svg>\n",
      width, y + height_of_line + kGap, kGap, html::Escape(picture.title), html::Escape(picture.note), legend, body);
}

}  // namespace steadfast::report
