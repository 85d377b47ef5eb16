#include "steadfast/train/fused_quantization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace steadfast::train {
namespace {

std::vector<float> Normal(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.3f, 1.0f);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

constexpr CodeRange kRanges[] = {{-8, 7}, {0, 15}, {0, 1}, {-1, 1}, {-128, 127}};

TEST(QuantizeForward, EqualsThePlainFormula) {
  const auto x = Normal(10007, 1);
  for (const CodeRange& range : kRanges) {
    std::vector<float> out(x.size());
    const float step = 0.13f;
    QuantizeForward(x.data(), out.data(), static_cast<int64_t>(x.size()), step, range);
    for (size_t i = 0; i < x.size(); ++i) {
      const float v = x[i] * (1.0f / step);
      ASSERT_EQ(out[i], step * std::rint(std::min(std::max(v, range.lowest), range.highest))) << i;
    }
  }
}

TEST(QuantizeForward, RoundsTiesToEven) {
  const std::vector<float> x = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f};
  std::vector<float> out(x.size());
  QuantizeForward(x.data(), out.data(), 5, 1.0f, {-8, 7});
  EXPECT_EQ(out, (std::vector<float>{0, 2, 2, 0, -2}));
}

TEST(QuantizeBackward, EqualsThePlainFormula) {
  const auto x = Normal(10007, 2), grad = Normal(10007, 3);
  for (const CodeRange& range : kRanges) {
    const float step = 0.21f, linear = 0.03f, quadratic = -0.02f;
    std::vector<float> grad_x(x.size()), grad_penalty(x.size());
    const auto n = static_cast<int64_t>(x.size());
    const double to_step = QuantizeBackward(x.data(), grad.data(), grad_x.data(), n, step, range);
    const double with_penalty =
        QuantizeBackwardWithPenalty(x.data(), grad.data(), grad_penalty.data(), n, step, range, linear, quadratic);
    double expected = 0.0, magnitude = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i] * (1.0f / step);
      const bool inside = v > range.lowest && v < range.highest;
      const double term = inside ? std::rint(v) - v : v <= range.lowest ? range.lowest : range.highest;
      expected += grad[i] * term;
      magnitude += std::abs(grad[i] * term);
      ASSERT_EQ(grad_x[i], inside ? grad[i] : 0.0f);
      ASSERT_FLOAT_EQ(grad_penalty[i], (inside ? grad[i] : 0.0f) + (x[i] > 0 ? linear + quadratic * x[i] : 0.0f));
    }
    EXPECT_NEAR(to_step, expected, 1e-5 * magnitude);
    EXPECT_EQ(with_penalty, to_step);
  }
}

TEST(SumPositive, LeavesNegativesOut) {
  const auto x = Normal(5003, 4);
  double sum = 0, squares = 0;
  for (float v : x) {
    if (v > 0) {
      sum += v;
      squares += v * v;
    }
  }
  const PositiveSums sums = SumPositive(x.data(), static_cast<int64_t>(x.size()));
  EXPECT_NEAR(sums.sum, sum, 1e-5 * sum);
  EXPECT_NEAR(sums.squares, squares, 1e-5 * squares);
}

}  // namespace
}  // namespace steadfast::train
