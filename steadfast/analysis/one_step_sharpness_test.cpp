#include "steadfast/analysis/one_step_sharpness.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace steadfast::analysis {
namespace {

train::TrainingData RandomData() {
  data::ImageSet set{{1, 28, 28}, 10, std::vector<uint8_t>(240 * 784), std::vector<uint16_t>(240)};
  std::mt19937_64 random(1);
  for (auto& pixel : set.images) pixel = static_cast<uint8_t>(random() >> 56);
  for (auto& label : set.labels) label = static_cast<uint8_t>(random() % 10);
  return train::MakeTrainingData(set);
}

TEST(OneStepSharpness, GrowsAsTheGradientSaysForSmallRadii) {
  recipe::Recipe recipe;
  recipe.activation_bits = 8;  // rounding makes the loss a staircase; with 8 bits its steps are small
  const train::TrainingData data = RandomData();
  const auto network = train::MakeNetwork(recipe, {data.images.shape, 10}, data.scale);
  const double radii[] = {0.0, 0.02, 0.04};
  const auto sharpness = MeasureOneStepSharpness(*network, data, 200, {}, radii);
  EXPECT_EQ(sharpness.at[0].increase, 0.0);
  EXPECT_GT(sharpness.at[1].increase, 0.0);
  EXPECT_NEAR(sharpness.at[2].increase / sharpness.at[1].increase, 2.0, 0.4);
  // Gradients are cleared away: measuring again gives the same.
  EXPECT_EQ(MeasureOneStepSharpness(*network, data, 200, {}, radii).at[2].increase, sharpness.at[2].increase);
}

TEST(OneStepSharpness, RelativeRadiiAreOfTheWeightNorm) {
  recipe::Recipe recipe;
  const train::TrainingData data = RandomData();
  const auto network = train::MakeNetwork(recipe, {data.images.shape, 10}, data.scale);
  const double relative[] = {0.02};
  const auto sharpness = MeasureOneStepSharpness(*network, data, 200, relative, {});
  double squares = 0;
  for (const auto* layer : network->layers()) squares += layer->quantized_weight().square().sum().item<double>();
  EXPECT_NEAR(sharpness.weight_norm, std::sqrt(squares), 1e-4 * sharpness.weight_norm);
  EXPECT_NEAR(sharpness.at[0].radius, 0.02 * sharpness.weight_norm, 1e-9);
}

}  // namespace
}  // namespace steadfast::analysis
