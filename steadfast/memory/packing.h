// How words hold elements: each as many whole ones as fit, the first in its lowest bits.
#pragma once

#include <cstdint>
#include <span>

namespace steadfast::memory {

inline int64_t WordsFor(int64_t elements, int64_t per_word) {
  return (elements + per_word - 1) / per_word;
}

// patterns: [elements], each in the low `bits` bits.
inline uint64_t PackedWord(std::span<const uint32_t> patterns, int bits, int64_t per_word, int64_t word) {
  uint64_t packed = 0;
  for (int64_t i = 0; i < per_word && word * per_word + i < static_cast<int64_t>(patterns.size()); ++i)
    packed |= uint64_t{patterns[static_cast<size_t>(word * per_word + i)]} << (i * bits);
  return packed;
}

}  // namespace steadfast::memory
