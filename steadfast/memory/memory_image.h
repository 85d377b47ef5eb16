// Which bit of which word of which array holds which bit of which element of which parameter.
//
// Each parameter is one array of words. A word of W bits holds floor(W / b) elements of b bits whole, the first in its
// lowest bits, in the file's order; bits left over at the top of a word hold nothing. Bit 0 of an element is its least
// significant. A cell is a bit that holds part of an element: cell = element * b + bit, and cells are what can fail.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "steadfast/memory/encoding.h"        // Encoding
#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::memory {

struct MemoryLayout {
  Encoding encoding = Encoding::kTwosComplement;
  int word_bits = 32;  // 8 to 64
  bool operator==(const MemoryLayout&) const = default;
};

// Which parameters lie in the memory that fails, by role.
struct Where {
  bool weights = true, biases = false, scales = false, normalization = false, activation_scales = false;
  bool Holds(model::Role role) const;
  bool operator==(const Where&) const = default;
};
std::string NameOf(const Where& where);   // "weights", "weights,biases"
Where ParseWhere(std::string_view text);  // weights, biases, scales, normalization, activation-scales,
                                          // comma-separated, or all; throws UsageError

struct BitAddress {
  int array;     // place in MemoryImage::arrays
  int64_t cell;  // element * bits + bit
  auto operator<=>(const BitAddress&) const = default;
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

struct MemoryArray {
  std::string name;  // of the parameter
  int parameter;     // index into QuantizedModel::parameters
  uint32_t number;   // decides its random faults: weights count from 0, all other parameters from there on
  model::StorageFormat format;
  std::vector<uint32_t> patterns;  // [elements], each in the low bits

  int bits() const { return format.bits(); }  // of an element
  int64_t elements() const { return static_cast<int64_t>(patterns.size()); }
  int64_t cells() const { return elements() * bits(); }
};

class MemoryImage {
 public:
  // Throws InputError if the encoding cannot hold a code or the model has no parameter that can fail, and UsageError if
  // words are narrower than elements. Encodings apply to codes; floats and int32 are stored as they are.
  MemoryImage(const model::QuantizedModel& model, MemoryLayout layout, const Where& where = {});

  const MemoryLayout& layout() const { return layout_; }
  std::span<const MemoryArray> arrays() const { return arrays_; }
  int64_t cells() const;
  std::vector<SampledArray> sampled_arrays() const;

  WordPosition PositionOf(BitAddress address) const;
  int64_t WordsOf(int array) const;
  uint64_t WordAt(int array, int64_t word) const;

  // Names word width, arrays, counts and code widths: models of the same description meet the same faults.
  std::string LayoutDescription() const;

 private:
  int64_t ElementsPerWord(int array) const;

  MemoryLayout layout_;
  std::vector<MemoryArray> arrays_;
};

}  // namespace steadfast::memory
