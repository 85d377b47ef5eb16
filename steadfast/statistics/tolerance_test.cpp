#include "steadfast/statistics/tolerance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "steadfast/base/error.h"

namespace steadfast::statistics {
namespace {

constexpr int kRepetitions = 2000;

// Of tables: Clopper and Pearson's 95 % bounds, and Wilks's numbers of trials.
TEST(ShareLowerBound, HasThePublishedValues) {
  EXPECT_NEAR(ShareLowerBound(10, 10, 0.95), std::pow(0.05, 0.1), 1e-12);
  EXPECT_NEAR(ShareLowerBound(8, 10, 0.95), 0.49310, 1e-5);
  EXPECT_EQ(ShareLowerBound(0, 10, 0.95), 0);
  EXPECT_EQ(TrialsNeeded(0.99, 0.95), 299);
  EXPECT_EQ(TrialsNeeded(0.99, 0.95, 1), 473);
  EXPECT_EQ(TrialsNeeded(0.99, 0.95, 2), 628);
  EXPECT_EQ(TrialsNeeded(0.95, 0.95), 59);
  EXPECT_EQ(TrialsNeeded(0.9, 0.9), 22);
}

TEST(ShareLowerBound, HoldsAsOftenAsItSays) {
  std::mt19937_64 random(1);
  for (const double share : {0.02, 0.5, 0.9, 0.99, 0.999}) {
    std::binomial_distribution<int64_t> successes(300, share);
    int right = 0;
    for (int i = 0; i < kRepetitions; ++i) right += ShareLowerBound(successes(random), 300, 0.95) <= share;
    EXPECT_GE(right, kRepetitions * 94 / 100) << share;
  }
}

TEST(MeanLowerBound, HoldsAsOftenAsItSays) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> uniform;
  for (const double mean : {0.01, 0.3, 0.88, 0.99, 0.999}) {
    for (const bool is_rare : {false, true}) {  // narrow around the mean, or now and then nothing
      int right = 0;
      for (int i = 0; i < kRepetitions; ++i) {
        std::vector<double> values;
        const double half = std::min({0.05, mean, 1 - mean});
        for (int n = 0; n < 60; ++n)
          values.push_back(is_rare ? (uniform(random) < mean ? 1.0 : 0.0) : mean + half * (2 * uniform(random) - 1));
        right += MeanLowerBound(values, 0.95) <= mean;
      }
      EXPECT_GE(right, kRepetitions * 94 / 100) << mean << is_rare;
    }
  }
}

TEST(MeanLowerBound, ComesNearWithMoreValues) {
  const auto bound = [](int count) {
    std::vector<double> values;
    for (int i = 0; i < count; ++i) values.push_back(i % 2 == 0 ? 0.86 : 0.88);
    return MeanLowerBound(values, 0.95);
  };
  EXPECT_LT(bound(20), bound(100));
  EXPECT_LT(bound(100), bound(500));
  EXPECT_GT(bound(500), 0.862);
  EXPECT_LT(bound(500), 0.87);
  EXPECT_EQ(MeanLowerBound({}, 0.95), 0);
}

// Chips that hold up to a strength of their own: which is answered wrongly no more often than asked for.
TEST(FindTolerance, IsRightAsOftenAsItSays) {
  ToleranceSettings settings{.floor = 0.8, .yield = 0.9, .confidence = 0.95, .chips = 120};
  for (int i = 1; i <= 30; ++i) settings.strengths.push_back(0.01 * i);
  // A chip holds strengths up to X, uniform in [0.05, 0.25]: 90 % hold 0.07.
  int wrong = 0, answered = 0;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    std::mt19937_64 random(static_cast<uint64_t>(repetition));
    std::uniform_real_distribution<double> uniform(0.05, 0.25);
    std::vector<double> own;
    for (int64_t i = 0; i < settings.chips; ++i) own.push_back(uniform(random));
    const Tolerance tolerance = FindTolerance(settings, [&](double strength, int64_t chips) {
      std::vector<double> accuracies;
      for (int64_t i = 0; i < chips; ++i) accuracies.push_back(strength <= own[static_cast<size_t>(i)] ? 0.9 : 0.5);
      return accuracies;
    });
    answered += tolerance.strength.has_value();
    wrong += tolerance.strength.value_or(0) > 0.07 + 1e-9;
    EXPECT_LE(static_cast<int64_t>(tolerance.steps.size()), MostSteps(settings.strengths.size()));
  }
  EXPECT_LE(wrong, kRepetitions * 5 / 100);
  EXPECT_EQ(answered, kRepetitions);  // 0.05, which every chip holds
}

TEST(FindTolerance, LooksAtNoMoreThanItMust) {
  ToleranceSettings settings{.floor = 0.85, .yield = {}, .confidence = 0.95, .strengths = {1, 2, 3, 4}, .chips = 1000};
  int64_t most = 0;
  const auto accuracies = [&](double strength, int64_t chips) {
    most = std::max(most, chips);
    return std::vector<double>(static_cast<size_t>(chips), strength < 3 ? 0.9 : 0.5);
  };
  const Tolerance tolerance = FindTolerance(settings, accuracies);
  EXPECT_EQ(tolerance.strength, 2);
  EXPECT_LE(most, 512);
  settings.strengths = {3, 4};
  EXPECT_FALSE(FindTolerance(settings, accuracies).strength.has_value());
  settings.yield = 0.99;
  settings.chips = 100;
  try {
    FindTolerance(settings, accuracies);
    ADD_FAILURE() << "100 chips are too few";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("takes at least 368 (299 at one strength alone)"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace steadfast::statistics
