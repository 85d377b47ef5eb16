#include "steadfast/memory/memory_image.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"

namespace steadfast::memory {
namespace {

model::QuantizedModel OneTensor(int bits, std::vector<int16_t> codes) {
  model::QuantizedModel model;
  model::AddWeights(model, "w", {1, static_cast<int64_t>(codes.size())}, {.bits = bits}, {1.0f}, codes);
  return model;
}

// By hand: 3-bit codes, ten to a 32-bit word; code 11 is the second of word 1.
TEST(MemoryImage, PlacesCodesInWords) {
  const MemoryImage image(OneTensor(3, std::vector<int16_t>(12, 0)), {});
  EXPECT_EQ(image.PositionOf({0, 0}), (WordPosition{0, 0}));
  EXPECT_EQ(image.PositionOf({0, 9 * 3 + 2}), (WordPosition{0, 29}));
  EXPECT_EQ(image.PositionOf({0, 11 * 3 + 1}), (WordPosition{1, 4}));
  EXPECT_EQ(image.WordsOf(0), 2);
  EXPECT_EQ(image.cells(), 36);
}

// The ones of a normalization that stands alone are no memory's: the arrays behind them keep their numbers.
TEST(MemoryImage, LeavesOutWhatIsFixed) {
  model::QuantizedModel model;
  model::AddWeights(model, "first", {1, 3}, {.bits = 4}, {1.0f}, {1, 2, 3});
  model::AddOnes(model, "one", 5);
  model::AddWeights(model, "second", {1, 2}, {.bits = 4}, {1.0f}, {4, 5});
  const MemoryImage image(model, {});
  ASSERT_EQ(image.arrays().size(), 2u);
  EXPECT_EQ(image.arrays()[1].name, "second");
  EXPECT_EQ(image.arrays()[1].number, 1u);
  EXPECT_EQ(image.cells(), 4 * 5);
  const MemoryImage all(model, {}, ParseWhere("all"));
  for (const MemoryArray& array : all.arrays()) EXPECT_FALSE(array.name.starts_with("one")) << array.name;
}

TEST(MemoryImage, WordsHoldTheBitsTheirCellsSay) {
  const MemoryImage image(OneTensor(3, {1, -1, 3, -4, 2, 0, -2, -3, 1, 1, -1, 2}), {.word_bits = 16});
  for (int64_t cell = 0; cell < image.cells(); ++cell) {
    const WordPosition position = image.PositionOf({0, cell});
    const uint32_t stored = image.arrays()[0].patterns[static_cast<size_t>(cell / 3)] >> (cell % 3) & 1;
    ASSERT_EQ(image.WordAt(0, position.word) >> position.bit & 1, stored) << cell;
  }
}

TEST(MemoryImage, RefusesImpossibleWords) {
  EXPECT_THROW(MemoryImage(OneTensor(4, {1}), {.word_bits = 4}), UsageError);
  EXPECT_THROW(MemoryImage(OneTensor(4, {1}), {.word_bits = 65}), UsageError);
}

}  // namespace
}  // namespace steadfast::memory
