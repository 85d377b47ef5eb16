#include "steadfast/network/post_training.h"

#include <gtest/gtest.h>

#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/test_graphs.h"

namespace steadfast::network {
namespace {

constexpr ByteScale kScale{0.01f, 120};

// Root mean square of the difference of logits, as a share of the logits' own.
double DistanceOf(const FloatGraph& graph, const model::QuantizedModel& model, const std::vector<uint8_t>& images) {
  const std::vector<float> floats = RunFloat(graph, images, kScale, 1), codes = engine::RunReference(model, images);
  double difference = 0, size = 0;
  for (size_t i = 0; i < floats.size(); ++i) {
    difference += (double{floats[i]} - codes[i]) * (double{floats[i]} - codes[i]);
    size += double{floats[i]} * floats[i];
  }
  return std::sqrt(difference / size);
}

class PostTraining : public testing::Test {
 protected:
  static FloatGraph Graph(const char* name, const ValueShape& input) {
    FloatGraph graph = MakeBuiltIn(name, input, 10);
    Randomize(graph, 7);
    return graph;
  }
};

TEST_F(PostTraining, EightBitsStayNearTheFloatNetwork) {
  struct Case {
    const char* name;
    ValueShape input;
    double distance;  // random weights of 53 layers let noise grow
  };
  for (const auto& [name, input, distance] :
       {Case{"lenet5", {1, 28, 28}, 0.05}, Case{"resnet8", {3, 32, 32}, 0.05},
        Case{"mobilenetv2:0.25", {3, 16, 16}, 0.5}, Case{"dscnn", {1, 49, 10}, 0.08}}) {
    const FloatGraph graph = Graph(name, input);
    const auto images = RandomBytes(static_cast<size_t>(4 * input.elements()), 8);
    for (const bool is_signed : {false, true}) {
      PostTrainingSettings settings;
      settings.signed_activations = is_signed;
      const model::QuantizedModel model = Quantize(graph, images, kScale, settings);
      EXPECT_LT(DistanceOf(graph, model, images), distance) << name;
      // The file says the same.
      const std::string file = model::ToOnnx(model);
      const auto read = model::FromOnnx({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "file");
      EXPECT_EQ(engine::RunReference(read, images), engine::RunReference(model, images)) << name;
    }
  }
}

TEST_F(PostTraining, FollowsItsSettings) {
  const FloatGraph graph = Graph("resnet8", {3, 32, 32});
  const auto images = RandomBytes(3 * 3072, 8);
  PostTrainingSettings settings{.weight_bits = 4, .activation_bits = 4};
  const model::QuantizedModel by_channel = Quantize(graph, images, kScale, settings);
  settings.per_channel = false;
  const model::QuantizedModel by_tensor = Quantize(graph, images, kScale, settings);
  const model::Parameter& weight = by_channel.parameter(model::WeightsOf(by_channel)[0]);
  EXPECT_EQ(weight.format.bits(), 4);
  EXPECT_EQ(by_channel.parameter(weight.scale).elements(), 16);
  EXPECT_EQ(by_tensor.parameter(by_tensor.parameter(model::WeightsOf(by_tensor)[0]).scale).elements(), 1);
  // Outputs of different sizes: each has its own scale.
  FloatGraph uneven = graph;
  std::vector<float>& first = uneven.parameters[static_cast<size_t>(WeightOf(uneven.nodes[0]))].values;
  for (size_t i = 0; i < first.size(); ++i) first[i] *= i / 27 % 2 == 0 ? 1.0f : 0.1f;
  settings.per_channel = true;
  const double each = DistanceOf(uneven, Quantize(uneven, images, kScale, settings), images);
  settings.per_channel = false;
  EXPECT_LT(each, DistanceOf(uneven, Quantize(uneven, images, kScale, settings), images));
  EXPECT_EQ(by_channel.values[1].coding->bits, 4);  // conv1
  EXPECT_EQ(by_channel.values[3].coding->bits, 8);  // what only an addition takes
  // A weight far outside: the least squared error clips it.
  FloatGraph outlier = graph;
  outlier.parameters[static_cast<size_t>(WeightOf(outlier.nodes[3]))].values[5] *= 6;
  const double everything = DistanceOf(outlier, Quantize(outlier, images, kScale, settings), images);
  settings.calibration = Calibration::kMse;
  EXPECT_LT(DistanceOf(outlier, Quantize(outlier, images, kScale, settings), images), everything);
}

TEST_F(PostTraining, DoesNotDependOnThreads) {
  const FloatGraph graph = Graph("lenet5", {1, 28, 28});
  const auto images = RandomBytes(20 * 784, 8);
  for (const Calibration calibration : {Calibration::kMinMax, Calibration::kPercentile, Calibration::kMse}) {
    PostTrainingSettings settings{.calibration = calibration};
    settings.threads = 1;
    const std::string one = model::ToOnnx(Quantize(graph, images, kScale, settings));
    settings.threads = 3;
    EXPECT_EQ(model::ToOnnx(Quantize(graph, images, kScale, settings)), one);
  }
}

TEST_F(PostTraining, APercentileLeavesOutliersOut) {
  const FloatGraph graph = Graph("lenet5", {1, 28, 28});
  const auto images = RandomBytes(20 * 784, 8);
  PostTrainingSettings settings;
  const float all = Quantize(graph, images, kScale, settings).values[1].coding->scale;
  settings.calibration = Calibration::kPercentile;
  settings.percentile = 99;
  const float most = Quantize(graph, images, kScale, settings).values[1].coding->scale;
  EXPECT_LT(most, 0.9f * all);
  settings.percentile = 20;
  EXPECT_THROW(Quantize(graph, images, kScale, settings), UsageError);
  EXPECT_THROW(Quantize(graph, {}, kScale, {}), InputError);
  EXPECT_THROW(Quantize(graph, images, kScale, {.weight_bits = 1}), UsageError);
  EXPECT_THROW(ParseCalibration("max"), UsageError);
}

// Functions become tables of codes, joins are quantized anew, clips bound codes.
TEST_F(PostTraining, TakesEveryOperator) {
  GraphBuilder builder("all", {3, 8, 8});
  const auto function = [&](int x, const char* name) { return builder.AddNode(name, Function{name, 0.1f, 0.5f}, {x}); };
  int x = builder.AddNode("six", Clip{0, 6}, {builder.Convolve(0, "conv1", 6, Square(3, 1, 1), 1, true)});
  const int y = function(builder.Convolve(x, "conv2", 6, Square(3, 1, 1), 6, true), "HardSwish");
  x = builder.AddNode("add", Add{}, {x, y});
  x = builder.AddNode("pool", AveragePool{Square(2, 2)}, {x});
  const int left = function(builder.Convolve(x, "conv3", 4, Square(1), 1, true), "Gelu");
  const int right = builder.AddNode("tanh-like", Clip{-1, 1}, {builder.Convolve(x, "conv4", 4, Square(1), 1, true)});
  x = builder.AddNode("join", Concatenate{}, {left, right});
  x = builder.AddNode("max", MaxPool{Square(2, 2)}, {function(x, "LeakyRelu")});
  builder.Connect(x, "fc", 5);
  FloatGraph graph = builder.graph_;
  Randomize(graph, 11);
  const auto images = RandomBytes(10 * 192, 12);
  const model::QuantizedModel model = Quantize(graph, images, kScale, {});
  EXPECT_LT(DistanceOf(graph, model, images), 0.08);
  const std::string file = model::ToOnnx(model);
  const auto read = model::FromOnnx({reinterpret_cast<const uint8_t*>(file.data()), file.size()}, "file");
  EXPECT_EQ(engine::RunReference(read, images), engine::RunReference(model, images));
}

}  // namespace
}  // namespace steadfast::network
