#include "steadfast/network/dequantized.h"

#include <gtest/gtest.h>

#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/random_model.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/float_run.h"
#include "steadfast/network/fusion.h"
#include "steadfast/network/input_folding.h"
#include "steadfast/network/post_training.h"
#include "steadfast/network/test_graphs.h"

namespace steadfast::network {
namespace {

// With codes of 8 bits the float graph that a model stands for computes nearly what the model does, and quantizing it
// again gives it back.
TEST(GraphOf, StandsForTheModel) {
  for (const auto& [name, input] :
       {std::pair<const char*, ValueShape>{"lenet5", {1, 28, 28}}, {"resnet8", {3, 32, 32}}, {"dscnn", {1, 49, 10}}}) {
    FloatGraph graph = MakeBuiltIn(name, input, 10);
    Randomize(graph, 5);
    const auto images = RandomBytes(static_cast<size_t>(3 * input.elements()), 6);
    const ByteScale scale{0.01f, 90};
    PostTrainingSettings settings;
    settings.per_channel = false;
    const model::QuantizedModel model = Quantize(graph, images, scale, settings);
    const FloatGraph again = GraphOf(model);
    EXPECT_EQ(Fuse(again).size(), Fuse(graph).size()) << name;
    EXPECT_EQ(LayerNames(again), LayerNames(graph)) << name;
    EXPECT_EQ(NormalizationOf(again).mean[0], 90 / 255.0);
    const auto floats = RunFloat(again, images, scale, 1), codes = engine::RunReference(model, images);
    double difference = 0, size = 0;
    for (size_t i = 0; i < floats.size(); ++i) {
      difference += std::abs(floats[i] - codes[i]);
      size += std::abs(codes[i]);
    }
    EXPECT_LT(difference, 0.05 * size) << name;
    for (const FusedStep& step : Fuse(again)) {
      if (step.range == OutputRange::kReal) continue;
      EXPECT_GT(again.value(step.output).scale, 0) << name << " " << step.name;
    }
  }
}

// Any model is either taken or refused by name; what is taken runs.
TEST(GraphOf, TakesRandomModels) {
  int taken = 0;
  for (uint64_t seed = 0; seed < 150; ++seed) {
    const model::QuantizedModel model = model::RandomModel(seed);
    try {
      const FloatGraph graph = GraphOf(model);
      const auto images = RandomBytes(static_cast<size_t>(2 * model.values[0].shape.elements()), seed);
      EXPECT_EQ(RunFloat(graph, images, {1, 0}, 1).size(), static_cast<size_t>(2 * model.classes()));
      ++taken;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("threshold"), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(taken, 60);
}

}  // namespace
}  // namespace steadfast::network
