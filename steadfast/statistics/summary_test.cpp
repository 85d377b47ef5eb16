#include "steadfast/statistics/summary.h"

#include <gtest/gtest.h>

#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/base/philox.h"

namespace steadfast::statistics {
namespace {

// Published tables of Student's t (two-sided 95 %): 12.706, 4.303, 2.776, 1.984.
TEST(StudentQuantile, AgreesWithPublishedTables) {
  EXPECT_NEAR(StudentQuantile(1, 0.975), 12.706, 5e-4);
  EXPECT_NEAR(StudentQuantile(2, 0.975), 4.303, 5e-4);
  EXPECT_NEAR(StudentQuantile(4, 0.975), 2.776, 5e-4);
  EXPECT_NEAR(StudentQuantile(100, 0.975), 1.984, 5e-4);
  EXPECT_THROW(StudentQuantile(0, 0.975), UsageError);
}

// By hand: mean 2, deviation 1, half width 4.3027 / sqrt(3).
TEST(StudentInterval, OfThreeValues) {
  const std::vector<double> values = {1, 2, 3};
  const Interval interval = StudentInterval(values);
  EXPECT_NEAR(interval.low, 2 - 2.48414, 1e-4);
  EXPECT_NEAR(interval.high, 2 + 2.48414, 1e-4);
}

TEST(StudentInterval, OfOneValueIsUnbounded) {
  const std::vector<double> one = {5};
  EXPECT_TRUE(std::isinf(StudentInterval(one).high));
}

// NumPy: quantile([1, 2, 3, 4], [0.05, 0.25, 0.5]) = [1.15, 1.75, 2.5].
// The one-sided 99.9 % limit for a share of a tenth of 10,000: 1,000 and 3.09 times 30.
TEST(IsAbove, HasTheNormalLimit) {
  EXPECT_FALSE(IsAbove(1000, 10000, 0.1));
  EXPECT_FALSE(IsAbove(1092, 10000, 0.1));
  EXPECT_TRUE(IsAbove(1094, 10000, 0.1));
  EXPECT_FALSE(IsAbove(893, 10000, 0.1));
}

TEST(Quantile, InterpolatesAsNumpyDoes) {
  const std::vector<double> sorted = {1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(Quantile(sorted, 0.05), 1.15);
  EXPECT_DOUBLE_EQ(Quantile(sorted, 0.25), 1.75);
  EXPECT_DOUBLE_EQ(Quantile(sorted, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(Quantile(sorted, 1.0), 4.0);
}

double StandardNormal(uint32_t experiment, uint32_t index) {  // Box-Muller
  const auto draw = Philox4x32({index, experiment, 0, 0}, KeyOfSeed(17));
  return std::sqrt(-2 * std::log(OpenUnit(draw[0], draw[1]))) * std::cos(2 * M_PI * OpenUnit(draw[2], draw[3]));
}

TEST(Intervals, CoverTheTrueMeanAsOftenAsTheySay) {
  constexpr int kExperiments = 4000;
  int student = 0, bootstrap = 0;
  for (uint32_t e = 0; e < kExperiments; ++e) {
    std::vector<double> values;
    for (uint32_t i = 0; i < 20; ++i) values.push_back(StandardNormal(e, i));
    const Interval t = StudentInterval(values);
    student += t.low <= 0 && 0 <= t.high;
    if (e < 500) {
      const Interval b = BootstrapInterval(values, 0.95, 400, e);
      bootstrap += b.low <= 0 && 0 <= b.high;
    }
  }
  EXPECT_NEAR(student / double{kExperiments}, 0.95, 0.015);
  EXPECT_NEAR(bootstrap / 500.0, 0.93, 0.04);  // a percentile bootstrap of 20 values covers a little too little
}

TEST(SimultaneousIntervals, HoldTogether) {
  constexpr int kExperiments = 1000;
  int all = 0;
  for (uint32_t e = 0; e < kExperiments; ++e) {
    std::vector<std::vector<double>> cells(10);
    for (uint32_t c = 0; c < 10; ++c) {
      for (uint32_t i = 0; i < 5; ++i) cells[c].push_back(StandardNormal(e, 1000 + c * 5 + i));
    }
    bool covered = true;
    for (const Interval& interval : SimultaneousIntervals(cells)) covered &= interval.low <= 0 && 0 <= interval.high;
    all += covered;
  }
  EXPECT_GE(all / double{kExperiments}, 0.93);
}

}  // namespace
}  // namespace steadfast::statistics
