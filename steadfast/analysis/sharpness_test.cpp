#include "steadfast/analysis/sharpness.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <map>
#include <numeric>

#include "steadfast/base/error.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/random_model.h"

namespace steadfast::analysis {
namespace {

using torch::Tensor;

// One linear layer and two classes: the loss is log(1 + exp(-d)) of a difference of logits that is linear in the
// weights, so the steepest direction is known for every radius.
struct Linear {
  Linear() {
    model.name = "linear";
    model.values = {{"input", {2, 1, 1, true}, model::ActivationCoding{.bits = 8, .scale = 0.01f}},
                    {"logits", {2, 1, 1, true}, std::nullopt}};
    const int weight = model::AddWeights(model, "fc.weight", {2, 2}, {.bits = 8}, {0.01f}, {100, 0, 0, 100});
    model.nodes = {{"fc", model::Linear{{weight, {}}}, {0}, 1}};
    model.output = 1;
    images = torch::tensor({200, 50}, torch::kByte).reshape({1, 2, 1, 1});
    labels = torch::zeros({1}, torch::kLong);
  }
  model::QuantizedModel model;
  Tensor images, labels;
};

TEST(Sharpness, AscentFindsTheWorstPerturbationOfALinearLayer) {
  const Linear linear;
  const WeightLoss loss(linear.model, linear.images, linear.labels);
  const double clean = loss.At().loss;
  const double x0 = 2.0, x1 = 0.5, difference = x0 - x1;  // real inputs; weights are the identity
  EXPECT_NEAR(clean, std::log1p(std::exp(-difference)), 1e-6);
  // d moves by -radius * ||(x, -x)|| at worst.
  for (double radius : {0.1, 0.5}) {
    const double worst = difference - radius * std::sqrt(2 * (x0 * x0 + x1 * x1));
    EXPECT_NEAR(AscendSharpness(loss, clean, radius, false, 8, 2, 1), std::log1p(std::exp(-worst)) - clean, 1e-4);
  }
  EXPECT_EQ(AscendSharpness(loss, clean, 0, false, 8, 2, 1), 0);
}

TEST(Sharpness, AdaptiveSharpnessDoesNotDependOnScale) {
  // The same function with a layer ten times larger and the next ten times smaller.
  model::QuantizedModel model = model::RandomLeNet5(4, 4, 3);
  const auto bytes = model::RandomImages(model, 60, 1);
  const Tensor images = torch::from_blob(const_cast<uint8_t*>(bytes.data()), {60, 1, 28, 28}, torch::kByte);
  const Tensor labels = torch::arange(60).remainder(10).to(torch::kLong);
  model::QuantizedModel scaled = model;
  const auto multiply = [&](const char* name, float factor) {
    for (model::Parameter& parameter : scaled.parameters) {
      if (parameter.name != name) continue;
      for (int64_t i = 0; i < parameter.elements(); ++i)
        parameter.bits[static_cast<size_t>(i)] = std::bit_cast<uint32_t>(parameter.real(i) * factor);
    }
  };
  multiply("conv1.weight_scale", 8);
  multiply("conv1.bias", 8);
  multiply("conv2.weight_scale", 0.125f);
  for (auto& value : scaled.values) {
    if (value.name == model.values[1].name || value.name == model.values[2].name) value.coding->scale *= 8;
  }
  const WeightLoss a(model, images, labels), b(scaled, images, labels);
  ASSERT_NEAR(a.At().loss, b.At().loss, 1e-6);
  const double plain_a = AscendSharpness(a, a.At().loss, 0.3, false, 4, 1, 1);
  const double plain_b = AscendSharpness(b, b.At().loss, 0.3, false, 4, 1, 1);
  const double adaptive_a = AscendSharpness(a, a.At().loss, 1, true, 4, 1, 1);
  const double adaptive_b = AscendSharpness(b, b.At().loss, 1, true, 4, 1, 1);
  EXPECT_GT(std::abs(plain_a - plain_b), 0.05 * plain_a) << "the ball of a fixed radius is another one";
  EXPECT_NEAR(adaptive_a, adaptive_b, 0.02 * adaptive_a);
}

TEST(Sharpness, WorstIsWorseThanAverageAndGrowsWithTheRadius) {
  const auto model = model::RandomLeNet5(4, 4, 1);
  const auto bytes = model::RandomImages(model, 60, 1);
  const Tensor images = torch::from_blob(const_cast<uint8_t*>(bytes.data()), {60, 1, 28, 28}, torch::kByte);
  const WeightLoss loss(model, images, torch::arange(60).remainder(10).to(torch::kLong));
  const double clean = loss.At().loss;
  double last = 0;
  for (double radius : {0.05, 0.2, 0.8}) {
    const double worst = AscendSharpness(loss, clean, radius, false, 4, 2, 1);
    const Estimate average = AverageSharpness(loss, clean, radius, false, 8, 1);
    EXPECT_GT(worst, average.value + 2 * average.standard_error);
    EXPECT_GT(worst, last);
    last = worst;
  }
}

recipe::SharpnessSettings SmallSettings() {
  recipe::SharpnessSettings settings;
  settings.images = 80;
  settings.ascent_steps = settings.restarts = 2;
  settings.draws = 3;
  settings.fault_trials = 10;
  settings.eigenvalues = 2;
  settings.lanczos_steps = settings.layer_steps = settings.density_steps = 4;
  settings.density_probes = settings.trace_probes = 2;
  settings.surface_points = 3;
  settings.plane_points = 3;
  return settings;
}

TEST(Sharpness, AWholeMeasurementHoldsEverythingAndIsDeterministic) {
  const auto model = model::RandomLeNet5(4, 4, 1);
  const data::ImageSet set{{1, 28, 28}, 10, model::RandomImages(model, 100, 1), std::vector<uint16_t>(100, 3)};
  std::vector<int64_t> training(90);
  std::iota(training.begin(), training.end(), 5);
  const SharpnessInput input{model, set, training, {{"other", model::RandomLeNet5(4, 4, 2)}}};
  double share = 0;
  const auto result = MeasureSharpness(
      input, SmallSettings(),
      [&](double s, const std::string&) {
        EXPECT_GE(s, share);
        share = s;
      },
      nullptr);
  EXPECT_GT(share, 0.9);
  EXPECT_EQ(result.images, 80);
  std::map<std::string, int> counts;
  for (const Measure& m : result.measures) {
    ++counts[m.name + (m.layer.empty() ? "" : " of a layer")];
    EXPECT_TRUE(std::isfinite(m.value)) << m.name;
  }
  const std::map<std::string, int> expected = {{"weight-norm", 1},
                                               {"gradient-norm", 1},
                                               {"sam", 1},
                                               {"sam-relative", 3},
                                               {"sam-adaptive", 2},
                                               {"gaussian", 1},
                                               {"gaussian-relative", 6},
                                               {"gaussian-adaptive", 2},
                                               {"fault-flip", 3},
                                               {"hessian-eigenvalue", 2},
                                               {"hessian-trace", 1},
                                               {"hessian-eigenvalue-relative", 1},
                                               {"hessian-trace-relative", 1},
                                               {"hessian-smallest-eigenvalue", 1},
                                               {"hessian-eigenvalue of a layer", 5},
                                               {"hessian-trace of a layer", 5}};
  EXPECT_EQ(counts, expected);
  EXPECT_EQ(result.density.size(), 8u);
  EXPECT_EQ(result.surfaces.size(), 3 * 4 + 9 * 2u);
  EXPECT_EQ(ToJson(result), ToJson(MeasureSharpness(input, SmallSettings(), {}, nullptr)));
}

TEST(Sharpness, BitFlipsHaveImagesOfTheirOwn) {
  const auto model = model::RandomLeNet5(4, 4, 1);
  const data::ImageSet set{{1, 28, 28}, 10, model::RandomImages(model, 100, 1), std::vector<uint16_t>(100, 3)};
  std::vector<int64_t> training(90);
  std::iota(training.begin(), training.end(), 5);
  const auto increase = [&](int64_t images, int64_t fault_images) {
    auto settings = SmallSettings();
    settings.images = images;
    settings.fault_images = fault_images;
    settings.fault_rates = {1e-2};
    settings.eigenvalues = settings.layer_steps = settings.density_probes = settings.trace_probes = 0;
    settings.surface_points = settings.plane_points = 0;
    for (const Measure& m : MeasureSharpness({model, set, training, {}}, settings, {}, nullptr).measures) {
      if (m.name == "fault-flip") return m.value;
    }
    return std::nan("");
  };
  const double few = increase(10, 10), many = increase(10, 90);
  EXPECT_NE(few, many);
  EXPECT_EQ(increase(20, 10), few);
  EXPECT_EQ(increase(10, 5000), many);  // as many as there are
}

TEST(Sharpness, StopsWhenCancelled) {
  const auto model = model::RandomLeNet5(4, 4, 1);
  const data::ImageSet set{{1, 28, 28}, 10, model::RandomImages(model, 100, 1), std::vector<uint16_t>(100, 3)};
  const std::vector<int64_t> training = {0, 1, 2, 3};
  Cancellation cancellation;
  cancellation.Request();
  EXPECT_THROW(MeasureSharpness({model, set, training, {}}, SmallSettings(), {}, &cancellation), InterruptedError);
}

}  // namespace
}  // namespace steadfast::analysis
