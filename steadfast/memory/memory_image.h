// Which bit of which word of which array holds which bit of which weight code.
//
// Each weight tensor is one array of words. A word of W bits holds floor(W / b) codes of b bits whole, the first in its
// lowest bits, in the tensor's row-major order; bits left over at the top of a word hold nothing. Bit 0 of a code is
// its least significant. A cell is a bit that holds part of a code: cell = code * b + bit, and cells are what can fail.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "steadfast/memory/encoding.h"        // Encoding
#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::memory {

struct MemoryLayout {
  Encoding encoding = Encoding::kTwosComplement;
  int word_bits = 32;  // 8 to 64
  bool operator==(const MemoryLayout&) const = default;
};

struct BitAddress {
  int array;     // in the order of QuantizedModel::weights
  int64_t cell;  // code * bits + bit
  auto operator<=>(const BitAddress&) const = default;
};

struct WordPosition {
  int64_t word;
  int bit;
  bool operator==(const WordPosition&) const = default;
};

struct MemoryArray {
  std::string name;  // of the tensor
  model::CodeFormat format;
  std::vector<uint8_t> patterns;  // [codes], each in the low format.bits bits

  int64_t codes() const { return static_cast<int64_t>(patterns.size()); }
  int64_t cells() const { return codes() * format.bits; }
};

class MemoryImage {
 public:
  // Throws InputError where the encoding cannot hold a code, UsageError where words are narrower than codes.
  MemoryImage(const model::QuantizedModel& model, MemoryLayout layout);

  const MemoryLayout& layout() const { return layout_; }
  std::span<const MemoryArray> arrays() const { return arrays_; }
  int64_t cells() const;
  std::vector<int64_t> cells_of_arrays() const;

  WordPosition PositionOf(BitAddress address) const;
  int64_t WordsOf(int array) const;
  uint64_t WordAt(int array, int64_t word) const;

  // Names word width, arrays, counts and code widths: models of the same description meet the same faults.
  std::string LayoutDescription() const;

 private:
  int64_t CodesPerWord(int array) const;

  MemoryLayout layout_;
  std::vector<MemoryArray> arrays_;
};

}  // namespace steadfast::memory
