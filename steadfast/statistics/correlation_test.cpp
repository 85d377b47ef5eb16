#include "steadfast/statistics/correlation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

namespace steadfast::statistics {
namespace {

using Values = std::vector<double>;

TEST(Correlation, RanksShareTies) {
  EXPECT_EQ(Ranks(Values{3, 1, 3, 2}), (Values{3.5, 1, 3.5, 2}));
  EXPECT_EQ(Ranks(Values{}), Values{});
}

// Golden numbers: the examples in SciPy's documentation of spearmanr and kendalltau.
TEST(Correlation, AgreesWithSciPysExamples) {
  EXPECT_NEAR(Spearman(Values{1, 2, 3, 4, 5}, Values{5, 6, 7, 8, 7}), 0.8207826816681233, 1e-15);
  EXPECT_NEAR(KendallTauB(Values{12, 2, 1, 12, 2}, Values{1, 4, 7, 1, 0}), -0.4714045207910316, 1e-15);
}

TEST(Correlation, KnowsOnlyOrder) {
  const Values x = {1, 2, 3, 4, 5, 6}, y = {2, 1, 4, 3, 6, 5};
  Values bent;
  for (double v : x) bent.push_back(std::exp(v));
  EXPECT_DOUBLE_EQ(Spearman(bent, y), Spearman(x, y));
  EXPECT_DOUBLE_EQ(KendallTauB(bent, y), KendallTauB(x, y));
  EXPECT_DOUBLE_EQ(KendallTauB(x, y), (12.0 - 3.0) / 15.0);  // 3 of 15 pairs are the wrong way round
  EXPECT_TRUE(std::isnan(Spearman(x, Values(6, 1.0))));
  EXPECT_TRUE(std::isnan(KendallTauB(x, Values(6, 1.0))));
}

TEST(Correlation, OneControlIsTheTextbooksFormula) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  Values x, y, z;
  for (int i = 0; i < 60; ++i) {
    z.push_back(normal(random));
    x.push_back(z.back() + normal(random));
    y.push_back(z.back() + normal(random));
  }
  const double xy = Spearman(x, y), xz = Spearman(x, z), yz = Spearman(y, z);
  const std::vector<Values> controls = {z};
  EXPECT_NEAR(PartialSpearman(x, y, controls), (xy - xz * yz) / std::sqrt((1 - xz * xz) * (1 - yz * yz)), 1e-12);
  EXPECT_GT(xy, 0.3) << "they go together because both go with z";
  EXPECT_LT(std::abs(PartialSpearman(x, y, controls)), 0.3);
  const std::vector<Values> twice = {z, z};
  EXPECT_NEAR(PartialSpearman(x, y, twice), PartialSpearman(x, y, controls), 1e-9) << "a control given twice";
  EXPECT_TRUE(std::isnan(PartialSpearman(x, z, controls))) << "nothing is left of z";
}

TEST(Correlation, CenteringLeavesWhatDiffersWithinGroups) {
  const std::vector<int> groups = {0, 0, 1, 1, 2};
  EXPECT_EQ(CenteredWithin(Values{1, 3, 10, 14, 0.3}, groups), (Values{-1, 1, -2, 2, 0}));
  // Equal values leave no rounding behind, which ranks would take for an order.
  for (double value : {0.1, 0.7, 88.83, 1e-3})
    EXPECT_EQ(CenteredWithin(Values{value, value, value}, std::vector<int>{0, 0, 0}), (Values{0, 0, 0})) << value;
}

TEST(Correlation, ResamplesDrawWholeGroups) {
  const std::vector<int> groups = {0, 0, 0, 1, 1, 2};
  const auto resamples = GroupedResamples(groups, 500, 9);
  std::map<int, int> seen;
  for (const auto& resample : resamples) {
    ASSERT_EQ(resample.members.size(), resample.groups.size());
    std::map<int, int> original;  // of a drawn group
    std::map<int, int> sizes;
    for (size_t i = 0; i < resample.members.size(); ++i) {
      const int group = groups[static_cast<size_t>(resample.members[i])];
      EXPECT_EQ(original.emplace(resample.groups[i], group).first->second, group) << "one drawn group mixes two";
      ++sizes[resample.groups[i]];
      ++seen[resample.members[i]];
    }
    EXPECT_EQ(sizes.size(), 3u);
  }
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(seen[i], 500, 100) << i;
  EXPECT_EQ(GroupedResamples(groups, 5, 9)[4].members, resamples[4].members);
  EXPECT_NE(GroupedResamples(groups, 5, 10)[4].members, resamples[4].members);
}

TEST(Correlation, PercentilesLeaveOutWhatIsNotThere) {
  Values values;
  for (int i = 0; i <= 100; ++i) values.push_back(100 - i);
  values.push_back(std::nan(""));
  const Interval interval = PercentileInterval(values);
  EXPECT_NEAR(interval.low, 2.5, 1e-12);
  EXPECT_NEAR(interval.high, 97.5, 1e-12);
  EXPECT_TRUE(std::isnan(PercentileInterval({1, std::nan(""), std::nan("")}).low));
}

}  // namespace
}  // namespace steadfast::statistics
