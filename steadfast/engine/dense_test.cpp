#include "steadfast/engine/dense.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "steadfast/engine/graphs_to_try.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/sets_to_try.h"
#include "steadfast/model/random_model.h"

namespace steadfast::engine {
namespace {

std::vector<uint32_t> BitsOf(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
  return bits;
}

class Dense : public OnInstructionSet {
 protected:
  void ExpectEqual(const model::QuantizedModel& model, int64_t images, uint64_t seed) {
    const auto bytes = model::RandomImages(model, images, seed);
    DenseEngine engine(model, GetParam());
    const auto fast = engine.Run(PreparedImages(bytes, model.values[0].shape.elements()));
    ASSERT_EQ(BitsOf(fast), BitsOf(RunReference(model, bytes))) << model.name;
  }
};

TEST_P(Dense, EqualsTheReferenceOnRandomGraphs) {
  for (uint64_t seed = 0; seed < GraphsToTry(400); ++seed) {
    const auto model = model::RandomModel(seed);
    model::Validate(model);
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(model, 1 + static_cast<int64_t>(seed % 70), seed));
  }
}

// Of all signs and sizes, those that are no numbers among them.
TEST_P(Dense, EqualsTheReferenceUnderBrokenActivationScales) {
  const uint32_t extremes[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC00000, 0x7F7FFFFF,
                               0xFF7FFFFF, 0x00000000, 0x80000000, 0x00000001, 0x80000001};
  for (uint64_t seed = 0; seed < GraphsToTry(400); ++seed) {
    auto model = model::RandomModel(seed);
    std::mt19937_64 random(seed);
    const auto breaks = static_cast<int64_t>(1 + random() % 3);
    for (int64_t i = 0; i < breaks; ++i) {
      const auto v = static_cast<size_t>(random() % model.values.size());
      const bool second = model.values[v].dequantizing_scale >= 0 && random() % 2 == 0;
      const int scale = second ? model.values[v].dequantizing_scale : model.values[v].scale;
      if (scale < 0) continue;
      uint32_t& bits = model.parameters[static_cast<size_t>(scale)].bits[0];
      bits = random() % 3 == 0 ? extremes[random() % std::size(extremes)] : bits ^ 1u << random() % 32;
    }
    UpdateCodings(model);
    const auto bytes = model::RandomImages(model, 1 + static_cast<int64_t>(seed % 70), seed);
    DenseEngine engine(model, GetParam());
    const auto fast = engine.Run(PreparedImages(bytes, model.values[0].shape.elements()));
    const auto reference = RunReference(model, bytes);
    for (size_t i = 0; i < fast.size(); ++i) {
      const bool same = std::bit_cast<uint32_t>(fast[i]) == std::bit_cast<uint32_t>(reference[i]);
      ASSERT_TRUE(same || (std::isnan(fast[i]) && std::isnan(reference[i]))) << seed << ", " << i;
    }
  }
}

TEST_P(Dense, EqualsTheReferenceOnLeNet5) {
  for (int bits : {2, 4, 8}) ASSERT_NO_FATAL_FAILURE(ExpectEqual(model::RandomLeNet5(bits, bits, 1), 100, 2));
}

TEST_P(Dense, EqualsTheReferenceOnSparsePaths) {
  for (uint64_t seed = 1000; seed < 1120; ++seed) {
    const auto model = model::RandomModel(seed);
    auto bytes = model::RandomImages(model, 1 + static_cast<int64_t>(seed % 70), seed);
    for (size_t i = 0; i < bytes.size(); i += 2) bytes[i] = static_cast<uint8_t>(model.values[0].coding->zero_point);
    DenseEngine engine(model, GetParam());
    engine.UseSparsePaths();
    const auto fast = engine.Run(PreparedImages(bytes, model.values[0].shape.elements()));
    ASSERT_EQ(BitsOf(fast), BitsOf(RunReference(model, bytes))) << model.name;
  }
}

TEST_P(Dense, TakesNewWeights) {
  const auto first = model::RandomLeNet5(4, 4, 1), second = model::RandomLeNet5(4, 4, 2);
  auto mixed = first;
  for (size_t p = 0; p < mixed.parameters.size(); ++p) mixed.parameters[p].bits = second.parameters[p].bits;
  const auto bytes = model::RandomImages(first, 10, 3);
  DenseEngine engine(first, GetParam());
  engine.SetParameters(mixed);
  EXPECT_EQ(BitsOf(engine.Run(PreparedImages(bytes, 784))), BitsOf(RunReference(mixed, bytes)));
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Dense, testing::ValuesIn(SetsToTry()), SetName);

}  // namespace
}  // namespace steadfast::engine
