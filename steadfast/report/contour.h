// Contour lines of values on a grid, by marching squares (Lorensen and Cline, SIGGRAPH 1987, in the plane).
#pragma once

#include <utility>
#include <vector>

namespace steadfast::report {

struct ContourLine {
  double level;
  std::vector<std::pair<double, double>> points;  // (x, y), joined in this order
};

// values[j * x.size() + i] at (x[i], y[j]), coordinates ascending. Crossings are interpolated linearly; a saddle is cut
// by the mean of its corners. Squares with a value that is not finite have no line.
std::vector<ContourLine> Contours(const std::vector<double>& x, const std::vector<double>& y,
                                  const std::vector<double>& values, const std::vector<double>& levels);

}  // namespace steadfast::report
