#include "steadfast/statistics/bounded_mean.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "steadfast/base/error.h"

namespace steadfast::statistics {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kCoverageRepetitions = 500;
#else
constexpr int kCoverageRepetitions = 2000;
#endif

// By hand: values that are all least rule a mean m out once half of (1 / (1 - m))^n, all that was risked, is enough.
TEST(BoundedMean, OfValuesThatNeverDiffer) {
  const std::vector<double> zeros(200, 0.0);
  const Interval interval = BoundedMeanInterval(zeros, 0, 1);
  EXPECT_EQ(interval.low, 0);
  EXPECT_LE(interval.high, 1 - std::pow(1 / 80.0, 1 / 200.0) + 1e-9);
  EXPECT_GT(interval.high, 1 - std::pow(1 / 40.0, 1 / 200.0));
  const std::vector<double> ones(200, 1.0);
  EXPECT_NEAR(BoundedMeanInterval(ones, 0, 1).low, 1 - interval.high, 1e-9);
  const Interval shifted = BoundedMeanInterval(std::vector<double>(200, -2.0), -2, 6);
  EXPECT_NEAR(shifted.high, -2 + 8 * interval.high, 1e-9);
  EXPECT_EQ(BoundedMeanInterval({}, 0, 1).high, 1);
  EXPECT_THROW(BoundedMeanInterval(zeros, 0.1, 1), UsageError);
  EXPECT_THROW(BoundedMeanInterval(zeros, 0, 1, 1), UsageError);
}

TEST(BoundedMean, NarrowsAsValuesCome) {
  std::mt19937_64 random(4);
  double before = 1;
  for (const int count : {50, 500, 5000}) {
    std::vector<double> values;
    for (int i = 0; i < count; ++i) values.push_back(static_cast<double>(random() % 1000) / 1000 * 0.2);
    const Interval interval = BoundedMeanInterval(values, 0, 1);
    EXPECT_LT(interval.high - interval.low, 0.6 * before);
    before = interval.high - interval.low;
  }
  EXPECT_LT(before, 0.012);  // Student's t: 0.003
}

// Of nominal 95 %, at least 94 % of 2,000 intervals hold the mean: also of rare catastrophes, near 0 and near 1.
TEST(BoundedMean, HoldsAsOftenAsItSays) {
  struct Law {
    double mean, least, most;
    double (*draw)(double uniform);
  };
  const Law laws[] = {
      {0.5, 0, 1, [](double u) { return u; }},
      {0.001, 0, 1, [](double u) { return u < 0.001 ? 1.0 : 0.0; }},
      {0.999, 0, 1, [](double u) { return u < 0.999 ? 1.0 : 0.0; }},
      {0.0078, -0.1, 0.9, [](double u) { return u < 0.01   ? 0.8
                                                : u < 0.03 ? -0.01
                                                           : 0.0; }},
      {0.03, 0, 4, [](double u) { return u < 0.005   ? 4.0
                                         : u < 0.205 ? 0.05
                                                     : 0.0; }},
  };
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform;
  for (const Law& law : laws) {
    for (const int count : {10, 100}) {
      int held = 0;
      for (int i = 0; i < kCoverageRepetitions; ++i) {
        std::vector<double> values;
        for (int v = 0; v < count; ++v) values.push_back(law.draw(uniform(random)));
        const Interval interval = BoundedMeanInterval(values, law.least, law.most);
        held += interval.low <= law.mean && law.mean <= interval.high;
      }
      EXPECT_GE(held, kCoverageRepetitions * 94 / 100) << law.mean << " " << count;
    }
  }
}

TEST(MeanOfStrata, IsExactWhereAllWasDrawn) {
  const std::vector<DrawnStratum> whole = {{2, {0.5, 0.25}}, {1, {1}}};
  const Estimate exact = MeanOfStrata(whole, 0, 1);
  EXPECT_DOUBLE_EQ(exact.mean, 1.75 / 3);
  EXPECT_EQ(exact.interval.low, exact.interval.high);
  // 4 units known to be 1, and 12 of which 2 of 4 are 1: 0.25 * 1 + 0.75 * 0.5.
  const std::vector<DrawnStratum> some = {{4, {1, 1, 1, 1}}, {12, {0, 1, 1, 0}}};
  const Estimate estimate = MeanOfStrata(some, 0, 1);
  EXPECT_DOUBLE_EQ(estimate.mean, 0.625);
  EXPECT_GE(estimate.interval.low, 0.25);
  EXPECT_LT(estimate.interval.low, 0.625);
  EXPECT_LE(estimate.interval.high, 1);
  // Strata count by their sizes, whatever was drawn of each.
  const std::vector<DrawnStratum> uneven = {{90, {0, 0}}, {10, {1, 1, 1, 1, 1}}};
  EXPECT_DOUBLE_EQ(MeanOfStrata(uneven, 0, 1).mean, 0.1);
}

// Strata of other sizes, spreads and allocations, drawn without replacement; damage is rare in the largest.
TEST(MeanOfStrata, HoldsAsOftenAsItSays) {
  std::mt19937_64 random(6);
  std::vector<std::vector<double>> all = {{}, {}, {}, {}};
  for (int i = 0; i < 2000; ++i) all[0].push_back(i < 6 ? 0.8 : 0.0);
  for (int i = 0; i < 300; ++i) all[1].push_back(-0.05 + 0.3 * i / 300);
  for (int i = 0; i < 40; ++i) all[2].push_back(i % 2 == 0 ? 0.9 : -0.1);
  for (int i = 0; i < 5; ++i) all[3].push_back(0.9);
  double sum = 0, count = 0;
  for (const auto& stratum : all) {
    for (const double value : stratum) sum += value;
    count += static_cast<double>(stratum.size());
  }
  const size_t allocations[][4] = {{85, 13, 2, 2}, {20, 20, 20, 5}, {2, 2, 2, 2}, {400, 60, 8, 5}};
  for (const auto& allocation : allocations) {
    int held = 0;
    double means = 0;
    for (int i = 0; i < kCoverageRepetitions; ++i) {
      std::vector<DrawnStratum> drawn;
      for (size_t s = 0; s < all.size(); ++s) {
        std::shuffle(all[s].begin(), all[s].end(), random);
        drawn.push_back({static_cast<int64_t>(all[s].size()),
                         {all[s].begin(), all[s].begin() + static_cast<std::ptrdiff_t>(allocation[s])}});
      }
      const Estimate estimate = MeanOfStrata(drawn, -0.1, 0.9);
      held += estimate.interval.low <= sum / count && sum / count <= estimate.interval.high;
      means += estimate.mean / kCoverageRepetitions;
    }
    EXPECT_GE(held, kCoverageRepetitions * 94 / 100) << allocation[0];
    EXPECT_NEAR(means, sum / count, 0.005) << allocation[0];
  }
}

TEST(EffectiveSampleSize, CountsEqualWeights) {
  EXPECT_DOUBLE_EQ(EffectiveSampleSize(std::vector<double>{2, 2, 2}), 3);
  EXPECT_DOUBLE_EQ(EffectiveSampleSize(std::vector<double>{1, 0, 0}), 1);
  EXPECT_DOUBLE_EQ(EffectiveSampleSize(std::vector<double>{3, 1}), 1.6);
}

}  // namespace
}  // namespace steadfast::statistics
