#include "steadfast/engine/dense.h"

#include <gtest/gtest.h>

#include <bit>

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
