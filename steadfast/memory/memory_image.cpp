#include "steadfast/memory/memory_image.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"

namespace steadfast::memory {

MemoryImage::MemoryImage(const model::QuantizedModel& model, MemoryLayout layout) : layout_(layout) {
  if (layout.word_bits < 8 || layout.word_bits > 64) {
    throw UsageError(fmt::format("word width: {} bits, expected 8 to 64", layout.word_bits));
  }
  for (const auto& tensor : model.weights) {
    CheckEncodable(tensor, layout.encoding);
    MemoryArray array{tensor.name, tensor.format, {}};
    array.patterns.reserve(tensor.codes.size());
    for (int16_t code : tensor.codes) array.patterns.push_back(Encode(tensor.format, layout.encoding, code));
    arrays_.push_back(std::move(array));
  }
}

int64_t MemoryImage::cells() const {
  int64_t cells = 0;
  for (const auto& array : arrays_) cells += array.cells();
  return cells;
}

std::vector<int64_t> MemoryImage::cells_of_arrays() const {
  std::vector<int64_t> cells;
  for (const auto& array : arrays_) cells.push_back(array.cells());
  return cells;
}

int64_t MemoryImage::CodesPerWord(int array) const {
  return layout_.word_bits / arrays_[static_cast<size_t>(array)].format.bits;
}

WordPosition MemoryImage::PositionOf(BitAddress address) const {
  const int bits = arrays_[static_cast<size_t>(address.array)].format.bits;
  const int64_t code = address.cell / bits;
  const int64_t per_word = CodesPerWord(address.array);
  return {code / per_word, static_cast<int>(code % per_word * bits + address.cell % bits)};
}

int64_t MemoryImage::WordsOf(int array) const {
  const int64_t per_word = CodesPerWord(array);
  return (arrays_[static_cast<size_t>(array)].codes() + per_word - 1) / per_word;
}

uint64_t MemoryImage::WordAt(int array, int64_t word) const {
  const MemoryArray& memory = arrays_[static_cast<size_t>(array)];
  const int64_t per_word = CodesPerWord(array);
  uint64_t bits = 0;
  for (int64_t i = 0; i < per_word && word * per_word + i < memory.codes(); ++i) {
    bits |= uint64_t{memory.patterns[static_cast<size_t>(word * per_word + i)]} << (i * memory.format.bits);
  }
  return bits;
}

std::string MemoryImage::LayoutDescription() const {
  std::string text = fmt::format("{}-bit words:", layout_.word_bits);
  for (const auto& array : arrays_) text += fmt::format(" {} {}x{}", array.name, array.codes(), array.format.bits);
  return text;
}

}  // namespace steadfast::memory
