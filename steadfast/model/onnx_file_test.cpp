#include "steadfast/model/onnx_file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <random>

#include "steadfast/base/error.h"
#include "steadfast/model/random_model.h"

namespace steadfast::model {
namespace {

std::span<const uint8_t> BytesOf(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void ExpectSame(const QuantizedModel& a, const QuantizedModel& b) {
  ASSERT_EQ(a.weights.size(), b.weights.size());
  for (size_t i = 0; i < a.weights.size(); ++i) {
    ASSERT_EQ(a.weights[i].codes, b.weights[i].codes);
    ASSERT_EQ(a.weights[i].scale, b.weights[i].scale);
    ASSERT_EQ(a.weights[i].format, b.weights[i].format) << a.weights[i].name;
    ASSERT_EQ(a.weights[i].name, b.weights[i].name);
  }
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    if (AffineOf(a.nodes[i]) == nullptr) continue;
    const Requantization ra = RequantizationOf(a, a.nodes[i]), rb = RequantizationOf(b, b.nodes[i]);
    ASSERT_EQ(ra.scale, rb.scale);
    ASSERT_EQ(ra.offset, rb.offset);
    ASSERT_EQ(ra.lowest, rb.lowest) << i;
    ASSERT_EQ(ra.zero_below, rb.zero_below);
  }
  ASSERT_EQ(a.metadata, b.metadata);
}

TEST(Onnx, SurvivesTheFile) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    QuantizedModel model = RandomModel(seed);
    model.metadata["steadfast.recipe"] = R"({"name": "as-saq"})";
    const std::string bytes = ToOnnx(model);
    const QuantizedModel read = FromOnnx(BytesOf(bytes), "m.onnx");
    ASSERT_NO_FATAL_FAILURE(ExpectSame(model, read)) << seed;
    ASSERT_EQ(ToOnnx(read), bytes) << seed;
  }
}

TEST(Onnx, NeverCrashesOnDamagedFiles) {
  const std::string good = ToOnnx(RandomModel(12));
  std::mt19937_64 random(1);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    for (uint64_t k = 0; k <= random() % 4; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (i % 5 == 0) bytes.resize(random() % bytes.size());
    try {
      Validate(FromOnnx(BytesOf(bytes), "damaged.onnx"));
    } catch (const InputError& error) {
      ASSERT_EQ(std::string(error.what()).find("damaged.onnx: "), 0u);
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(Onnx, SaysWhatItIsNot) {
  try {
    FromOnnx(BytesOf("not a model"), "x.onnx");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("x.onnx: is not an ONNX model"), std::string::npos);
  }
}

}  // namespace
}  // namespace steadfast::model
