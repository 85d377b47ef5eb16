#include "steadfast/memory/chip.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "steadfast/base/error.h"
#include "steadfast/memory/memory_image.h"

namespace steadfast::memory {
namespace {

std::string ErrorOfChip(const std::string& yaml) {
  try {
    ParseChip(yaml, "c.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

model::QuantizedModel TwoLayers() {
  model::QuantizedModel model;
  model::AddWeights(model, "a.weight", {2, 9}, {.bits = 4}, {1.0f}, std::vector<int16_t>(18, 3));
  model::AddWeights(model, "b.weight", {2, 5}, {.bits = 3}, {1.0f}, std::vector<int16_t>(10, -1));
  return model;
}

TEST(Chip, SurvivesText) {
  for (const ChipPreset& preset : ChipPresets()) EXPECT_EQ(ParseChip(ToText(preset.chip), "x"), preset.chip);
  Chip odd{"an \"odd\" name: [x]", {{.name = "m", .holds = "weights:a.weight,biases"}}};
  odd.memories[0].encoding = Encoding::kGray;
  odd.memories[0].cell_bits = 3;
  EXPECT_EQ(ParseChip(ToText(odd), "x"), odd);
  EXPECT_EQ(ToText(odd).find('\n'), std::string::npos);
}

TEST(Chip, ErrorsNameLineAndKey) {
  EXPECT_EQ(ErrorOfChip("memories: []").find("c.yaml:1:11: memories: expected a list"), 0u)
      << ErrorOfChip("memories: []");
  EXPECT_EQ(ErrorOfChip("memories:\n  - {holds: weights, word_bit: 8}").find("c.yaml:2:22: unknown key 'word_bit'"),
            0u);
  EXPECT_EQ(ErrorOfChip("memories:\n  - {word_bits: 8}").find("c.yaml:2:5: the key 'holds' is missing"), 0u);
  EXPECT_EQ(ErrorOfChip("memories:\n  - {holds: weights, rows: 0}").find("c.yaml:2:28: rows: '0'"), 0u);
  EXPECT_EQ(
      ErrorOfChip("memories:\n  - {holds: all, interleaving: 3}").find("c.yaml: memory: interleaving: 3 does not"), 0u);
  EXPECT_EQ(ErrorOfChip("memories:\n  - {holds: all}\n  - {holds: all}").find("c.yaml: memory: two memories"), 0u);
  EXPECT_EQ(
      ErrorOfChip("memories:\n  - {holds: all, order: sideways}").find("c.yaml:2:25: order: 'sideways' is not one of"),
      0u);
  EXPECT_THROW(ReadChip("systolix"), UsageError);
}

// By hand: 8-bit words, 4 a row, bits of 2 neighbours alternating. Word 1 is the second of its pair: bit b at column 2b
// + 1; word 2 begins the second pair, at column 16.
TEST(Chip, PlacesBitsByHand) {
  const Memory memory{.word_bits = 8, .words_per_row = 4, .rows_per_bank = 2, .interleaving = 2};
  const auto at = [&](int64_t word, int bit) {
    const PlaceInMemory place = PlaceOf(memory, 3, word, bit);
    return std::array<int64_t, 3>{place.bank, place.row, place.column};
  };
  EXPECT_EQ(at(0, 0), (std::array<int64_t, 3>{0, 0, 0}));
  EXPECT_EQ(at(1, 3), (std::array<int64_t, 3>{0, 0, 7}));
  EXPECT_EQ(at(2, 0), (std::array<int64_t, 3>{0, 0, 16}));
  EXPECT_EQ(at(7, 7), (std::array<int64_t, 3>{0, 1, 31}));
  EXPECT_EQ(at(8, 0), (std::array<int64_t, 3>{1, 0, 0}));
  Memory spread = memory;
  spread.order = BankOrder::kAlternate;
  const PlaceInMemory fifth = PlaceOf(spread, 3, 5, 1);  // bank 2, its second word
  EXPECT_EQ(fifth.bank, 2);
  EXPECT_EQ(fifth.row, 0);
  EXPECT_EQ(fifth.column, 3);
}

Memory AnyMemory() {
  Memory memory;
  memory.word_bits = *rc::gen::inRange(8, 65);
  memory.interleaving = *rc::gen::inRange(1, 5);
  memory.words_per_row = memory.interleaving * *rc::gen::inRange(1, 4);
  memory.rows_per_bank = *rc::gen::inRange(1, 5);
  memory.order = *rc::gen::arbitrary<bool>() ? BankOrder::kFill : BankOrder::kAlternate;
  return memory;
}

RC_GTEST_PROP(Chip, EveryWordHasItsPlace, ()) {
  const Memory memory = AnyMemory();
  const int64_t banks = *rc::gen::inRange(1, 4);
  std::set<std::array<int64_t, 3>> places;
  for (int64_t word = 0; word < banks * memory.words_per_bank(); ++word) {
    for (int bit = 0; bit < memory.word_bits; ++bit) {
      const PlaceInMemory place = PlaceOf(memory, banks, word, bit);
      RC_ASSERT(place.bank < banks);
      RC_ASSERT(place.row < memory.rows_per_bank);
      RC_ASSERT(place.column < memory.columns());
      RC_ASSERT(places.insert({place.bank, place.row, place.column}).second);
      RC_ASSERT(WordAtPlace(memory, banks, place) == (WordPosition{word, bit}));
    }
  }
}

RC_GTEST_PROP(Chip, EveryCellIsFoundAtItsPlace, ()) {
  Memory memory = AnyMemory();
  memory.cell_bits = *rc::gen::inRange(1, 4);
  if (memory.usable_bits() < 8) memory.cell_bits = 1;
  const model::QuantizedModel model = TwoLayers();
  const MemoryImage image(model, Chip{"c", {memory}}, Encoding::kTwosComplement, {});
  std::set<PhysicalAddress> places;
  for (int a = 0; a < 2; ++a) {
    for (int64_t cell = 0; cell < image.arrays()[static_cast<size_t>(a)].cells(); ++cell) {
      const BitAddress bit{a, cell};
      const PhysicalAddress place = image.PhysicalOf(bit);
      RC_ASSERT(places.insert(place).second);
      RC_ASSERT(image.BitAt(place) == std::optional(bit));
    }
  }
  int64_t holding = 0;
  for (int64_t word = 0; word < image.BanksOf(0) * memory.words_per_bank(); ++word) {
    for (int bit = 0; bit < memory.word_bits; ++bit) holding += image.BitAt(0, word, bit).has_value();
  }
  RC_ASSERT(holding == image.cells());
}

TEST(Chip, MemoriesMustHoldWhatTheySay) {
  Chip small{"small", {{.word_bits = 8, .words_per_row = 1, .rows_per_bank = 4, .banks = 2}}};
  try {
    MemoryImage(TwoLayers(), small, Encoding::kTwosComplement, {});
    FAIL() << "9 + 5 words fit into 8";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("14 words need 4 banks of 4 rows of 1 words, and it has 2"),
              std::string::npos)
        << error.what();
  }
  EXPECT_THROW(MemoryImage(TwoLayers(), Chip{"c", {{.holds = "biases"}}}, Encoding::kTwosComplement, {}), InputError);
}

// What lies in which memory does not move when less of it can fail.
TEST(Chip, PlacesDoNotDependOnWhatCanFail) {
  const model::QuantizedModel model = TwoLayers();
  const Chip chip{"c", {{.word_bits = 16}}};
  const MemoryImage all(model, chip, Encoding::kTwosComplement, {});
  const MemoryImage second(model, chip, Encoding::kTwosComplement, ParseWhere("b"));
  ASSERT_EQ(second.arrays().size(), 1u);
  EXPECT_EQ(second.PhysicalOf({0, 7}), all.PhysicalOf({1, 7}));
  EXPECT_EQ(second.BitAt(all.PhysicalOf({0, 3})), std::nullopt);
}

}  // namespace
}  // namespace steadfast::memory
