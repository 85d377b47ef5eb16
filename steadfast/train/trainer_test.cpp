#include "steadfast/train/trainer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "steadfast/base/error.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"

namespace steadfast::train {
namespace {

namespace fs = std::filesystem;

// Images whose class is where a bright square lies: learnable in seconds.
data::ImageSet Squares(int64_t n) {
  data::ImageSet set{{1, 28, 28},
                     10,
                     std::vector<uint8_t>(static_cast<size_t>(n * 784)),
                     std::vector<uint8_t>(static_cast<size_t>(n))};
  for (int64_t i = 0; i < n; ++i) {
    const auto label = static_cast<int>(i % 10);
    set.labels[static_cast<size_t>(i)] = static_cast<uint8_t>(label);
    for (int p = 0; p < 784; ++p) {
      const int y = p / 28, x = p % 28;
      const bool inside = y / 7 == label / 4 && x / 7 == label % 4;
      set.images[static_cast<size_t>(i * 784 + p)] = static_cast<uint8_t>((inside ? 180 : 20) + (i * 31 + p * 17) % 40);
    }
  }
  return set;
}

recipe::Recipe Quick() {
  recipe::Recipe recipe;
  recipe.dataset = "squares";
  recipe.epochs = 3;
  recipe.batch_size = 32;
  return recipe;
}

std::string OnnxOf(const TrainedNetwork& trained, const TrainingData& data) {
  return model::ToOnnx(trained.network->Export("lenet5", data.scale));
}

TEST(Train, IsDeterministicAndDependsOnTheSeed) {
  const TrainingData data = MakeTrainingData(Squares(600));
  recipe::Recipe recipe = Quick();
  const std::string first = OnnxOf(Train(recipe, data), data);
  EXPECT_EQ(OnnxOf(Train(recipe, data), data), first);
  recipe.seed = 1;
  EXPECT_NE(OnnxOf(Train(recipe, data), data), first);
}

TEST(Train, LearnsWithEveryQuantizerAndSharpness) {
  const TrainingData data = MakeTrainingData(Squares(1200));
  for (const char* quantizer : {"float", "lsq", "liq", "dorefa"}) {
    for (const char* sharpness : {"none", "sam:0.02", "asam:0.05", "saq:0.02"}) {
      recipe::Recipe recipe = Quick();
      recipe.epochs = 4;
      recipe::ParseQuantizer(quantizer, recipe);
      recipe::ParseSharpness(sharpness, recipe);
      if (recipe.quantizer == recipe::Quantizer::kFloat && recipe.sharpness == recipe::Sharpness::kSaq) continue;
      EXPECT_GT(Train(recipe, data).validation_accuracy, 0.8) << quantizer << " " << sharpness;
    }
  }
}

TEST(Train, LearnsBinaryWeights) {
  const TrainingData data = MakeTrainingData(Squares(1200));
  for (const char* quantizer : {"liq", "dorefa"}) {
    recipe::Recipe recipe = Quick();
    recipe.epochs = 6;
    recipe.weight_bits = 1;
    recipe::ParseQuantizer(quantizer, recipe);
    const TrainedNetwork trained = Train(recipe, data);
    EXPECT_GT(trained.validation_accuracy, 0.8) << quantizer;
    EXPECT_EQ(model::MemoryBits(trained.network->Export("lenet5", data.scale)), 61470);
  }
}

TEST(Train, PenaltiesAndThresholdsGiveZeros) {
  const TrainingData data = MakeTrainingData(Squares(1200));
  const auto zeros = [&](const char* sparsity) {
    recipe::Recipe recipe = Quick();
    recipe::ParseSparsity(sparsity, recipe);
    const TrainedNetwork trained = Train(recipe, data);
    const auto model = trained.network->Export("lenet5", data.scale);
    return engine::MeasureZeroShares(model, data.images.images, 1).weighted;
  };
  const double none = zeros("none");
  EXPECT_GT(zeros("l1:1e-3"), none + 0.05);
  EXPECT_GT(zeros("hoyer:1e-2"), none + 0.05);
  EXPECT_GT(zeros("fatrelu:2"), none + 0.02);
}

TEST(Train, TakesWidthsPerLayer) {
  const TrainingData data = MakeTrainingData(Squares(600));
  recipe::Recipe recipe = Quick();
  recipe.epochs = 1;
  recipe::ParseLayerBits("conv1=8/6", recipe);
  const auto model = Train(recipe, data).network->Export("lenet5", data.scale);
  EXPECT_EQ(model.parameter(model::WeightsOf(model)[0]).format.bits(), 8);
  EXPECT_EQ(model.values[1].coding->bits, 6);
  EXPECT_EQ(model.parameter(model::WeightsOf(model)[1]).format.bits(), 4);
  recipe::ParseLayerBits("conv9=8/6", recipe);
  EXPECT_THROW(Train(recipe, data), UsageError);
}

TEST(Train, ResumesToTheSameNetwork) {
  const TrainingData data = MakeTrainingData(Squares(600));
  for (const char* optimizer : {"adam", "sgd"}) {
    recipe::Recipe recipe = Quick();
    recipe::ParseOptimizer(optimizer, recipe);
    const std::string whole = OnnxOf(Train(recipe, data), data);
    const fs::path checkpoint = fs::path(testing::TempDir()) / "steadfast_trainer_checkpoint";
    fs::remove(checkpoint);
    Cancellation cancellation;
    TrainingOptions options{.checkpoint = checkpoint,
                            .on_progress = {},
                            .on_epoch = [&](const EpochMetrics&) { cancellation.Request(); },
                            .cancellation = &cancellation};
    EXPECT_THROW(Train(recipe, data, options), InterruptedError);
    const TrainedNetwork resumed = Train(recipe, data, {.checkpoint = checkpoint});
    EXPECT_EQ(OnnxOf(resumed, data), whole) << optimizer;
    EXPECT_EQ(resumed.epochs.size(), 3u);

    recipe::Recipe other = recipe;
    other.learning_rate = 0.5;
    try {
      Train(other, data, {.checkpoint = checkpoint});
      FAIL();
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("learning_rate: 0.001 there, 0.5 here"), std::string::npos)
          << error.what();
    }
    fs::remove(checkpoint);
  }
}

TEST(Train, SaysWhenItDiverges) {
  const TrainingData data = MakeTrainingData(Squares(600));
  recipe::Recipe recipe = Quick();
  recipe.quantizer = recipe::Quantizer::kFloat;
  recipe.optimizer = recipe::Optimizer::kSgd;
  recipe.learning_rate = 1e6;
  EXPECT_THROW(Train(recipe, data), InputError);
}

}  // namespace
}  // namespace steadfast::train
