#include "steadfast/engine/zero_skipping.h"

#include <gtest/gtest.h>

#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/product.h"
namespace steadfast::engine {
namespace {

// A linear layer of 6 inputs and 3 outputs on two lanes, worked by hand.
model::QuantizedModel LinearModel() {
  model::QuantizedModel model;
  model.values = {{"input", {6, 1, 1, true}, model::ActivationCoding{.bits = 8, .scale = 1.0f, .zero_point = 7}},
                  {"logits", {3, 1, 1, true}, std::nullopt}};
  const int weight = model::AddWeights(model, "fc.weight", {3, 6}, {.bits = 4}, {1.0f}, std::vector<int16_t>(18, 1));
  model.nodes = {{"fc", model::Linear{{weight, {}}}, {0}, 1}};
  model.output = 1;
  return model;
}

TEST(CountCycles, TheFullestLaneDecides) {
  const auto model = LinearModel();
  const std::vector<uint8_t> codes = {7, 1, 7, 2, 3, 4};  // not zero: places 1, 3, 4, 5
  // Dealt out one by one, lane 0 has place 4, lane 1 has 1, 3, 5.
  const auto cycles = CountCycles(model, model.nodes[0], codes, {.lanes = 2, .filters = 256, .brick = 1});
  EXPECT_EQ(cycles.plain, 3);
  EXPECT_EQ(cycles.skipping, 3);
  EXPECT_EQ(cycles.products, 18);
  EXPECT_EQ(cycles.skipped, 6);
  // In bricks of two, lane 0 has 0 1 4 5, lane 1 has 2 3.
  EXPECT_EQ(CountCycles(model, model.nodes[0], codes, {.lanes = 2, .filters = 256, .brick = 2}).skipping, 3);
  // In bricks of three, lane 0 has 0 1 2, lane 1 has 3 4 5.
  EXPECT_EQ(CountCycles(model, model.nodes[0], codes, {.lanes = 2, .filters = 256, .brick = 3}).skipping, 3);
  EXPECT_EQ(CountCycles(model, model.nodes[0], codes, {.lanes = 3, .filters = 256, .brick = 1}).skipping, 2);
}

TEST(CountCycles, MoreFiltersThanTheMachineHasTakeMorePasses) {
  const auto model = LinearModel();
  const std::vector<uint8_t> zeros(6, 7);
  const auto cycles = CountCycles(model, model.nodes[0], zeros, {.lanes = 2, .filters = 2, .brick = 1});
  EXPECT_EQ(cycles.plain, 6);     // 3 cycles, two passes
  EXPECT_EQ(cycles.skipping, 2);  // a window of zeros takes a cycle
  EXPECT_EQ(cycles.skipped, 18);
}

// A 3 x 3 window with padding 1 on a 2 x 2 image: padding is not a product, but takes its place in the plain machine.
TEST(CountCycles, PaddingIsSkippedAndNotCounted) {
  model::QuantizedModel model;
  model.values = {{"input", {1, 2, 2}, model::ActivationCoding{.bits = 8, .scale = 1.0f}},
                  {"logits", {1, 2, 2}, std::nullopt}};
  const int weight =
      model::AddWeights(model, "conv.weight", {1, 1, 3, 3}, {.bits = 4}, {1.0f}, std::vector<int16_t>(9, 1));
  model.nodes = {
      {"conv",
       model::Convolution{{weight, {}},
                          {.kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}},
       {0},
       1}};
  model.output = 1;
  const std::vector<uint8_t> codes = {1, 0, 2, 0};
  const auto cycles = CountCycles(model, model.nodes[0], codes, {.lanes = 1, .filters = 1, .brick = 1});
  EXPECT_EQ(cycles.plain, 4 * 9);
  EXPECT_EQ(cycles.skipping, 4 * 2);
  EXPECT_EQ(cycles.products, 16);
  EXPECT_EQ(cycles.skipped, 8);
}

// Two groups of matrices of 1 x 2 times 2 x 3: each column of the second is a window, each row of the first a filter.
TEST(CountCycles, ProductsStreamTheirSecondInput) {
  model::QuantizedModel model;
  const model::ActivationCoding coding{.bits = 8, .scale = 1.0f, .zero_point = 5};
  model.values = {{"a", {2, 1, 2}, coding}, {"b", {4, 1, 3}, coding}, {"c", {2, 1, 3}, coding}};
  const model::Node node{"product", model::Product{false, 2, 1}, {0, 1}, 2};
  EXPECT_EQ(StreamedInputOf(node), 1);
  const std::vector<uint8_t> b = {5, 1, 5,  //
                                  5, 2, 3,  //
                                  4, 5, 5,  //
                                  4, 5, 6};
  const auto cycles = CountCycles(model, node, b, {.lanes = 1, .filters = 4, .brick = 1});
  EXPECT_EQ(cycles.products, 2 * 2 * 3);
  EXPECT_EQ(cycles.skipped, 6);
  EXPECT_EQ(cycles.plain, 2 * 6);
  EXPECT_EQ(cycles.skipping, (1 + 2 + 1) + (2 + 1 + 1));
}

}  // namespace
}  // namespace steadfast::engine
