#include "steadfast/network/fusion.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/network/built_in.h"

namespace steadfast::network {
namespace {

TEST(Fuse, PutsWhatFollowsASumIntoOneStep) {
  const FloatGraph graph = MakeBuiltIn("resnet8", {3, 32, 32}, 10);
  const auto steps = Fuse(graph);
  std::vector<std::string> names;
  for (const FusedStep& step : steps) names.push_back(step.name);
  EXPECT_EQ(names[0], "conv1");
  EXPECT_TRUE(steps[0].normalization && steps[0].clip);
  EXPECT_EQ(steps[0].range, OutputRange::kPositive);
  EXPECT_FALSE(steps[0].needs_precision);  // a convolution takes it too
  EXPECT_EQ(names[2], "stage1.block1.conv2");
  EXPECT_TRUE(steps[2].normalization && !steps[2].clip);
  EXPECT_EQ(steps[2].range, OutputRange::kSigned);
  EXPECT_TRUE(steps[2].needs_precision);  // only an addition takes it
  EXPECT_EQ(names[3], "stage1.block1.add");
  EXPECT_TRUE(steps[3].clip);
  EXPECT_EQ(steps[names.size() - 3].name, "pool");
  EXPECT_EQ(steps[names.size() - 3].range, OutputRange::kPositive);
  EXPECT_TRUE(steps[names.size() - 3].needs_precision);
  EXPECT_EQ(steps[names.size() - 2].range, OutputRange::kAsInput);  // flatten
  EXPECT_EQ(steps.back().range, OutputRange::kReal);
}

TEST(Fuse, LeavesWhatAnotherNodeTakesApart) {
  GraphBuilder builder("two", {1, 4, 4});
  const int sum = builder.Convolve(0, "conv", 2, Square(1), 1, true);
  const int relu = builder.Relu(sum, "relu");
  const int joined = builder.AddNode("join", Concatenate{}, {sum, relu});
  builder.Connect(joined, "fc", 2);
  const auto steps = Fuse(builder.graph_);
  ASSERT_EQ(steps.size(), 5u);
  EXPECT_FALSE(steps[0].clip);
  EXPECT_EQ(steps[0].range, OutputRange::kSigned);
  EXPECT_EQ(steps[1].name, "relu");
  EXPECT_EQ(steps[1].range, OutputRange::kPositive);
  EXPECT_EQ(steps[2].range, OutputRange::kSigned);
}

TEST(Fuse, ANormalizationMayStandAlone) {
  GraphBuilder builder("alone", {1, 4, 4});
  const int relu = builder.Relu(builder.Convolve(0, "conv", 2, Square(1)), "relu");
  builder.Connect(builder.Relu(builder.Normalize(relu, "bn"), "bn.relu"), "fc", 2);
  const auto steps = Fuse(builder.graph_);
  ASSERT_EQ(steps.size(), 4u);
  EXPECT_TRUE(steps[1].normalization);
  EXPECT_TRUE(steps[1].clip);
  EXPECT_EQ(steps[1].range, OutputRange::kPositive);
  EXPECT_TRUE(steps[0].needs_precision);
}

TEST(Fuse, RefusesWhatHasNoIntegerForm) {
  GraphBuilder apart("apart", {1, 4, 4});
  const int relu = apart.Relu(apart.Convolve(0, "conv", 2, Square(1)), "relu");
  const int flat = apart.Relu(apart.Connect(relu, "fc1", 3), "fc1.relu");
  apart.Connect(apart.Normalize(flat, "bn"), "fc2", 2);
  EXPECT_THROW(Fuse(apart.graph_), InputError);
  GraphBuilder last("last", {1, 4, 4});
  last.Relu(last.Connect(0, "fc", 2), "relu");
  EXPECT_THROW(Fuse(last.graph_), InputError);
}

}  // namespace
}  // namespace steadfast::network
