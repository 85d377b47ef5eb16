#include "steadfast/report/contour.h"

#include <array>
#include <cmath>
#include <map>
#include <optional>

namespace steadfast::report {
namespace {

// A crossing lies on an edge of the grid: to the right (0) or upwards (1) of a point.
struct Edge {
  size_t i, j;
  int way;
  auto operator<=>(const Edge&) const = default;
};

class Tracer {
 public:
  Tracer(const std::vector<double>& x, const std::vector<double>& y, const std::vector<double>& values, double level)
      : x_(x), y_(y), values_(values), level_(level) {}

  std::vector<ContourLine> Lines() {
    for (size_t j = 0; j + 1 < y_.size(); ++j) {
      for (size_t i = 0; i + 1 < x_.size(); ++i) AddSquare(i, j);
    }
    std::vector<ContourLine> lines;
    // Open lines from their ends first; what is left are rings.
    for (const bool ends : {true, false}) {
      while (true) {
        std::optional<Edge> start;
        for (const auto& [edge, others] : next_) {
          if (!others.empty() && (!ends || others.size() == 1)) {
            start = edge;
            break;
          }
        }
        if (!start) break;
        lines.push_back(Follow(*start));
      }
    }
    return lines;
  }

 private:
  double At(size_t i, size_t j) const { return values_[j * x_.size() + i]; }
  bool Above(size_t i, size_t j) const { return At(i, j) > level_; }

  void Join(const Edge& a, const Edge& b) {
    next_[a].push_back(b);
    next_[b].push_back(a);
  }

  void AddSquare(size_t i, size_t j) {
    for (const double value : {At(i, j), At(i + 1, j), At(i, j + 1), At(i + 1, j + 1)}) {
      if (!std::isfinite(value)) return;
    }
    const Edge bottom{i, j, 0}, top{i, j + 1, 0}, left{i, j, 1}, right{i + 1, j, 1};
    std::vector<Edge> crossed;
    if (Above(i, j) != Above(i + 1, j)) crossed.push_back(bottom);
    if (Above(i + 1, j) != Above(i + 1, j + 1)) crossed.push_back(right);
    if (Above(i, j + 1) != Above(i + 1, j + 1)) crossed.push_back(top);
    if (Above(i, j) != Above(i, j + 1)) crossed.push_back(left);
    if (crossed.size() == 2) Join(crossed[0], crossed[1]);
    if (crossed.size() < 4) return;
    const bool middle = (At(i, j) + At(i + 1, j) + At(i, j + 1) + At(i + 1, j + 1)) / 4 > level_;
    // The corner (i, j) is cut off where it differs from the middle.
    if (Above(i, j) != middle) {
      Join(bottom, left);
      Join(right, top);
    } else {
      Join(bottom, right);
      Join(left, top);
    }
  }

  std::pair<double, double> PointOf(const Edge& e) const {
    const double a = At(e.i, e.j), b = e.way == 0 ? At(e.i + 1, e.j) : At(e.i, e.j + 1), share = (level_ - a) / (b - a);
    if (e.way == 0) return {x_[e.i] + share * (x_[e.i + 1] - x_[e.i]), y_[e.j]};
    return {x_[e.i], y_[e.j] + share * (y_[e.j + 1] - y_[e.j])};
  }

  ContourLine Follow(Edge at) {
    ContourLine line{level_, {PointOf(at)}};
    while (!next_[at].empty()) {
      const Edge to = next_[at].back();
      next_[at].pop_back();
      std::erase(next_[to], at);
      line.points.push_back(PointOf(to));
      at = to;
    }
    return line;
  }

  const std::vector<double>&x_, &y_, &values_;
  const double level_;
  std::map<Edge, std::vector<Edge>> next_;
};

}  // namespace

std::vector<ContourLine> Contours(const std::vector<double>& x, const std::vector<double>& y,
                                  const std::vector<double>& values, const std::vector<double>& levels) {
  std::vector<ContourLine> lines;
  for (double level : levels) {
    for (ContourLine& line : Tracer(x, y, values, level).Lines()) lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace steadfast::report
