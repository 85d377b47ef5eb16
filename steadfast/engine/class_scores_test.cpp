#include "steadfast/engine/class_scores.h"

#include <gtest/gtest.h>

#include <cmath>

namespace steadfast::engine {
namespace {

// Three classes by hand: labels 0 0 0 1 1 2 become 0 0 1 1 1 0.
TEST(ClassScores, FollowFromTheConfusionMatrix) {
  ClassScores scores(3);
  const std::vector<float> logits = {3, 2, 1, 3, 2, 1, 1, 2, 0, 0, 5, 0, 0, 5, 0, 9, 0, 8};
  scores.Add(std::span(logits).first(9), std::vector<uint16_t>{0, 0, 0});
  ClassScores rest(3);
  rest.Add(std::span(logits).subspan(9), std::vector<uint16_t>{1, 1, 2});
  scores += rest;
  EXPECT_EQ(scores.images(), 6);
  EXPECT_EQ(scores.count(0, 1), 1);
  EXPECT_EQ(scores.count(2, 0), 1);
  EXPECT_DOUBLE_EQ(scores.accuracy(), 4.0 / 6);
  EXPECT_DOUBLE_EQ(scores.recall(0), 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.precision(0), 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.recall(1), 1.0);
  EXPECT_DOUBLE_EQ(scores.precision(1), 2.0 / 3);
  EXPECT_DOUBLE_EQ(scores.f1(1), 0.8);
  EXPECT_DOUBLE_EQ(scores.f1(2), 0.0);
  EXPECT_DOUBLE_EQ(scores.macro_f1(), (2.0 / 3 + 0.8 + 0.0) / 3);
  EXPECT_DOUBLE_EQ(scores.top_five(), 1.0);
}

TEST(ClassScores, TopFiveTakesTheLowestOfEqualsAndNanForTheSmallest) {
  ClassScores scores(7);
  const float nan = NAN;
  const std::vector<float> logits = {1, 1, 1, 1, 1, 1, 1, nan, 6, 5, 4, 3, 2, nan};
  scores.Add(logits, std::vector<uint16_t>{4, 0});  // the fifth of equals; six numbers come before or beside NaN
  EXPECT_DOUBLE_EQ(scores.top_five(), 0.5);
  ClassScores other(7);
  other.Add(logits, std::vector<uint16_t>{5, 5});
  EXPECT_DOUBLE_EQ(other.top_five(), 0.5);
}

}  // namespace
}  // namespace steadfast::engine
