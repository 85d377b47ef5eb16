#include "steadfast/statistics/mean_sequence.h"

#include <gtest/gtest.h>

#include <random>

#include "steadfast/base/error.h"

namespace steadfast::statistics {
namespace {

// Looked at after every value, the interval holds the mean all the time as often as it says: near 0 and 1 too, for
// values near the mean, and for some that are rarely anything else than 0 or 1.
TEST(MeanSequence, HoldsAllTheTimeAsOftenAsItSays) {
#if defined(__SANITIZE_ADDRESS__)
  constexpr int kRepetitions = 200;
#else
  constexpr int kRepetitions = 2000;
#endif
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform;
  for (const double mean : {0.005, 0.5, 0.88, 0.995}) {
    for (const bool is_rare : {false, true}) {
      int right = 0;
      for (int i = 0; i < kRepetitions; ++i) {
        MeanSequence sequence(0.95, 200);
        const double half = std::min({0.05, mean, 1 - mean});
        bool holds = true;
        for (int n = 0; n < 150 && holds; ++n) {
          sequence.Add(is_rare ? (uniform(random) < mean ? 1.0 : 0.0) : mean + half * (2 * uniform(random) - 1));
          holds = sequence.interval().low <= mean && mean <= sequence.interval().high;
        }
        right += holds;
      }
      EXPECT_GE(right, kRepetitions * 94 / 100) << mean << is_rare;
    }
  }
}

// Chosen so that one would stop as soon as the mean is outside: intervals for a fixed number of values would be wrong
// far more often than they say.
TEST(MeanSequence, StudentsIntervalWouldNotHold) {
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal(0.85, 0.02);
  int wrong_student = 0, wrong = 0;
  for (int i = 0; i < 200; ++i) {
    std::vector<double> values;
    MeanSequence sequence(0.95, 400);
    bool student = true, own = true;
    for (int n = 0; n < 200; ++n) {
      values.push_back(std::clamp(normal(random), 0.0, 1.0));
      sequence.Add(values.back());
      if (n < 4) continue;
      const Interval t = StudentInterval(values);
      student &= t.low <= 0.85 && 0.85 <= t.high;
      own &= sequence.interval().low <= 0.85 && 0.85 <= sequence.interval().high;
    }
    wrong_student += !student;
    wrong += !own;
  }
  EXPECT_GT(wrong_student, 40);
  EXPECT_LE(wrong, 12);
}

TEST(MeanSequence, NarrowsAndNeverWidens) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal(0.85, 0.02);
  MeanSequence sequence(0.95);
  EXPECT_EQ(sequence.interval().low, 0);
  EXPECT_EQ(sequence.interval().high, 1);
  Interval last = sequence.interval();
  int64_t one_point = 0;
  for (int n = 0; n < 1000; ++n) {
    sequence.Add(std::clamp(normal(random), 0.0, 1.0));
    const Interval now = sequence.interval();
    ASSERT_GE(now.low, last.low);
    ASSERT_LE(now.high, last.high);
    ASSERT_LT(now.low, now.high);
    last = now;
    if (one_point == 0 && now.high - now.low < 0.01) one_point = sequence.count();
  }
  EXPECT_GT(one_point, 50);
  EXPECT_LT(one_point, 600);
  EXPECT_EQ(sequence.count(), 1000);
  EXPECT_THROW(MeanSequence(1.0), UsageError);
}

}  // namespace
}  // namespace steadfast::statistics
