#include "steadfast/memory/memory_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace steadfast::memory {

std::string WordsAsHex(const MemoryImage& image, int memory) {
  const Memory& description = image.chip().memories[static_cast<size_t>(memory)];
  const int digits = (description.word_bits + 3) / 4;
  std::string text =
      fmt::format("// memory {}: words of {} bits, for $readmemh\n", description.name, description.word_bits);
  for (size_t a = 0; a < image.arrays().size(); ++a) {
    const MemoryArray& array = image.arrays()[a];
    if (array.memory != memory || array.parameter < 0) continue;
    text += fmt::format("// {}: {} elements of {} bits\n@{:x}\n", array.name, array.elements(), array.bits(),
                        array.first_word);
    for (int64_t word = 0; word < image.WordsOf(static_cast<int>(a)); ++word)
      text += fmt::format("{:0{}x}\n", image.WordAt(static_cast<int>(a), word), digits);
  }
  return text;
}

std::string RowsAsHex(const MemoryImage& image, int memory, int64_t bank) {
  const Memory& description = image.chip().memories[static_cast<size_t>(memory)];
  const int64_t columns = description.columns(), banks = image.BanksOf(memory);
  // Bits, lowest column first; what a row holds is small, a bank is a few hundred of them.
  std::vector<std::vector<uint8_t>> rows(static_cast<size_t>(description.rows_per_bank),
                                         std::vector<uint8_t>(static_cast<size_t>((columns + 3) / 4), 0));
  int64_t last = -1;
  for (size_t a = 0; a < image.arrays().size(); ++a) {
    const MemoryArray& array = image.arrays()[a];
    if (array.memory != memory || array.parameter < 0) continue;
    for (int64_t word = 0; word < image.WordsOf(static_cast<int>(a)); ++word) {
      const uint64_t bits = image.WordAt(static_cast<int>(a), word);
      for (int bit = 0; bit < description.word_bits; ++bit) {
        const PlaceInMemory place = PlaceOf(description, banks, array.first_word + word, bit);
        if (place.bank != bank) break;  // the bits of a word share their bank
        last = std::max(last, place.row);
        if ((bits >> bit & 1) != 0)
          rows[static_cast<size_t>(place.row)][static_cast<size_t>(place.column / 4)] |=
              static_cast<uint8_t>(1 << place.column % 4);
      }
    }
  }
  std::string text =
      fmt::format("// memory {}, bank {}: rows of {} columns, column 0 in the lowest bit, for $readmemh\n",
                  description.name, bank, columns);
  for (int64_t row = 0; row <= last; ++row) {
    const auto& digits = rows[static_cast<size_t>(row)];
    for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit) text += fmt::format("{:x}", *digit);
    text += '\n';
  }
  return text;
}

}  // namespace steadfast::memory
