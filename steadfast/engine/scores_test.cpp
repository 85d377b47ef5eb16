#include "steadfast/engine/scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace steadfast::engine {
namespace {

TEST(ArgMax, GivesTiesToTheLowestIndex) {
  EXPECT_EQ(ArgMax(std::vector<float>{1, 3, 3, 2}), 1);
}

TEST(LossOf, IsTheCrossEntropyOfTheSoftmax) {
  const std::vector<float> logits = {1.0f, 2.0f, -0.5f};
  const double expected = -std::log(std::exp(2.0) / (std::exp(1.0) + std::exp(2.0) + std::exp(-0.5)));
  EXPECT_NEAR(static_cast<double>(LossOf(logits, 1)) * kScoreUnit, expected, kScoreUnit);
  EXPECT_EQ(static_cast<double>(MarginOf(logits, 1)) * kScoreUnit, 1.0);
  EXPECT_EQ(static_cast<double>(MarginOf(logits, 2)) * kScoreUnit, -2.5);
}

TEST(LossOf, StaysFiniteForHugeLogits) {
  EXPECT_EQ(static_cast<double>(LossOf(std::vector<float>{1e30f, -1e30f}, 1)) * kScoreUnit, 4096.0);
}

TEST(ScoreOf, CountsBrokenAndRepaired) {
  const std::vector<float> logits = {2, 1, /**/ 1, 2, /**/ 1, 2, /**/ 2, 1};
  const std::vector<uint16_t> labels = {0, 0, 1, 1};
  const std::vector<uint16_t> golden = {0, 0, 0, 0};
  const Scores scores = ScoreOf(logits, 2, labels, golden);
  EXPECT_EQ(scores.images, 4);
  EXPECT_EQ(scores.correct, 2);   // images 0 and 2
  EXPECT_EQ(scores.changed, 2);   // images 1 and 2
  EXPECT_EQ(scores.broken, 1);    // image 1
  EXPECT_EQ(scores.repaired, 1);  // image 2
}

}  // namespace
}  // namespace steadfast::engine
