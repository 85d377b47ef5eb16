#include "steadfast/model/view.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"

namespace steadfast::model {
namespace {

using Elements = std::vector<int32_t>;

TEST(View, MovesElementsAsOnnxDoes) {
  const View view = ViewOf({2, 1, 3});  // 0 1 2 | 3 4 5
  EXPECT_EQ(Reshaped(view, {0, -1}).dims, (std::vector<int64_t>{1, 6}));
  EXPECT_EQ(Reshaped(view, {3, 2}).dims, (std::vector<int64_t>{3, 2}));
  const View turned = Transposed(Reshaped(view, {2, 3}), {});
  EXPECT_EQ(turned.dims, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(turned.from, (Elements{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(Transposed(turned, {1, 0}).from, (Elements{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(Sliced(turned, 0, 1, 100, 1).from, (Elements{1, 4, 2, 5}));
  EXPECT_EQ(Sliced(turned, 0, -1, -100, -2).from, (Elements{2, 5, 0, 3}));
  EXPECT_EQ(Sliced(turned, -1, -1, 2, 1).from, (Elements{3, 4, 5}));
  EXPECT_EQ(Gathered(turned, 1, std::vector<int64_t>{1, -2}).from, (Elements{3, 0, 4, 1, 5, 2}));
  EXPECT_EQ(WithoutAxes(view, {}).dims, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(WithoutAxes(view, {-2}).dims, (std::vector<int64_t>{1, 2, 3}));
  EXPECT_EQ(WithAxes(turned, {0, -1}).dims, (std::vector<int64_t>{1, 3, 2, 1}));
  EXPECT_EQ(Broadcast(View{{2, 1}, {}}, {2, 3}).from, (Elements{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(BroadcastDims({2, 1}, {4, 1, 3}), (std::vector<int64_t>{4, 2, 3}));
}

TEST(View, WhatMovesNothingHasNoList) {
  const View view = ViewOf({2, 3, 4});
  EXPECT_TRUE(Transposed(view, {1, 0, 2, 3}).from.empty());  // the batch is of size 1
  EXPECT_TRUE(Sliced(view, 1, 0, 2, 1).from.empty());
  EXPECT_TRUE(Reshaped(view, {6, -1}).from.empty());
}

TEST(View, RefusesWhatDoesNotFit) {
  const View view = ViewOf({2, 1, 3});
  EXPECT_THROW(Reshaped(view, {0, 5}), InputError);
  EXPECT_THROW(Reshaped(view, {-1, -1}), InputError);
  EXPECT_THROW(Reshaped(view, {0, 7, -1}), InputError);
  EXPECT_THROW(Reshaped(view, {0, 6}, false), InputError);
  EXPECT_THROW(Reshaped(view, {int64_t{1} << 40, int64_t{1} << 40}), InputError);
  EXPECT_THROW(Transposed(view, {0, 1, 1, 2}), InputError);
  EXPECT_THROW(Transposed(view, {0, 1}), InputError);
  EXPECT_THROW(Gathered(view, 1, std::vector<int64_t>{2}), InputError);
  EXPECT_THROW(Sliced(view, 1, 2, 2, 1), InputError);
  EXPECT_THROW(Sliced(view, 4, 0, 1, 1), InputError);
  EXPECT_THROW(WithoutAxes(view, {1}), InputError);
  EXPECT_THROW(Broadcast(view, {1, 3, 1, 3}), InputError);
}

TEST(Selection, KeepsTheOrderOfTheValue) {
  const ValueShape shape{4, 2, 2};
  const View tokens = Transposed(Reshaped(ViewOf(shape), {4, 4}), {1, 0});  // [positions, channels]
  EXPECT_FALSE(SelectionOf(tokens, shape).has_value());
  const auto some_channels = SelectionOf(Sliced(tokens, 1, 2, 4, 1), shape);
  ASSERT_TRUE(some_channels.has_value());
  EXPECT_EQ(some_channels->shape, (ValueShape{2, 2, 2}));
  EXPECT_EQ(some_channels->from, (Elements{8, 9, 10, 11, 12, 13, 14, 15}));
  EXPECT_EQ(some_channels->view.from, (Elements{0, 4, 1, 5, 2, 6, 3, 7}));
  const auto some_tokens = SelectionOf(Sliced(tokens, 0, 1, 3, 1), shape);
  EXPECT_EQ(some_tokens->shape, (ValueShape{4, 1, 2}));
  EXPECT_EQ(some_tokens->from, (Elements{1, 2, 5, 6, 9, 10, 13, 14}));
  const auto others = SelectionOf(View{{3}, {15, 0, 0}}, shape);
  EXPECT_EQ(others->shape, (ValueShape{2, 1, 1}));
  EXPECT_EQ(others->view.from, (Elements{1, 0, 0}));
}

}  // namespace
}  // namespace steadfast::model
