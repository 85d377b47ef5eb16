// Which bit of which word of which array holds which bit of which element of which parameter, and where on the chip.
//
// Each parameter is one array of words. A word of W bits holds floor(W / b) elements of b bits whole, the first in its
// lowest bits, in the file's order; bits left over at the top of a word hold nothing (with cells of several bits, W is
// what its whole cells hold). Bit 0 of an element is its least significant. A cell is a bit that holds part of an
// element: cell = element * b + bit, and cells are what can fail. The arrays of a memory lie one behind the other,
// those of weights first.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "steadfast/memory/chip.h"            // Chip
#include "steadfast/memory/encoding.h"        // Encoding
#include "steadfast/memory/where.h"           // Where
#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::memory {

struct MemoryLayout {
  Encoding encoding = Encoding::kTwosComplement;
  int word_bits = 32;  // 8 to 64
  bool operator==(const MemoryLayout&) const = default;
};

struct BitAddress {
  int array;     // place in MemoryImage::arrays
  int64_t cell;  // element * bits + bit
  auto operator<=>(const BitAddress&) const = default;
};

// Where a bit is on the chip. Columns are of single bits; a cell of several bits takes as many columns.
struct PhysicalAddress {
  int memory;  // place in Chip::memories
  int64_t bank, row, column;
  auto operator<=>(const PhysicalAddress&) const = default;
};

// An array whose cells can fail. Its number decides its faults: the same whatever other arrays are sampled beside it.
struct SampledArray {
  uint32_t number;  // below 65,536
  int64_t cells;
};

struct WordPosition {
  int64_t word;
  int bit;
  bool operator==(const WordPosition&) const = default;
};

// A value that lies in a buffer.
struct BufferedValue {
  int value;  // index into QuantizedModel::values
  int bits;   // of its codes
  bool is_signed;
  int64_t elements;
};

struct MemoryArray {
  std::string name;  // of the parameter, or the value
  int parameter;     // index into QuantizedModel::parameters; -1: a buffer of values
  uint32_t number;  // decides its random faults: weights count from 0, all other parameters from there on, buffers from
                    // 49,152 on
  model::StorageFormat format;
  std::vector<uint32_t> patterns;  // [elements], each in the low bits
  Encoding encoding = Encoding::kTwosComplement;
  int memory = 0;          // place in Chip::memories
  int64_t first_word = 0;  // of the memory
  model::Role role = model::Role::kWeight;
  int64_t outputs = 1;                // output channels; of what has none, its elements
  bool outputs_last = false;          // whether neighbouring elements belong to neighbouring outputs
  std::vector<CellFilter> filters;    // one must hold a cell that can fail; none: all cells can fail
  std::vector<BufferedValue> values;  // of a buffer: what lies there. Of several, an element is a bit
  bool is_own_buffer = false;         // of one value, whose elements are its own
  int64_t cells_before = 0;           // of such: of all stored values before it

  int bits() const { return format.bits(); }  // of an element
  int64_t elements() const { return static_cast<int64_t>(patterns.size()); }
  int64_t cells() const { return elements() * bits(); }
  int64_t ChannelOf(int64_t element) const {
    return outputs_last ? element % outputs : element / (elements() / outputs);
  }
};

class MemoryImage {
 public:
  // Throws InputError if the encoding cannot hold a code or the model has no parameter that can fail, and UsageError if
  // words are narrower than elements. Encodings apply to codes; floats and int32 are stored as they are. One memory
  // holds everything, what can fail and what cannot (PlainChip), but for what its words are too narrow for.
  MemoryImage(const model::QuantizedModel& model, MemoryLayout layout, const Where& where = {});
  // On a chip: what its memories hold, and `where` names, can fail. Throws UsageError also where a memory has too few
  // banks, or none holds what `where` names.
  MemoryImage(const model::QuantizedModel& model, const Chip& chip, Encoding encoding, const Where& where);

  // A chip by itself, whatever lies in it: each memory is one array of this name that fills all its banks. Throws
  // UsageError where a memory does not say how many those are.
  static MemoryImage OfChip(const Chip& chip);

  const Chip& chip() const { return chip_; }
  std::span<const MemoryArray> arrays() const { return arrays_; }
  int64_t cells() const;  // of the arrays, whether filters leave them out or not
  std::vector<SampledArray> sampled_arrays() const;

  // Whether filters let a cell fail.
  bool CanFail(BitAddress address) const { return Holds(ArrayAt(address.array).filters, address); }
  int64_t FailingCells(int array) const;
  int64_t CellsOfStoredValues() const { return cells_of_stored_values_; }  // of all, whether they can fail or not

  // What `where` names of each array; no filter: nothing. Throws UsageError for what none of the arrays is.
  std::vector<std::vector<CellFilter>> SelectArrays(const Where& where) const;
  // Throws UsageError where a filter of what SelectArrays gave holds no cell at all.
  void CheckFilters(const Where& where, std::span<const std::vector<CellFilter>> filters) const;
  // Whether one of the filters, where there are any, holds a cell.
  bool Holds(std::span<const CellFilter> filters, BitAddress address) const;

  const Memory& memory_of(int array) const { return chip_.memories[static_cast<size_t>(ArrayAt(array).memory)]; }
  int64_t WordsOfMemory(int memory) const { return words_[static_cast<size_t>(memory)]; }  // that hold something
  int64_t BanksOf(int memory) const { return banks_[static_cast<size_t>(memory)]; }

  WordPosition PositionOf(BitAddress address) const;  // word: of the array
  int64_t WordsOf(int array) const;
  uint64_t WordAt(int array, int64_t word) const;
  void SetPattern(int array, int64_t element, uint32_t pattern) {
    arrays_[static_cast<size_t>(array)].patterns[static_cast<size_t>(element)] = pattern;
  }

  PhysicalAddress PhysicalOf(BitAddress address) const;
  // What a place on the chip holds; nothing where no bit of these arrays lies there.
  std::optional<BitAddress> BitAt(const PhysicalAddress& address) const;
  std::optional<BitAddress> BitAt(int memory, int64_t word, int bit) const;  // word: of the memory

  // Names word width, arrays, counts and code widths: models of the same description meet the same faults.
  std::string LayoutDescription() const;

 private:
  const MemoryArray& ArrayAt(int array) const { return arrays_[static_cast<size_t>(array)]; }
  MemoryImage() = default;
  int64_t ElementsPerWord(int array) const;
  void Build(const model::QuantizedModel& model, Encoding encoding, const Where& where, bool is_plain);
  void AddBuffers(const model::QuantizedModel& model, std::span<const int> memories,
                  std::span<const std::vector<CellFilter>> selected);
  void AddBuffer(MemoryArray array, int64_t words);

  Chip chip_;
  std::vector<MemoryArray> arrays_;
  int64_t cells_of_stored_values_ = 0;
  std::vector<int64_t> words_, banks_;      // [memory]
  std::vector<std::vector<int>> lying_in_;  // [memory] arrays, by their first words
};

// The place of a word's bit, and back.
struct PlaceInMemory {
  int64_t bank, row, column;
};
PlaceInMemory PlaceOf(const Memory& memory, int64_t banks, int64_t word, int bit);
WordPosition WordAtPlace(const Memory& memory, int64_t banks, const PlaceInMemory& place);

// On a chip, or where there is none, on a plain one.
MemoryImage ImageOn(const std::optional<Chip>& chip, const model::QuantizedModel& model, MemoryLayout layout,
                    const Where& where);

}  // namespace steadfast::memory
