// What the kernels of slices share. Internal to the kernels.
#pragma once

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "steadfast/engine/slices.h"

namespace steadfast::engine {
namespace {

#if defined(__x86_64__)
// Bytes [row][column] of 4 x 4 as [column][row].
inline __m128i TransposeBytes() {
  return _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
}

inline void MakeSliceQuad(const uint8_t* const rows[4], uint8_t* quad) {
  const auto load = [&](int j) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[j])); };
  const __m128i a = load(0), b = load(1), c = load(2), d = load(3);
  const __m128i ab_low = _mm_unpacklo_epi8(a, b), ab_high = _mm_unpackhi_epi8(a, b);
  const __m128i cd_low = _mm_unpacklo_epi8(c, d), cd_high = _mm_unpackhi_epi8(c, d);
  auto* to = reinterpret_cast<__m128i*>(quad);
  _mm_storeu_si128(to, _mm_unpacklo_epi16(ab_low, cd_low));
  _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(ab_low, cd_low));
  _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(ab_high, cd_high));
  _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(ab_high, cd_high));
}

// A byte's place is [image: 4 bits][row: 2 bits]; each round of interleaving the halves of all moves its highest bit to
// the end, so that after four rounds it is [row][image].
inline void SplitSliceQuad(const uint8_t* quad, uint8_t* const rows[4]) {
  const auto* from = reinterpret_cast<const __m128i*>(quad);
  __m128i a = _mm_loadu_si128(from), b = _mm_loadu_si128(from + 1);
  __m128i c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
  for (int round = 0; round < 4; ++round) {
    const __m128i ac_low = _mm_unpacklo_epi8(a, c), ac_high = _mm_unpackhi_epi8(a, c);
    const __m128i bd_low = _mm_unpacklo_epi8(b, d), bd_high = _mm_unpackhi_epi8(b, d);
    a = ac_low;
    b = ac_high;
    c = bd_low;
    d = bd_high;
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rows[0]), a);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rows[1]), b);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rows[2]), c);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rows[3]), d);
}

#else
inline void MakeSliceQuad(const uint8_t* const rows[4], uint8_t* quad) {
  for (int i = 0; i < kSliceImages; ++i) {
    for (int j = 0; j < 4; ++j) quad[4 * i + j] = rows[j][i];
  }
}

inline void SplitSliceQuad(const uint8_t* quad, uint8_t* const rows[4]) {
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < kSliceImages; ++i) rows[j][i] = quad[4 * i + j];
  }
}
#endif

inline uint32_t PackedBytes(const std::array<int16_t, 4>& levels) {
  uint32_t packed = 0;
  for (size_t slot = 0; slot < 4; ++slot) packed |= uint32_t{static_cast<uint8_t>(levels[slot])} << (8 * slot);
  return packed;
}

// Slots `low` and `low` + 2 in 16 bits.
inline uint32_t PairOf(const std::array<int16_t, 4>& levels, size_t low) {
  return uint32_t{static_cast<uint16_t>(levels[low])} | uint32_t{static_cast<uint16_t>(levels[low + 2])} << 16;
}

// For sums of 4 products of bytes.
inline int PackBytes(std::span<const std::array<int16_t, 4>> levels, int, int, uint32_t* packed) {
  for (const auto& of_tap : levels) *packed++ = PackedBytes(of_tap);
  return 0;
}

// How many products in pairs a sum of 16 bits holds, whatever the codes; 0: not even one.
inline int TapsInShort(int largest_level, int largest_code) {
  constexpr int kLargestSum = std::numeric_limits<int16_t>::max();
  return largest_level == 0 ? kLargestSum : kLargestSum / (2 * largest_code * largest_level);
}

// For products in pairs: bytes where a sum of 16 bits holds any, otherwise slots 0 and 2, then 1 and 3 in 16 bits.
inline int PackInPairs(std::span<const std::array<int16_t, 4>> levels, int, int largest_code, uint32_t* packed) {
  int largest = 0;
  bool fits = true;
  for (const auto& of_tap : levels) {
    for (const int16_t level : of_tap) {
      largest = std::max(largest, std::abs(int{level}));
      fits = fits && level == static_cast<int8_t>(level);
    }
  }
  const int taps_in_short = fits ? TapsInShort(largest, largest_code) : 0;
  for (const auto& of_tap : levels) {
    if (taps_in_short > 0) {
      *packed++ = PackedBytes(of_tap);
      continue;
    }
    *packed++ = PairOf(of_tap, 0);
    *packed++ = PairOf(of_tap, 1);
  }
  return taps_in_short;
}

// For products of 16 bits alone.
inline int PackIn16(std::span<const std::array<int16_t, 4>> levels, int, int, uint32_t* packed) {
  for (const auto& of_tap : levels) {
    *packed++ = PairOf(of_tap, 0);
    *packed++ = PairOf(of_tap, 1);
  }
  return 0;
}

}  // namespace
}  // namespace steadfast::engine
