#include "steadfast/train/differentiable_model.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/data/dataset.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/random_model.h"
#include "steadfast/train/trainer.h"

namespace steadfast::train {
namespace {

// Every code of every value, and every logit, of LibTorch and of the reference engine.
void ExpectEqual(const model::QuantizedModel& model, int64_t n, uint64_t seed) {
  const auto bytes = model::RandomImages(model, n, seed);
  const model::ValueShape& input = model.values[0].shape;
  const auto images = torch::from_blob(const_cast<uint8_t*>(bytes.data()),
                                       {n, input.channels, input.height, input.width}, torch::kByte);
  engine::Trace trace;
  const auto logits = engine::RunReference(model, bytes, &trace);
  std::vector<torch::Tensor> exact;
  const torch::Tensor exact_logits = DifferentiableModel(model).Logits(images, {}, &exact);
  for (size_t v = 0; v < model.values.size(); ++v) {
    if (!model.values[v].coding) continue;
    const auto codes = exact[v].to(torch::kByte).contiguous();
    ASSERT_EQ(std::vector<uint8_t>(codes.data_ptr<uint8_t>(), codes.data_ptr<uint8_t>() + codes.numel()),
              trace.codes[v])
        << model.values[v].name;
  }
  const auto flat = exact_logits.contiguous();
  ASSERT_EQ(std::vector<float>(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()), logits);
}

TEST(DifferentiableModel, AgreesWithTheEngineCodeForCode) {
  ASSERT_NO_FATAL_FAILURE(ExpectEqual(model::RandomLeNet5(4, 4, 1), 200, 1));
  ASSERT_NO_FATAL_FAILURE(ExpectEqual(model::RandomLeNet5(2, 2, 2), 200, 2));
  int compared = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto model = model::RandomModel(seed);
    if (model.values[0].shape.flat) continue;
    try {
      ASSERT_NO_FATAL_FAILURE(ExpectEqual(model, 5, seed)) << seed;
      ++compared;
    } catch (const c10::Error&) {
      // LibTorch refuses some paddings of max-pooling (more than half the window); the engine does not.
    }
  }
  EXPECT_GT(compared, 150);
}

TEST(DifferentiableModel, AgreesWhereSumsAreTooLongForFloats) {
  model::QuantizedModel model;
  model.values = {{"input", {5001, 1, 1, true}, model::ActivationCoding{.bits = 8, .scale = 1.0f}},
                  {"logits", {1, 1, 1, true}, std::nullopt}};
  std::vector<int16_t> codes(5001, 127);
  codes.back() = 1;
  const int weight = model::AddWeights(model, "fc.weight", {1, 5001}, {.bits = 8}, {1.0f}, codes);
  model.nodes = {{"fc", model::Linear{{weight, {}}}, {0}, 1}};
  model.output = 1;
  ASSERT_NO_FATAL_FAILURE(ExpectEqual(model, 5, 1));
}

model::QuantizedModel SmallConvolution() {
  model::QuantizedModel model;
  model.values = {{"input", {1, 4, 4}, model::ActivationCoding{.bits = 8, .scale = 0.01f, .zero_point = 128}},
                  {"a", {2, 3, 3}, model::ActivationCoding{.bits = 4, .scale = 0.1f}},
                  {"flat", {18, 1, 1, true}, model::ActivationCoding{.bits = 4, .scale = 0.1f}},
                  {"logits", {3, 1, 1, true}, std::nullopt}};
  std::vector<int16_t> first, second;
  for (int i = 0; i < 8; ++i) first.push_back(static_cast<int16_t>((i * 5) % 15 - 7));
  for (int i = 0; i < 54; ++i) second.push_back(static_cast<int16_t>((i * 11) % 15 - 7));
  const int conv = model::AddWeights(model, "conv.weight", {2, 1, 2, 2}, {.bits = 4}, {0.1f, 0.2f}, first);
  const int fc = model::AddWeights(model, "fc.weight", {3, 18}, {.bits = 4}, {0.05f}, second);
  model.nodes = {{"conv", model::Convolution{{conv, {}}, {.kernel_h = 2, .kernel_w = 2}}, {0}, 1, {.relu = true}},
                 {"flatten", model::Flatten{}, {1}, 2},
                 {"fc", model::Linear{{fc, {}}}, {2}, 3}};
  model.output = 3;
  model::Validate(model);
  return model;
}

TEST(DifferentiableModel, WeightsAreScaleTimesLevelAndAPerturbationIsAdded) {
  const auto model = SmallConvolution();
  const DifferentiableModel network(model, torch::kDouble);
  ASSERT_EQ(network.weight_count(), 62);
  EXPECT_DOUBLE_EQ(network.weights()[4].item<double>(), double{0.2f} * model.parameter(0).code(4));
  // A perturbation of one step is the model with that code one higher.
  auto higher = model;
  model::Parameter& weight = higher.parameters[0];
  weight.bits[5] = weight.format.codes.pattern(weight.code(5) + 1);
  const auto bytes = model::RandomImages(model, 20, 3);
  const auto images = torch::from_blob(const_cast<uint8_t*>(bytes.data()), {20, 1, 4, 4}, torch::kByte);
  const auto step = torch::zeros({62}, torch::kDouble);
  step[5] = double{0.2f};
  EXPECT_TRUE(torch::allclose(network.Logits(images, step), DifferentiableModel(higher, torch::kDouble).Logits(images),
                              1e-12, 1e-12));
}

// The last layer's gradient by hand: what the layer sees, times its input's scale and what the loss says of the logit.
TEST(DifferentiableModel, GradientOfTheLastLayerIsItsRealInput) {
  const auto model = SmallConvolution();
  const DifferentiableModel network(model, torch::kDouble);
  const auto bytes = model::RandomImages(model, 1, 4);
  const auto images = torch::from_blob(const_cast<uint8_t*>(bytes.data()), {1, 1, 4, 4}, torch::kByte);
  const auto delta = torch::zeros({62}, torch::kDouble).set_requires_grad(true);
  std::vector<torch::Tensor> codes;
  const auto logits = network.Logits(images, delta, &codes);
  const auto gradient = torch::autograd::grad({logits[0][1]}, {delta})[0];
  const auto expected = codes[2][0] * double{0.1f};
  EXPECT_TRUE(torch::allclose(gradient.slice(0, 8 + 18, 8 + 36), expected, 1e-6, 1e-12));
  EXPECT_EQ(gradient.slice(0, 8, 8 + 18).abs().sum().item<double>(), 0.0);
  // Straight through rounding: some of the first layer's weights matter, though codes are integers.
  EXPECT_GT(gradient.slice(0, 0, 8).abs().sum().item<double>(), 0.0);
}

// The training graph computes in floats what the engine computes in integers: weights times steps are rounded before
// they are summed, so a sum near a rounding boundary may fall to the other side. The test says how many predictions do.
TEST(TrainingGraph, AgreesWithTheEngineInAccuracy) {
  if (!data::FindDataset("fashion-mnist", {})) GTEST_SKIP() << "Fashion-MNIST is not installed";
  recipe::Recipe recipe;
  recipe.epochs = 1;
  const TrainingData data = MakeTrainingData(data::LoadDataset("fashion-mnist", {}, data::Split::kTrain), 10000);
  const data::ImageSet test = data::LoadDataset("fashion-mnist", {}, data::Split::kTest);
  const TrainedNetwork trained = Train(recipe, data);
  std::vector<int64_t> all(static_cast<size_t>(test.size()));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  const EvaluationResult graph = Evaluate(*trained.network, test, all, data.scale);
  const auto model = trained.network->Export("lenet5", data.scale);
  const auto golden = engine::RunGolden(model, engine::MakeEvaluationSet(model, test.images, test.labels), 0);
  int64_t differing = 0;
  for (size_t i = 0; i < all.size(); ++i) differing += graph.predictions[i] != golden.predictions[i];
  EXPECT_NEAR(100 * graph.accuracy, 100 * golden.scores.accuracy(), 0.05);
  EXPECT_LE(differing, 20);
  RecordProperty("differing_predictions", static_cast<int>(differing));
  std::printf(
      "%lld of %lld predictions differ between the training graph and the engine: float sums next to a rounding "
      "boundary\n",
      static_cast<long long>(differing), static_cast<long long>(test.size()));
}

}  // namespace
}  // namespace steadfast::train
