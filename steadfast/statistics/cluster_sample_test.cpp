#include "steadfast/statistics/cluster_sample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace steadfast::statistics {
namespace {

TEST(MeanOfClusters, IsExactWhereAllAreDrawn) {
  const Estimate estimate = MeanOfClusters({{2, 30, {10, 20}, {1, 5}}, {1, 10, {10}, {4}}});
  EXPECT_DOUBLE_EQ(estimate.mean, 0.25);
  EXPECT_EQ(estimate.interval.low, estimate.mean);
  EXPECT_EQ(estimate.interval.high, estimate.mean);
}

// By hand: 2 of 4 clusters of 10 units hold 1 and 3. The ratio is 0.2; residuals are -1 and 1; the variance is (1 -
// 1/2) / 2
// * 2 / 1 / 100 = 0.005.
TEST(MeanOfClusters, FollowsTheTextbook) {
  const Estimate estimate = MeanOfClusters({{4, 40, {10, 10}, {1, 3}}});
  EXPECT_DOUBLE_EQ(estimate.mean, 0.2);
  EXPECT_NEAR(estimate.interval.high - estimate.mean, StudentQuantile(1, 0.975) * std::sqrt(0.005), 1e-12);
}

TEST(MeanOfClusters, KnowsNothingFromOneClusterOrEqualOnes) {
  EXPECT_TRUE(std::isinf(MeanOfClusters({{4, 40, {10}, {1}}}).interval.high));
  EXPECT_TRUE(std::isinf(MeanOfClusters({{4, 40, {10, 10}, {1, 1}}}).interval.high));
  // Beside a stratum whose clusters differ, these are taken to differ as much.
  const Stratum differs{4, 40, {10, 10}, {1, 3}}, alike{4, 40, {10, 10}, {1, 1}};
  const Estimate both = MeanOfClusters({differs, alike}), twice = MeanOfClusters({differs, differs});
  EXPECT_DOUBLE_EQ(both.interval.high - both.mean, twice.interval.high - twice.mean);
}

// Of many samples of a known population, about 95 % of the intervals hold its mean.
TEST(MeanOfClusters, CoversTheTruth) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  std::vector<std::vector<double>> population(3);
  double total = 0;
  for (size_t h = 0; h < population.size(); ++h) {
    for (int i = 0; i < 60; ++i) {
      population[h].push_back(100 * static_cast<double>(h + 1) + 20 * normal(random));
      total += population[h].back();
    }
  }
  const double mean = total / (3 * 60 * 10);
  int held = 0;
  constexpr int kSamples = 1000;
  for (int sample = 0; sample < kSamples; ++sample) {
    std::vector<Stratum> strata;
    for (auto& clusters : population) {
      std::shuffle(clusters.begin(), clusters.end(), random);
      strata.push_back({60, 600, std::vector<double>(6, 10.0), {clusters.begin(), clusters.begin() + 6}});
    }
    const Interval interval = MeanOfClusters(strata).interval;
    held += interval.low <= mean && mean <= interval.high;
  }
  EXPECT_GT(held, 925);
  EXPECT_LT(held, 975);
}

}  // namespace
}  // namespace steadfast::statistics
