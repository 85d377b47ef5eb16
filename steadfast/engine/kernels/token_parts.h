// What the kernels for tokens on rows and on slices share. Internal to the kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

#include "steadfast/engine/kernels.h"                       // QuantizeConstants, RequantizeConstants
#include "steadfast/engine/kernels/loops.h"                 // STEADFAST_INLINE
#include "steadfast/model/operators/layer_normalization.h"  // InverseDeviation
#include "steadfast/model/operators/softmax.h"              // InverseSum

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace steadfast::engine {
namespace {

// model::CodeOfSteps. Clipping to whole numbers before rounding gives the same as after it.
STEADFAST_INLINE uint8_t CodeOfSteps(float steps, const QuantizeConstants& c) {
  const float raised = steps > -1024.0f ? steps : -1024.0f;
  const float clipped = std::rint(raised < 1024.0f ? raised : 1024.0f);
  const int code = std::min(std::max(static_cast<int>(clipped) + c.zero_point, c.lowest), c.highest);
  return static_cast<uint8_t>(code < c.zero_below ? c.lowest : code);
}

STEADFAST_INLINE void PairRowsBody(const uint8_t* row, const uint8_t* second, int zero_point, int16_t* pairs) {
  if (second == nullptr) {
    for (int i = 0; i < kRowBytes; ++i) {
      pairs[2 * i] = static_cast<int16_t>(row[i] - zero_point);
      pairs[2 * i + 1] = 0;
    }
    return;
  }
  for (int i = 0; i < kRowBytes; ++i) {
    pairs[2 * i] = static_cast<int16_t>(row[i] - zero_point);
    pairs[2 * i + 1] = static_cast<int16_t>(second[i] - zero_point);
  }
}

// model::Requantize, of `count` sums.
template <int kCount>
STEADFAST_INLINE void RequantizeSome(const int32_t* sums, const RequantizeConstants& c, uint8_t* row) {
  for (int i = 0; i < kCount; ++i) {
    const float value = static_cast<float>(sums[i]) * c.scale;
    const float raised = value > c.lowest ? value : c.lowest;
    const float clipped = raised < c.highest ? raised : c.highest;
    const int code = static_cast<int>(std::rint(clipped)) + c.zero_point;
    row[i] = static_cast<uint8_t>(code < c.zero_below ? c.lowest_code() : code);
  }
}

// What differs between instruction sets. Sum: of kRows x kColumns outputs for kLanes images (of slices: half as many,
// two sums each), in registers. left, right: [row][pair], `step` numbers each.
struct PlainTile {
  static constexpr int kLanes = 16, kMostRows = 1, kMostColumns = 1, kQuadRows = 1, kQuadColumns = 1;
  template <int kRows, int kColumns>
  static void Sum(const int16_t* left, const int16_t* right, int64_t pairs, int64_t step, int32_t* sums) {
    static_assert(kRows == 1 && kColumns == 1);
    for (int i = 0; i < kLanes; ++i) sums[i] = 0;
    for (int64_t k = 0; k < pairs; ++k) {
      const int16_t *a = left + k * step, *b = right + k * step;
      for (int i = 0; i < kLanes; ++i) sums[i] += a[2 * i] * b[2 * i] + a[2 * i + 1] * b[2 * i + 1];
    }
  }
  // into[i] = table[row[i]], of a row.
  static void LookUp(const int32_t* table, const uint8_t* row, int32_t* into) {
    for (int i = 0; i < kRowBytes; ++i) into[i] = table[row[i]];
  }
};

#if defined(__x86_64__)
#define STEADFAST_TILE(NAME, LANES, ROWS, COLUMNS, QUAD_ROWS, TARGET, VECTOR, ZERO, LOAD, STORE, ADD_PRODUCT, LOOK_UP) \
  struct NAME {                                                                                                        \
    static constexpr int kLanes = LANES, kMostRows = ROWS, kMostColumns = COLUMNS;                                     \
    static constexpr int kQuadRows = QUAD_ROWS, kQuadColumns = 4;                                                      \
    template <int kRows, int kColumns>                                                                                 \
    TARGET static void Sum(const int16_t* left, const int16_t* right, int64_t pairs, int64_t step, int32_t* sums) {    \
      VECTOR total[kRows][kColumns];                                                                                   \
      for (int m = 0; m < kRows; ++m) {                                                                                \
        for (int n = 0; n < kColumns; ++n) total[m][n] = ZERO();                                                       \
      }                                                                                                                \
      const int64_t matrix = pairs * step;                                                                             \
      for (int64_t k = 0; k < pairs; ++k) {                                                                            \
        VECTOR b[kColumns];                                                                                            \
        _Pragma("GCC unroll 8") for (int n = 0; n < kColumns; ++n) b[n] =                                              \
            LOAD(reinterpret_cast<const VECTOR*>(right + n * matrix + k * step));                                      \
        _Pragma("GCC unroll 8") for (int m = 0; m < kRows; ++m) {                                                      \
          const VECTOR a = LOAD(reinterpret_cast<const VECTOR*>(left + m * matrix + k * step));                        \
          _Pragma("GCC unroll 8") for (int n = 0; n < kColumns; ++n) total[m][n] = ADD_PRODUCT(total[m][n], a, b[n]);  \
        }                                                                                                              \
      }                                                                                                                \
      for (int m = 0; m < kRows; ++m) {                                                                                \
        for (int n = 0; n < kColumns; ++n)                                                                             \
          STORE(reinterpret_cast<VECTOR*>(sums + (m * kColumns + n) * kLanes), total[m][n]);                           \
      }                                                                                                                \
    }                                                                                                                  \
    TARGET static void LookUp(const int32_t* table, const uint8_t* row, int32_t* into) {                               \
      for (int i = 0; i < kRowBytes; i += kLanes) {                                                                    \
        STORE(reinterpret_cast<VECTOR*>(into + i), LOOK_UP(table, row + i));                                           \
      }                                                                                                                \
    }                                                                                                                  \
  };
#define STEADFAST_AVX2 __attribute__((target("avx2")))
#define STEADFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define STEADFAST_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define STEADFAST_ADD_256(SUM, A, B) _mm256_add_epi32(SUM, _mm256_madd_epi16(A, B))
#define STEADFAST_ADD_512(SUM, A, B) _mm512_add_epi32(SUM, _mm512_madd_epi16(A, B))
#define STEADFAST_LOOK_UP_256(TABLE, ROW) \
  _mm256_i32gather_epi32(TABLE, _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(ROW))), 4)
