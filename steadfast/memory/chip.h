// A chip: in which memories the parameters of a network lie, and how the cells of each memory are laid out.
//
// A memory is banks of rows of words. The parameters that it holds lie in it one behind the other, in the model's
// order, each from a new word on; a word holds elements whole (memory_image.h). Word w is in bank w / (words of a
// bank), row by row ("fill"), or in bank w mod banks ("alternate"). Along a row, the bits of `interleaving`
// neighbouring words alternate: bit b of the word at place s of its row is at column (s / i) i W + b i + s mod i, with
// words of W bits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "steadfast/memory/encoding.h"  // Encoding

namespace steadfast::memory {

enum class BankOrder { kFill, kAlternate };
enum class LevelCode { kBinary, kGray };
// Of a memory that holds activations: whether each value has cells of its own, all values lie in one buffer, from its
// beginning on, or in two that take turns. A faulty cell of a buffer is faulty for every value that lies there.
enum class Buffers { kEach, kOne, kTwo };

struct Memory {
  std::string name = "memory";
  std::string holds = "weights";     // as --where has it; a parameter lies in the first memory that holds it
  std::optional<Encoding> encoding;  // of all codes on the chip; without: what the campaign says
  int word_bits = 32;                // 8 to 64
  // Of a cell; cells of 2 and 3 bits have 4 and 8 levels. The bits of a word lie across its cells, and those at its top
  // that fill no cell hold nothing.
  int cell_bits = 1;
  LevelCode level_code = LevelCode::kGray;  // which bits a level stands for, where cells have several
  int words_per_row = 8;
  int rows_per_bank = 256;
  int banks = 0;         // 0: as many as are needed
  int interleaving = 1;  // words whose bits alternate; divides words_per_row
  BankOrder order = BankOrder::kFill;
  Buffers buffers = Buffers::kEach;
  bool operator==(const Memory&) const = default;

  int usable_bits() const { return word_bits / cell_bits * cell_bits; }  // of a word
  int64_t columns() const { return int64_t{words_per_row} * word_bits; }
  int64_t words_per_bank() const { return int64_t{words_per_row} * rows_per_bank; }
};

struct Chip {
  std::string name;
  std::vector<Memory> memories;
  bool operator==(const Chip&) const = default;
};

struct ChipPreset {
  std::string_view name, description;
  Chip chip;
};
const std::vector<ChipPreset>& ChipPresets();

// What lies in memory where nothing else is said: one memory of banks of 256 rows of 8 words.
Chip PlainChip(std::string_view holds, int word_bits);

// A preset's name, or a YAML file (docs/formats.md). Throws UsageError for a name that is neither, InputError naming
// line and key of a file.
Chip ReadChip(const std::string& name_or_file);
Chip ParseChip(const std::string& yaml, const std::string& name);
// The same chip as JSON in one line, which ParseChip reads too (YAML includes JSON).
std::string ToText(const Chip& chip);

// Throws UsageError where numbers are out of range or do not fit one another, or memories say different encodings.
void Check(const Chip& chip);

// The encoding of codes that the chip says; all its memories store them so.
std::optional<Encoding> EncodingOf(const Chip& chip);

}  // namespace steadfast::memory
