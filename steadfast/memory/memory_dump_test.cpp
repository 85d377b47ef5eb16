#include "steadfast/memory/memory_dump.h"

#include <gtest/gtest.h>

#include <sstream>

#include "steadfast/model/random_model.h"

namespace steadfast::memory {
namespace {

// Lines without comments; an address line moves on to its word.
std::vector<std::string> Memory(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  size_t at = 0;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("//")) continue;
    if (line.starts_with("@")) {
      at = std::stoul(line.substr(1), nullptr, 16);
      continue;
    }
    if (lines.size() <= at) lines.resize(at + 1);
    lines[at++] = line;
  }
  return lines;
}
int BitOf(const std::string& hex, int64_t bit) {
  const char digit = hex.at(hex.size() - 1 - static_cast<size_t>(bit / 4));
  return (digit <= '9' ? digit - '0' : digit - 'a' + 10) >> bit % 4 & 1;
}

TEST(MemoryDump, HoldsEveryBitWhereItLies) {
  const model::QuantizedModel model = model::RandomLeNet5(4, 4, 1);
  Chip chip = PlainChip("weights", 24);
  chip.memories[0].words_per_row = 6;
  chip.memories[0].rows_per_bank = 40;
  chip.memories[0].interleaving = 3;
  chip.memories[0].order = BankOrder::kAlternate;
  chip.memories[0].banks = 90;
  for (const bool is_plain : {true, false}) {
    const MemoryImage image(model, is_plain ? PlainChip("weights", 32) : chip, Encoding::kTwosComplement,
                            ParseWhere("weights"));
    const std::vector<std::string> words = Memory(WordsAsHex(image, 0));
    std::vector<std::vector<std::string>> banks;
    for (int64_t bank = 0; bank < image.BanksOf(0); ++bank) banks.push_back(Memory(RowsAsHex(image, 0, bank)));
    int64_t ones = 0;
    for (size_t a = 0; a < image.arrays().size(); ++a) {
      const MemoryArray& array = image.arrays()[a];
      for (int64_t cell = 0; cell < array.cells(); ++cell) {
        const BitAddress address{static_cast<int>(a), cell};
        const auto element = static_cast<size_t>(cell / array.bits());
        const int held = static_cast<int>(array.patterns[element] >> cell % array.bits() & 1);
        ones += held;
        const WordPosition position = image.PositionOf(address);
        ASSERT_EQ(BitOf(words.at(static_cast<size_t>(array.first_word + position.word)), position.bit), held);
        const PhysicalAddress place = image.PhysicalOf(address);
        ASSERT_EQ(BitOf(banks.at(static_cast<size_t>(place.bank)).at(static_cast<size_t>(place.row)), place.column),
                  held);
      }
    }
    EXPECT_GT(ones, 1000);
  }
}

}  // namespace
}  // namespace steadfast::memory
