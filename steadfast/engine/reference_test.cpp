#include "steadfast/engine/reference.h"

#include <gtest/gtest.h>

#include <cmath>

#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {
namespace {

using model::QuantizedModel;

// One 2 x 2 convolution on a 2 x 3 image with padding 0, then a linear layer of one output, worked by hand.
TEST(RunReference, WorkedByHand) {
  QuantizedModel model;
  model.values = {{"input", {1, 2, 3}, model::ActivationCoding{.bits = 8, .scale = 0.5f, .zero_point = 10}},
                  {"hidden", {1, 1, 2}, model::ActivationCoding{.bits = 4, .scale = 1.0f}},
                  {"flat", {2, 1, 1, true}, model::ActivationCoding{.bits = 4, .scale = 1.0f}},
                  {"logits", {2, 1, 1, true}, std::nullopt}};
  const int conv = model::AddWeights(model, "conv.weight", {1, 1, 2, 2}, {.bits = 4}, {0.25f}, {1, -2, 3, -8});
  const int fc = model::AddWeights(model, "fc.weight", {2, 2}, model::FormatWithoutZero(2), {0.5f}, {0, 1, 2, 3});
  const model::Convolution convolution{model::AddAffine(model, "conv", conv, {}, {0.4375f}),
                                       {.kernel_h = 2, .kernel_w = 2}};
  model.nodes = {{"conv", convolution, {0}, 1, {.relu = true}},
                 {"flatten", model::Flatten{}, {1}, 2},
                 {"fc", model::Linear{{fc, {}}}, {2}, 3}};
  model.output = 3;
  model::Validate(model);
  const std::vector<uint8_t> image = {10, 12, 9, 30, 11, 14};
  Trace trace;
  const std::vector<float> logits = RunReference(model, image, &trace);
  // Levels 0 2 -1 / 20 1 4. Sums: 0 - 4 + 60 - 8 = 48; 2 + 2 + 3 - 32 = -25.
  // 48 * 0.125 + 0.4375 = 6.4375 -> 6; -25 * 0.125 + 0.4375 < 0 -> 0.
  EXPECT_EQ(trace.codes[1], (std::vector<uint8_t>{6, 0}));
  // Levels of 2-bit codes without zero: -3 -1 1 3. Logits: 6 * -3 * 0.5 = -9 and 6 * 1 * 0.5 = 3.
  EXPECT_EQ(logits, (std::vector<float>{-9.0f, 3.0f}));
}

TEST(Requantize, RoundsHalfToEvenAndClips) {
  const model::Requantization r{.scale = {0.5f}, .offset = {0.0f}, .highest = 15.0f};
  EXPECT_EQ(model::Requantize(1, r, 0), 0);  // 0.5
  EXPECT_EQ(model::Requantize(3, r, 0), 2);  // 1.5
  EXPECT_EQ(model::Requantize(5, r, 0), 2);  // 2.5
  EXPECT_EQ(model::Requantize(-9, r, 0), 0);
  EXPECT_EQ(model::Requantize(1000, r, 0), 15);
}

TEST(Requantize, DropsCodesBelowTheThreshold) {
  const model::Requantization r{.scale = {1.0f}, .offset = {0.0f}, .highest = 15.0f, .zero_below = 3};
  EXPECT_EQ(model::Requantize(2, r, 0), 0);
  EXPECT_EQ(model::Requantize(3, r, 0), 3);
}

// Zero padding: an image of zero-point bytes has level 0 everywhere, so every position gives the bias.
TEST(RunReference, PaddingHasLevelZero) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    QuantizedModel model = model::RandomModel(seed);
    const std::vector<uint8_t> image(static_cast<size_t>(model.values[0].shape.elements()),
                                     static_cast<uint8_t>(model.values[0].coding->zero_point));
    if (!model.nodes[0].operation.Is<model::Convolution>()) continue;
    Trace trace;
    RunReference(model, image, &trace);
    const auto& codes = trace.codes[1];
    const model::ValueShape shape = model.values[1].shape;
    for (int64_t c = 0; c < shape.channels; ++c) {
      for (int64_t i = 0; i < shape.height * shape.width; ++i) {
        ASSERT_EQ(codes[static_cast<size_t>(c * shape.height * shape.width + i)],
                  codes[static_cast<size_t>(c * shape.height * shape.width)]);
      }
    }
  }
}

}  // namespace
}  // namespace steadfast::engine
