#include "steadfast/report/contour.h"

#include <gtest/gtest.h>

#include <cmath>

namespace steadfast::report {
namespace {

std::vector<double> Axis(int n) {
  std::vector<double> axis;
  for (int i = 0; i < n; ++i) axis.push_back(-1 + 2.0 * i / (n - 1));
  return axis;
}

template <typename Function>
std::vector<double> OnGrid(const std::vector<double>& axis, Function f) {
  std::vector<double> values;
  for (double y : axis) {
    for (double x : axis) values.push_back(f(x, y));
  }
  return values;
}

TEST(Contour, ACirclesContourIsOneRing) {
  const auto axis = Axis(41);
  const auto values = OnGrid(axis, [](double x, double y) { return x * x + y * y; });
  const auto lines = Contours(axis, axis, values, {0.25});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].points.front(), lines[0].points.back());
  double length = 0;
  for (size_t i = 0; i < lines[0].points.size(); ++i) {
    const auto [x, y] = lines[0].points[i];
    EXPECT_NEAR(std::hypot(x, y), 0.5, 0.005);
    if (i > 0) length += std::hypot(x - lines[0].points[i - 1].first, y - lines[0].points[i - 1].second);
  }
  EXPECT_NEAR(length, 3.14159, 0.02);
}

TEST(Contour, APlanesContoursAreStraightAndOpen) {
  const auto axis = Axis(5);
  const auto lines = Contours(axis, axis, OnGrid(axis, [](double x, double y) { return x + 0.0 * y; }), {-0.3, 0.7});
  ASSERT_EQ(lines.size(), 2u);
  for (const auto& line : lines) {
    EXPECT_EQ(line.points.size(), 5u);
    for (const auto& [x, y] : line.points) EXPECT_NEAR(x, line.level, 1e-12);
  }
}

TEST(Contour, ASaddleHasTwoLinesThatDoNotCross) {
  const auto axis = Axis(2);
  EXPECT_EQ(Contours(axis, axis, {1, 0, 0, 1}, {0.4}).size(), 2u);
  EXPECT_EQ(Contours(axis, axis, {1, 0, 0, 1}, {0.6}).size(), 2u);
  EXPECT_TRUE(Contours(axis, axis, {1, 0, 0, std::nan("")}, {0.5}).empty());
  EXPECT_TRUE(Contours(axis, axis, {1, 1, 1, 1}, {0.5}).empty());
}

}  // namespace
}  // namespace steadfast::report
