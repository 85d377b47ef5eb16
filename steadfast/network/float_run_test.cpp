#include "steadfast/network/float_run.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/input_folding.h"
#include "steadfast/network/test_graphs.h"

namespace steadfast::network {
namespace {

// Worked by hand: a 3 x 3 window with stride 2 and padding on one side, two groups, then normalization and ReLU6.
TEST(RunFloat, WorkedByHand) {
  GraphBuilder builder("hand", {2, 2, 2});
  const Window window{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 1, .pad_left = 1};
  const int sum = builder.Convolve(0, "conv", 2, window, 2, true);
  const int normal = builder.Normalize(sum, "bn");
  builder.AddNode("clip", Clip{0, 6}, {normal});
  FloatGraph graph = builder.graph_;
  graph.parameters[0].values = {1, 2, 3, 4, -1, 0, 0, 1};
  graph.parameters[1].values = {0.5f, 1};
  graph.parameters[2].values = {2, 1};   // gamma
  graph.parameters[3].values = {0, -1};  // beta
  graph.parameters[4].values = {1, 0};   // mean
  graph.parameters[5].values = {4, 1};   // variance
  std::get<BatchNormalization>(graph.nodes[1].operation).epsilon = 0;
  FloatValues values(graph.values.size());
  values[0] = {1, 2, 3, 4, 5, 6, 7, 8};
  RunFloat(graph, values);
  EXPECT_EQ(values[static_cast<size_t>(sum)],
            (std::vector<float>{2 * 1 + 4 * 3 + 0.5f, 1 + 4 + 9 + 16 + 0.5f, 7 + 1, 8 - 5 + 1}));
  EXPECT_EQ(values[static_cast<size_t>(graph.output)], (std::vector<float>{6, 6, 6, 3}));
}

TEST(RunFloat, DoesNotDependOnThreads) {
  FloatGraph graph = MakeBuiltIn("resnet8", {3, 32, 32}, 10);
  Randomize(graph, 1);
  const auto bytes = RandomBytes(5 * 3072, 2);
  EXPECT_EQ(RunFloat(graph, bytes, {0.01f, 100}, 1), RunFloat(graph, bytes, {0.01f, 100}, 3));
  graph.parameters[0].values.clear();
  EXPECT_THROW(RunFloat(graph, bytes, {0.01f, 100}, 1), InputError);
}

// Folding changes nothing but what padding is: none here.
TEST(FoldInput, ChangesNothingWithoutPadding) {
  for (const bool in_graph : {false, true}) {
    GraphBuilder builder("folding", {3, 6, 6});
    int x = in_graph ? builder.Normalize(0, "front") : 0;
    x = builder.Relu(builder.Convolve(x, "conv", 4, Square(3)), "relu");
    builder.Connect(x, "fc", 5);
    FloatGraph graph = builder.graph_;
    Randomize(graph, 3);
    const auto bytes = RandomBytes(8 * 108, 4);
    const InputNormalization normalization{{0.4, 0.5, 0.6}, {0.2, 0.25, 0.3}};
    // Each channel by itself, as the network expects it.
    FloatGraph folded = graph;
    const ByteScale scale = ByteScaleOf(graph, normalization);
    EXPECT_EQ(FoldInput(folded, normalization, scale), 0);
    const std::vector<float> now = RunFloat(folded, bytes, scale, 1);
    for (size_t image = 0; image < 8; ++image) {
      FloatValues values(graph.values.size());
      for (size_t i = 0; i < 108; ++i)
        values[0].push_back(static_cast<float>((bytes[image * 108 + i] / 255.0 - normalization.mean[i / 36]) /
                                               normalization.deviation[i / 36]));
      RunFloat(graph, values);
      for (size_t k = 0; k < 5; ++k)
        EXPECT_NEAR(now[image * 5 + k], values[static_cast<size_t>(graph.output)][k], 2e-4);
    }
    EXPECT_TRUE(std::holds_alternative<Convolution>(folded.nodes[0].operation));
  }
}

TEST(FoldInput, SaysHowFarPaddingMoves) {
  FloatGraph graph = MakeBuiltIn("resnet8", {3, 32, 32}, 10);
  Randomize(graph, 5);
  const InputNormalization normalization{{0.5, 0.4, 0.45}, {0.25}};
  const ByteScale scale = ByteScaleOf(graph, normalization);
  EXPECT_EQ(scale.zero_point, 115);  // 255 * 0.45
  EXPECT_NEAR(FoldInput(graph, normalization, scale), 115 - 102, 1e-6);
  EXPECT_THROW(FoldInput(graph, {{0.5, 0.4}, {0.25}}, scale), InputError);
  EXPECT_THROW(FoldInput(graph, {{0.5}, {0}}, scale), InputError);
}

}  // namespace
}  // namespace steadfast::network
