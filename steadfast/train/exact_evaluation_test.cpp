#include "steadfast/train/exact_evaluation.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/data/dataset.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/reference.h"
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
  const ExactEvaluation exact = RunInLibTorch(model, images);
  for (size_t v = 0; v < model.values.size(); ++v) {
    if (!model.values[v].coding) continue;
    const auto codes = exact.codes[v].to(torch::kByte).contiguous();
    ASSERT_EQ(std::vector<uint8_t>(codes.data_ptr<uint8_t>(), codes.data_ptr<uint8_t>() + codes.numel()),
              trace.codes[v])
        << model.values[v].name;
  }
  const auto flat = exact.logits.contiguous();
  ASSERT_EQ(std::vector<float>(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()), logits);
}

TEST(RunInLibTorch, AgreesWithTheEngineCodeForCode) {
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

TEST(RunInLibTorch, RefusesSumsThatFloatsCannotHold) {
  model::QuantizedModel model;
  model.values = {{"input", {5000, 1, 1, true}, model::ActivationCoding{.bits = 8, .scale = 1.0f}},
                  {"logits", {1, 1, 1, true}, std::nullopt}};
  model.weights = {{"fc.weight", {1, 5000}, {.bits = 8}, {1.0f}, std::vector<int16_t>(5000, 127)}};
  model.nodes = {{"fc", model::Linear{0, {}}, {0}, 1}};
  model.output = 1;
  EXPECT_THROW(RunInLibTorch(model, torch::zeros({1, 5000}, torch::kByte)), InputError);
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
  const auto model = Export(*trained.network, "lenet5", test.shape, data.scale);
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
