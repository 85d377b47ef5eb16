#include "steadfast/train/trainer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/engine/dense.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/network/input_folding.h"

namespace steadfast::train {
namespace {

namespace fs = std::filesystem;

// Images whose class is where a bright square lies: learnable in seconds.
data::ImageSet Squares(int64_t n) {
  data::ImageSet set{{1, 28, 28},
                     10,
                     std::vector<uint8_t>(static_cast<size_t>(n * 784)),
                     std::vector<uint16_t>(static_cast<size_t>(n))};
  for (int64_t i = 0; i < n; ++i) {
    const auto label = static_cast<int>(i % 10);
    set.labels[static_cast<size_t>(i)] = static_cast<uint16_t>(label);
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

TEST(Train, RefusesSparsityWithoutReLU) {
  const TrainingData data = MakeTrainingData(Squares(100));
  recipe::Recipe recipe = Quick();
  recipe.network = "vit:depth=1,width=16,heads=2";
  recipe.epochs = 1;
  for (const char* sparsity : {"l1:1e-3", "hoyer:1e-2", "fatrelu:2"}) {
    recipe::ParseSparsity(sparsity, recipe);
    EXPECT_THROW(Train(recipe, data), UsageError) << sparsity;
  }
  recipe.network += ",activation=relu";
  EXPECT_NO_THROW(Train(recipe, data));
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
    const TemporaryFolder folder;
    const fs::path checkpoint = folder.path() / "checkpoint";
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
  }
}

// Colour images, 8 x 8 blocks of 16 x 16 pixels: for networks with normalization.
TrainingData ColourSquares(int64_t n) {
  data::ImageSet set{{3, 16, 16}, 4, {}, {}};
  for (int64_t i = 0; i < n; ++i) {
    const int label = static_cast<int>(i % 4);
    set.labels.push_back(static_cast<uint16_t>(label));
    for (int p = 0; p < 768; ++p) {
      const int y = p / 16 % 16, x = p % 16;
      const bool inside = y / 8 == label / 2 && x / 8 == label % 2;
      set.images.push_back(static_cast<uint8_t>((inside ? 150 : 60) + (i * 31 + p * 17) % 60));
    }
  }
  return MakeTrainingData(set);
}

recipe::Recipe QuickResNet() {
  recipe::Recipe recipe;
  recipe.network = "resnet8";
  recipe.dataset = "colour squares";
  recipe.epochs = 2;
  recipe.batch_size = 32;
  return recipe;
}

// Running statistics are part of a checkpoint, whatever the steps of sharpness-aware training do to them.
TEST(Train, ResumesNetworksWithNormalization) {
  const TrainingData data = ColourSquares(320);
  for (const char* sharpness : {"none", "saq:0.1", "sam:0.05"}) {
    recipe::Recipe recipe = QuickResNet();
    recipe::ParseSharpness(sharpness, recipe);
    recipe::ParseAugmentation("crop:2,flip,cutout:4", recipe);
    recipe.warm_up = 0.5;
    recipe.label_smoothing = 0.1;
    recipe.gradient_clip = 1;
    recipe.average = 0.9;
    recipe.best_epoch = true;
    recipe.reestimate_normalization = true;
    const auto onnx_of = [&](const TrainedNetwork& trained) {
      return model::ToOnnx(trained.network->Export("resnet8", data.scale));
    };
    const std::string whole = onnx_of(Train(recipe, data));
    const TemporaryFolder folder;
    const fs::path checkpoint = folder.path() / "checkpoint";
    Cancellation cancellation;
    EXPECT_THROW(Train(recipe, data,
                       {.checkpoint = checkpoint,
                        .on_epoch = [&](const EpochMetrics&) { cancellation.Request(); },
                        .cancellation = &cancellation}),
                 InterruptedError);
    EXPECT_EQ(onnx_of(Train(recipe, data, {.checkpoint = checkpoint})), whole) << sharpness;
  }
}

// The best epoch is kept, whatever came behind it.
TEST(Train, KeepsTheBestEpoch) {
  const TrainingData data = ColourSquares(320);
  recipe::Recipe recipe = QuickResNet();
  recipe.epochs = 6;
  recipe.learning_rate = 0.02;  // unsteady
  recipe.schedule = recipe::Schedule::kConstant;
  recipe.best_epoch = true;
  const TrainedNetwork trained = Train(recipe, data);
  double best = 0;
  for (const EpochMetrics& epoch : trained.epochs) best = std::max(best, epoch.validation_accuracy);
  EXPECT_EQ(trained.validation_accuracy, best);
}

// An average of parameters that do not move is what they are.
TEST(Train, AveragesParameters) {
  const TrainingData data = ColourSquares(160);
  recipe::Recipe recipe = QuickResNet();
  recipe.epochs = 1;
  recipe.learning_rate = 1e-12;
  recipe.optimizer = recipe::Optimizer::kSgd;
  const auto weights = [&](double average) {
    recipe.average = average;
    const TrainedNetwork trained = Train(recipe, data);
    return trained.network->parameters[0].tensor.detach().clone();
  };
  EXPECT_TRUE(torch::allclose(weights(0), weights(0.99), 1e-4, 1e-6));
  recipe.learning_rate = 0.1;
  EXPECT_FALSE(torch::allclose(weights(0), weights(0.99), 1e-4, 1e-6));
}

TEST(Network, TakesBitsByPattern) {
  recipe::Recipe recipe = QuickResNet();
  recipe::ParseLayerBits("stage2.*=8/6", recipe);
  recipe::ParseLayerBits("stage2.block1.conv2=3/5", recipe);
  EXPECT_EQ(recipe::BitsOf(recipe, "stage2.block1.conv1"), (recipe::LayerBits{8, 6}));
  EXPECT_EQ(recipe::BitsOf(recipe, "stage2.block1.conv2"), (recipe::LayerBits{3, 5}));
  EXPECT_EQ(recipe::BitsOf(recipe, "stage1.block1.conv1"), (recipe::LayerBits{4, 4}));
  EXPECT_NO_THROW(MakeNetwork(recipe, {{3, 16, 16}, 4}, {0.01f, 100}));
  recipe::ParseLayerBits("stage9.*=8/6", recipe);
  EXPECT_THROW(MakeNetwork(recipe, {{3, 16, 16}, 4}, {0.01f, 100}), UsageError);
}

// One image has no variance: such a batch is left out.
TEST(Train, LeavesABatchOfOneImageOutOfStatistics) {
  const TrainingData data = ColourSquares(112);  // 101 to train on
  recipe::Recipe recipe = QuickResNet();
  recipe.batch_size = 100;
  recipe.epochs = 1;
  const TrainedNetwork trained = Train(recipe, data);
  for (const Buffer& buffer : trained.network->buffers) EXPECT_TRUE(torch::isfinite(buffer.tensor).all().item<bool>());
  recipe.batch_size = 1;
  EXPECT_THROW(Train(recipe, data), UsageError);
}

// The integers answer as the training graph does, for every operator that the built-in networks have.
TEST(Network, ExportsWhatItComputes) {
  for (const auto& [name, shape] : {std::pair<const char*, data::ImageShape>{"mlp", {1, 12, 12}},
                                    {"resnet8", {3, 16, 16}},
                                    {"mobilenetv2:0.25", {3, 16, 16}},
                                    {"dscnn", {1, 49, 10}}}) {
    for (const int bits : {4, 8}) {
      recipe::Recipe recipe;
      recipe.network = name;
      recipe.weight_bits = recipe.activation_bits = bits;
      data::ImageSet set{shape, 10, std::vector<uint8_t>(static_cast<size_t>(40 * shape.pixels())), {}};
      for (size_t i = 0; i < set.images.size(); ++i) set.images[i] = static_cast<uint8_t>(i * 7919 >> 4);
      set.labels.assign(40, 0);
      const data::InputScale scale{0.015f, 120};
      const auto network = MakeNetwork(recipe, {shape, 10}, scale);
      std::vector<int64_t> all(40);
      for (size_t i = 0; i < 40; ++i) all[i] = static_cast<int64_t>(i);
      {  // sets steps and statistics
        Pass pass{.training = true};
        network->Forward(pass, MakeBatch(set, all, scale).images);
      }
      const torch::NoGradGuard no_gradients;
      Pass pass;
      const torch::Tensor logits = network->Forward(pass, MakeBatch(set, all, scale).images).contiguous();
      const auto model = network->Export(name, scale);
      const engine::PreparedImages images(set.images, shape.pixels());
      const std::vector<float> integers = engine::DenseEngine(model).Run(images);
      double difference = 0, size = 0;
      for (size_t i = 0; i < integers.size(); ++i) {
        difference += std::abs(integers[i] - logits.data_ptr<float>()[i]);
        size += std::abs(integers[i]);
      }
      EXPECT_LT(difference, 0.02 * size) << name << " W" << bits;  // codes next to ties
    }
  }
}

// A trained float network, written and read, is where training goes on from.
TEST(Train, StartsFromAFloatFile) {
  const TrainingData data = ColourSquares(320);
  recipe::Recipe recipe = QuickResNet();
  recipe.epochs = 3;
  recipe.quantizer = recipe::Quantizer::kFloat;
  const TrainedNetwork floats = Train(recipe, data);
  network::FloatGraph graph = floats.network->ToGraph();
  network::SetInput(graph, {data.scale.scale, data.scale.zero_point});
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "start.onnx";
  WriteFileWhole(file, network::ToFloatOnnx(graph));

  recipe::Recipe tuned = QuickResNet();
  tuned.network = file.string();
  tuned.epochs = 1;
  tuned.learning_rate = 1e-4;
  StartingPoint start{};
  const TrainedNetwork trained = Train(tuned, data, {.on_start = [&](const StartingPoint& point) { start = point; }});
  EXPECT_EQ(start.accuracy, floats.validation_accuracy);
  EXPECT_LT(start.padding_difference, 1e-3);
  EXPECT_GE(trained.validation_accuracy, start.accuracy - 0.1);
  // A wrong normalization shows.
  tuned.mean = {0.9};
  tuned.deviation = {0.05};
  Train(tuned, data, {.on_start = [&](const StartingPoint& point) { start = point; }});
  EXPECT_LT(start.accuracy, floats.validation_accuracy);
  tuned.network_sha256 = std::string(64, '0');
  EXPECT_THROW(Train(tuned, data), InputError);
}

TEST(MakeBatch, AugmentsByImageAndEpochAlone) {
  const TrainingData data = ColourSquares(40);
  const std::vector<int64_t> some = {3, 7, 20}, others = {20, 5};
  const Augmentation first{.crop = 4, .flip = true, .cutout = 5, .seed = 1, .epoch = 2};
  const torch::Tensor a = MakeBatch(data.images, some, data.scale, &first).images;
  const torch::Tensor b = MakeBatch(data.images, others, data.scale, &first).images;
  EXPECT_TRUE(torch::equal(a[2], b[0]));
  Augmentation next = first;
  next.epoch = 3;
  EXPECT_FALSE(torch::equal(a, MakeBatch(data.images, some, data.scale, &next).images));
  const Augmentation none{.seed = 1};
  const torch::Tensor plain = MakeBatch(data.images, some, data.scale).images;
  EXPECT_TRUE(torch::equal(plain, MakeBatch(data.images, some, data.scale, &none).images));
  // Mirrored images are images, and about half of many.
  const Augmentation flips{.flip = true, .seed = 4};
  int64_t mirrored = 0;
  std::vector<int64_t> all(40);
  for (size_t i = 0; i < 40; ++i) all[i] = static_cast<int64_t>(i);
  const torch::Tensor flipped = MakeBatch(data.images, all, data.scale, &flips).images;
  const torch::Tensor before = MakeBatch(data.images, all, data.scale).images;
  for (int64_t i = 0; i < 40; ++i) {
    const bool same = torch::equal(flipped[i], before[i]);
    EXPECT_TRUE(same || torch::equal(flipped[i], before[i].flip(2)));
    mirrored += !same;
  }
  EXPECT_GT(mirrored, 8);
  EXPECT_LT(mirrored, 32);
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
