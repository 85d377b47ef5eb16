#include "steadfast/statistics/sample_size.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "steadfast/base/error.h"

namespace steadfast::statistics {
namespace {

// By hand, and as tables of sample sizes have them.
TEST(SampleSize, HasTheKnownValues) {
  EXPECT_EQ(SampleSize(1'000'000'000'000, 0.01, 0.95), 9604);
  EXPECT_EQ(SampleSize(1'000'000'000'000, 0.05, 0.95), 385);
  EXPECT_EQ(SampleSize(1000, 0.05, 0.95), 278);
  EXPECT_EQ(SampleSize(10'000, 0.01, 0.95), 4900);
  EXPECT_EQ(SampleSize(1, 0.01, 0.95), 1);
  EXPECT_LT(SampleSize(100'000, 0.01, 0.95, 0.02), SampleSize(100'000, 0.01, 0.95));
  EXPECT_THROW(SampleSize(0, 0.01, 0.95), UsageError);
  EXPECT_THROW(SampleSize(10, 0, 0.95), UsageError);
  EXPECT_THROW(SampleSize(10, 0.01, 1), UsageError);
}

// Of populations of which a known share has an effect, drawn without replacement.
TEST(SampleSize, IsEnoughAsOftenAsItSays) {
  std::mt19937_64 random(1);
  for (const double share : {0.1, 0.5, 0.8}) {
    constexpr int64_t kPopulation = 20'000;
    const int64_t size = SampleSize(kPopulation, 0.03, 0.95);
    int right = 0;
    for (int repetition = 0; repetition < 2000; ++repetition) {
      int64_t left = kPopulation, effects = std::lround(share * kPopulation), seen = 0;
      for (int64_t i = 0; i < size; ++i, --left) {
        if (static_cast<int64_t>(random() % static_cast<uint64_t>(left)) >= effects) continue;
        ++seen;
        --effects;
      }
      right += std::abs(static_cast<double>(seen) / static_cast<double>(size) - share) <= 0.03;
    }
    EXPECT_GE(right, 2000 * 94 / 100) << share;
  }
}

}  // namespace
}  // namespace steadfast::statistics