#define STEADFAST_LOOK_UP_512(TABLE, ROW) \
  _mm512_i32gather_epi32(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(ROW))), TABLE, 4)
STEADFAST_TILE(Avx2Tile, 8, 3, 3, 2, STEADFAST_AVX2, __m256i, _mm256_setzero_si256, _mm256_loadu_si256,
               _mm256_storeu_si256, STEADFAST_ADD_256, STEADFAST_LOOK_UP_256)
STEADFAST_TILE(Avx512Tile, 16, 4, 4, 4, STEADFAST_AVX512, __m512i, _mm512_setzero_si512, _mm512_loadu_si512,
               _mm512_storeu_si512, STEADFAST_ADD_512, STEADFAST_LOOK_UP_512)
STEADFAST_TILE(VnniTile, 16, 4, 4, 4, STEADFAST_VNNI, __m512i, _mm512_setzero_si512, _mm512_loadu_si512,
               _mm512_storeu_si512, _mm512_dpwssd_epi32, STEADFAST_LOOK_UP_512)
#endif

// Of the 4 bytes (or sums) of an image side by side: each becomes what `combine` makes of all.
template <typename T, typename Combine>
STEADFAST_INLINE void CombineFours(T* values, const Combine& combine) {
  for (int i = 0; i < kRowBytes; i += 4) {
    const T all = combine(combine(values[i], values[i + 1]), combine(values[i + 2], values[i + 3]));
    for (int j = 0; j < 4; ++j) values[i + j] = all;
  }
}

// kQuads: of a slice's quads, 4 terms of 16 images each, instead of rows. terms: rows, or quads.
template <typename Tile, bool kQuads>
STEADFAST_INLINE void SoftmaxBody(const uint8_t* input, int64_t terms, int64_t stride, const int32_t* exponentials,
                                  int32_t* numerators, const QuantizeConstants& constants, uint8_t* output) {
  uint8_t largest[kRowBytes];
  std::copy(input, input + kRowBytes, largest);
  for (int64_t t = 1; t < terms; ++t) {
    const uint8_t* row = input + t * stride;
    for (int i = 0; i < kRowBytes; ++i) largest[i] = row[i] > largest[i] ? row[i] : largest[i];
  }
  if (kQuads) CombineFours(largest, [](uint8_t a, uint8_t b) { return std::max(a, b); });
  int32_t sums[kRowBytes] = {};
  for (int64_t t = 0; t < terms; ++t) {
    const uint8_t* row = input + t * stride;
    int32_t* looked_up = numerators + t * kRowBytes;
    uint8_t distances[kRowBytes];
    for (int i = 0; i < kRowBytes; ++i) distances[i] = static_cast<uint8_t>(largest[i] - row[i]);
    Tile::LookUp(exponentials, distances, looked_up);
    for (int i = 0; i < kRowBytes; ++i) sums[i] += looked_up[i];
  }
  if (kQuads) CombineFours(sums, std::plus<int32_t>());
  float inverse[kRowBytes];
  for (int i = 0; i < kRowBytes; ++i) inverse[i] = model::InverseSum(sums[i], constants.scale);
  for (int64_t t = 0; t < terms; ++t) {
    const int32_t* numerator = numerators + t * kRowBytes;
    uint8_t* row = output + t * stride;
    for (int i = 0; i < kRowBytes; ++i) row[i] = CodeOfSteps(static_cast<float>(numerator[i]) * inverse[i], constants);
  }
}

// The same; rows: rows or quads of 4 channels.
template <bool kQuads>
STEADFAST_INLINE void NormalizeBody(const uint8_t* input, int64_t rows, int64_t stride, int zero_point, double epsilon,
                                    const QuantizeConstants& constants, uint8_t* output) {
  int32_t sums[kRowBytes] = {}, squares[kRowBytes] = {};
  const int64_t channels = kQuads ? 4 * rows : rows;
  for (int64_t c = 0; c < rows; ++c) {
    const uint8_t* row = input + c * stride;
    for (int i = 0; i < kRowBytes; ++i) {
      const int32_t level = row[i] - zero_point;
      sums[i] += level;
      squares[i] += level * level;
    }
  }
  if (kQuads) {
    CombineFours(sums, std::plus<int32_t>());
    CombineFours(squares, std::plus<int32_t>());
  }
  float inverse[kRowBytes];
  for (int i = 0; i < kRowBytes; ++i)
    inverse[i] = model::InverseDeviation(channels * squares[i] - int64_t{sums[i]} * sums[i], epsilon, constants.scale);
  const auto count = static_cast<int32_t>(channels);
  for (int64_t c = 0; c < rows; ++c) {
    const uint8_t* from = input + c * stride;
    uint8_t* row = output + c * stride;
    for (int i = 0; i < kRowBytes; ++i) {
      const int32_t centered = count * (from[i] - zero_point) - sums[i];
      row[i] = CodeOfSteps(static_cast<float>(centered) * inverse[i], constants);
    }
  }
}

}  // namespace
}  // namespace steadfast::engine
