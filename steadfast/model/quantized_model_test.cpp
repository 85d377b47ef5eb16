#include "steadfast/model/quantized_model.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "steadfast/base/error.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/random_model.h"

namespace steadfast::model {
namespace {

std::string MessageOf(const QuantizedModel& model) {
  try {
    Validate(model);
  } catch (const InputError& error) {
    return error.what();
  }
  return "valid";
}

TEST(Validate, TakesRandomModels) {
  for (uint64_t seed = 0; seed < 500; ++seed) ASSERT_EQ(MessageOf(RandomModel(seed)), "valid") << seed;
}

TEST(Validate, NamesWhatIsWrong) {
  const QuantizedModel good = RandomLeNet5(4, 4, 1);
  EXPECT_EQ(MessageOf(good), "valid");
  QuantizedModel model = good;
  const int conv2 = WeightsOf(good)[1];
  model.parameters[static_cast<size_t>(conv2)].bits[3] = 24;
  EXPECT_NE(MessageOf(model).find("conv2.weight: code 8 at index 3, expected -8 to 7"), std::string::npos);
  model = good;
  const auto set = [&](const char* name, float value) {
    for (Parameter& parameter : model.parameters) {
      if (parameter.name == name) parameter.bits[0] = std::bit_cast<uint32_t>(value);
    }
  };
  set("conv1.weight_scale", std::numeric_limits<float>::quiet_NaN());
  EXPECT_NE(MessageOf(model).find("conv1.weight_scale: scale nan"), std::string::npos);
  model = good;
  set("fc3.bias", std::numeric_limits<float>::infinity());
  EXPECT_NE(MessageOf(model).find("fc3.bias: inf at index 0"), std::string::npos);
  model = good;
  model.nodes[1].inputs = {5};
  EXPECT_NE(MessageOf(model), "valid");
}

// 70,000 products of 255 and 128 pass 2^31, though today's codes are all zero: a faulty memory could hold -128.
TEST(Validate, ProvesSumsForWhatAFaultyMemoryCanHold) {
  QuantizedModel model;
  model.values = {{"input", {70000, 1, 1, true}, ActivationCoding{.bits = 8, .scale = 1.0f}},
                  {"logits", {2, 1, 1, true}, std::nullopt}};
  const int weight = AddWeights(model, "fc.weight", {2, 70000}, {.bits = 8}, {1.0f}, std::vector<int16_t>(140000, 0));
  model.nodes = {{"fc", Linear{{weight, {}}}, {0}, 1}};
  model.output = 1;
  EXPECT_NE(MessageOf(model).find("do not fit 32 bits"), std::string::npos);
  model.parameters[0].format.codes.bits = 4;
  EXPECT_EQ(MessageOf(model), "valid");
}

// LeNet-5 for 28 x 28 images: 61,470 weights, 416,520 multiply-accumulates (by hand: 117,600 + 240,000 + 48,000 +
// 10,080 + 840).
TEST(Summarize, CountsLeNet5) {
  const QuantizedModel model = RandomLeNet5(4, 4, 1);
  EXPECT_EQ(MemoryBits(model), 4 * 61470);
  EXPECT_EQ(Macs(model), 416520);
}

}  // namespace
}  // namespace steadfast::model
