#include "steadfast/engine/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "steadfast/base/elementary.h"  // PortableExp and its constants
#include "steadfast/engine/scores.h"    // kScoreUnit

#if defined(__x86_64__)
#include <immintrin.h>
#define STEADFAST_X86 1
#endif

namespace steadfast::engine {
namespace {

#define STEADFAST_INLINE inline __attribute__((always_inline))

// ---- Portable: plain loops, compiled once for the baseline and once for AVX2 ----

STEADFAST_INLINE void MakeQuadBody(const uint8_t* const rows[4], uint8_t* quad) {
  for (int i = 0; i < kRowBytes; ++i) {
    for (int j = 0; j < 4; ++j) quad[4 * i + j] = rows[j][i];
  }
}

STEADFAST_INLINE void ProductsBody(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                   int outputs, const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  for (int o = 0; o < outputs; ++o) {
    uint32_t lanes[kBlockImages] = {};
    if (initial != nullptr) std::memcpy(lanes, initial + o * initial_stride, sizeof lanes);
    for (int t = 0; t < taps; ++t) {
      const uint8_t* quad = base + offsets[t];
      int8_t w[4];
      std::memcpy(w, &weights[t * outputs + o], 4);
      const int32_t w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
      for (int i = 0; i < kBlockImages; ++i) {
        lanes[i] += static_cast<uint32_t>(quad[4 * i] * w0 + quad[4 * i + 1] * w1 + quad[4 * i + 2] * w2 +
                                          quad[4 * i + 3] * w3);
      }
    }
    std::memcpy(sums + o * kBlockImages, lanes, sizeof lanes);
  }
}

void PackByTap(std::span<const uint32_t> weights, int, int, std::vector<uint32_t>& packed) {
  packed.insert(packed.end(), weights.begin(), weights.end());
}

STEADFAST_INLINE void MaximumBody(const int32_t* sums, int32_t* into, int count) {
  for (int i = 0; i < count; ++i) into[i] = std::max(into[i], sums[i]);
}

STEADFAST_INLINE void RequantizeBody(const int32_t* sums, int32_t correction, const RequantizeConstants& c,
                                     uint8_t* row) {
  for (int i = 0; i < kBlockImages; ++i) {
    const auto sum = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + static_cast<uint32_t>(correction));
    const float product = static_cast<float>(sum) * c.scale;
    const float value = product + c.offset;
    // Clipping to whole numbers before rounding gives the same as after it. What is no number becomes the lowest.
    const float raised = value > c.lowest ? value : c.lowest;
    const float clipped = raised < c.highest ? raised : c.highest;
    const int code = static_cast<int>(std::rint(clipped)) + c.zero_point;
    row[i] = static_cast<uint8_t>(code < c.zero_below ? c.lowest_code() : code);
  }
}

STEADFAST_INLINE void SubtractBody(const int32_t* a, const int32_t* b, int32_t* result) {
  for (int i = 0; i < kBlockImages; ++i)
    result[i] = static_cast<int32_t>(static_cast<uint32_t>(a[i]) - static_cast<uint32_t>(b[i]));
}

STEADFAST_INLINE void AddScaledRowBody(const uint8_t* row, int32_t factor, const int32_t* from, int32_t* into) {
  for (int i = 0; i < kBlockImages; ++i)
    into[i] = static_cast<int32_t>(static_cast<uint32_t>(from[i]) + static_cast<uint32_t>(row[i] * factor));
}

STEADFAST_INLINE void AddColumnsBody(const int32_t* weights, int32_t level, int64_t outputs, int64_t count,
                                     int64_t step, int32_t* into) {
  for (int64_t i = 0; i < count; ++i, weights += outputs, into += step) {
    for (int64_t o = 0; o < outputs; ++o)
      into[o] = static_cast<int32_t>(static_cast<uint32_t>(into[o]) +
                                     static_cast<uint32_t>(static_cast<int16_t>(weights[o]) * level));
  }
}

STEADFAST_INLINE void RealsBody(const int32_t* sums, int32_t correction, float scale, float offset, float* reals) {
  for (int i = 0; i < kBlockImages; ++i) {
    const auto sum = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + static_cast<uint32_t>(correction));
    const float product = static_cast<float>(sum) * scale;
    reals[i] = product + offset;
  }
}

STEADFAST_INLINE void AddRowsBody(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b,
                                  const OperandConstants& of_b, const QuantizeConstants& c, uint8_t* row) {
  for (int i = 0; i < kRowBytes; ++i) {
    const float x = static_cast<float>(a[i] - of_a.zero_point) * of_a.scale;
    const float y = static_cast<float>(b[i] - of_b.zero_point) * of_b.scale;
    const float rounded = std::rint((x + y) / c.scale);
    const float raised = rounded > -1024.0f ? rounded : -1024.0f;
    const float clipped = raised < 1024.0f ? raised : 1024.0f;
    const int code = std::min(std::max(static_cast<int>(clipped) + c.zero_point, c.lowest), c.highest);
    row[i] = static_cast<uint8_t>(code < c.zero_below ? c.lowest : code);
  }
}

STEADFAST_INLINE uint64_t DifferenceBody(const uint8_t* a, const uint8_t* b) {
  uint64_t lanes = 0;
  if (std::memcmp(a, b, kRowBytes) == 0) return 0;
  for (int i = 0; i < kRowBytes; ++i) lanes |= uint64_t{a[i] != b[i]} << i;
  return lanes;
}

STEADFAST_INLINE uint64_t RequantizeAndCompareBody(const int32_t* sums, int32_t correction,
                                                   const RequantizeConstants& c, const uint8_t* other, uint8_t* row) {
  RequantizeBody(sums, correction, c, row);
  return DifferenceBody(row, other);
}

STEADFAST_INLINE uint64_t ChangedRowBody(const int32_t* const* sums, const uint8_t* const* rows, size_t count,
                                         int32_t factor, int32_t correction, const RequantizeConstants& c,
                                         const uint8_t* other, uint8_t* row) {
  int32_t best[kBlockImages], next[kBlockImages];
  AddScaledRowBody(rows[0], factor, sums[0], best);
  for (size_t i = 1; i < count; ++i) {
    AddScaledRowBody(rows[i], factor, sums[i], next);
    MaximumBody(next, best, static_cast<int>(kBlockImages));
  }
  return RequantizeAndCompareBody(best, correction, c, other, row);
}

STEADFAST_INLINE void AddDistancesBody(const uint8_t* a, const uint8_t* b, int32_t* sums) {
  for (int i = 0; i < kRowBytes; ++i) sums[i] += a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
}

STEADFAST_INLINE void CompressRowBody(const uint8_t* row, uint64_t lanes, uint8_t* to) {
  for (; lanes != 0; lanes &= lanes - 1) *to++ = row[std::countr_zero(lanes)];
}

STEADFAST_INLINE int64_t LookUpBody(const LookUp& look_up, const uint8_t* row, int32_t factor) {
  int32_t sums[kBlockImages];
  AddScaledRowBody(row, factor, look_up.sums, sums);
  uint8_t codes[kRowBytes];
  RequantizeBody(sums, look_up.correction, look_up.constants, codes);
  int64_t total = 0;
  for (int i = 0; i < kBlockImages; ++i) total += look_up.table[codes[i] * kBlockImages + i];
  return total;
}

// The margin, a difference of logits, in units of 2^-20.
STEADFAST_INLINE int64_t MarginUnits(float of_label, float of_other) {
  const double margin = double{of_label} - double{of_other};
  const double raised = margin > -kLargestScore ? margin : -kLargestScore;  // what is no number is the smallest
  return std::llrint(std::min(raised, kLargestScore) / kScoreUnit);
}

STEADFAST_INLINE void ScoreBody(const float* logits, int classes, const uint8_t* labels, uint16_t* predictions,
                                int64_t* margins) {
  float best[kBlockImages], other[kBlockImages], of_label[kBlockImages];
  int32_t index[kBlockImages];
  for (int i = 0; i < kBlockImages; ++i) {
    best[i] = -std::numeric_limits<float>::infinity();
    index[i] = 0;
    other[i] = -std::numeric_limits<float>::infinity();
    of_label[i] = 0;
  }
  for (int c = 0; c < classes; ++c) {
    const float* row = logits + c * kBlockImages;
    for (int i = 0; i < kBlockImages; ++i) {
      index[i] = row[i] > best[i] ? c : index[i];
      best[i] = row[i] > best[i] ? row[i] : best[i];
      const bool is_label = labels[i] == c;
      of_label[i] = is_label ? row[i] : of_label[i];
      const float candidate = is_label ? other[i] : row[i];
      other[i] = candidate > other[i] ? candidate : other[i];
    }
  }
  for (int i = 0; i < kBlockImages; ++i) {
    predictions[i] = static_cast<uint16_t>(index[i]);
    margins[i] = MarginUnits(of_label[i], other[i]);
  }
}

void ExponentialsBody(const float* logits, int classes, double* exponentials, double* largest) {
  for (int i = 0; i < kBlockImages; ++i) {
    double most = logits[i];
    for (int c = 1; c < classes; ++c) most = std::max(most, double{logits[c * kBlockImages + i]});
    double sum = 0.0;
    for (int c = 0; c < classes; ++c) sum += PortableExp(double{logits[c * kBlockImages + i]} - most);
    exponentials[i] = sum;
    largest[i] = most;
  }
}

STEADFAST_INLINE void MaximumRowsBody(const uint8_t* other, uint8_t* row) {
  for (int i = 0; i < kRowBytes; ++i) row[i] = std::max(row[i], other[i]);
}

std::array<uint8_t, kBlockImages> NaturalOrder() {
  std::array<uint8_t, kBlockImages> order = {};
  for (int i = 0; i < kBlockImages; ++i) order[static_cast<size_t>(i)] = static_cast<uint8_t>(i);
  return order;
}

#define STEADFAST_PORTABLE_KERNELS(NAME, TARGET)                                                                       \
  struct NAME {                                                                                                        \
    TARGET static void MakeQuad(const uint8_t* const rows[4], uint8_t* quad) { MakeQuadBody(rows, quad); }             \
    TARGET static void Products(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,        \
                                int outputs, const int32_t* initial, int64_t stride, int32_t* sums) {                  \
      ProductsBody(base, offsets, taps, weights, outputs, initial, stride, sums);                                      \
    }                                                                                                                  \
    TARGET static void Maximum(const int32_t* sums, int32_t* into, int count) { MaximumBody(sums, into, count); }      \
    TARGET static void Subtract(const int32_t* a, const int32_t* b, int32_t* result) { SubtractBody(a, b, result); }   \
    TARGET static void AddScaledRow(const uint8_t* row, int32_t factor, const int32_t* from, int32_t* into) {          \
      AddScaledRowBody(row, factor, from, into);                                                                       \
    }                                                                                                                  \
    TARGET static void AddColumns(const int32_t* weights, int32_t level, int64_t outputs, int64_t count, int64_t step, \
                                  int32_t* into) {                                                                     \
      AddColumnsBody(weights, level, outputs, count, step, into);                                                      \
    }                                                                                                                  \
    TARGET static void Requantize(const int32_t* sums, int32_t correction, const RequantizeConstants& c,               \
                                  uint8_t* row) {                                                                      \
      RequantizeBody(sums, correction, c, row);                                                                        \
    }                                                                                                                  \
    TARGET static uint64_t RequantizeAndCompare(const int32_t* sums, int32_t correction, const RequantizeConstants& c, \
                                                const uint8_t* other, uint8_t* row) {                                  \
      return RequantizeAndCompareBody(sums, correction, c, other, row);                                                \
    }                                                                                                                  \
    TARGET static uint64_t ChangedRow(const int32_t* const* sums, const uint8_t* const* rows, size_t count,            \
                                      int32_t factor, int32_t correction, const RequantizeConstants& c,                \
                                      const uint8_t* other, uint8_t* row) {                                            \
      return ChangedRowBody(sums, rows, count, factor, correction, c, other, row);                                     \
    }                                                                                                                  \
    TARGET static void Reals(const int32_t* sums, int32_t correction, float scale, float offset, float* reals) {       \
      RealsBody(sums, correction, scale, offset, reals);                                                               \
    }                                                                                                                  \
    TARGET static void MaximumRows(const uint8_t* other, uint8_t* row) { MaximumRowsBody(other, row); }                \
    TARGET static void AddRows(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b,                       \
                               const OperandConstants& of_b, const QuantizeConstants& c, uint8_t* row) {               \
      AddRowsBody(a, of_a, b, of_b, c, row);                                                                           \
    }                                                                                                                  \
    TARGET static uint64_t Difference(const uint8_t* a, const uint8_t* b) { return DifferenceBody(a, b); }             \
    TARGET static void AddDistances(const uint8_t* a, const uint8_t* b, int32_t* sums) {                               \
      AddDistancesBody(a, b, sums);                                                                                    \
    }                                                                                                                  \
    TARGET static void CompressRow(const uint8_t* row, uint64_t lanes, uint8_t* to) {                                  \
      CompressRowBody(row, lanes, to);                                                                                 \
    }                                                                                                                  \
    TARGET static int64_t LookUpSum(const LookUp& look_up, const uint8_t* row, int32_t factor) {                       \
      return LookUpBody(look_up, row, factor);                                                                         \
    }                                                                                                                  \
    TARGET static void Score(const float* logits, int classes, const uint8_t* labels, uint16_t* predictions,           \
                             int64_t* margins) {                                                                       \
      ScoreBody(logits, classes, labels, predictions, margins);                                                        \
    }                                                                                                                  \
  };

STEADFAST_PORTABLE_KERNELS(Portable, )

#if STEADFAST_X86

#define STEADFAST_AVX2 __attribute__((target("avx2")))
STEADFAST_PORTABLE_KERNELS(Avx2Loops, STEADFAST_AVX2)

// ---- AVX2: small weights by sums of 16 bits, 16 images x 6 outputs at a time; the others by pairs of 16-bit products,
// 8 images x 4 outputs at a time ----

template <int kOutputs>
STEADFAST_AVX2 STEADFAST_INLINE void Avx2WideProductsOf(const uint8_t* base, const int32_t* offsets, int taps,
                                                        const uint32_t* weights, int stride, const int32_t* initial,
                                                        int64_t initial_stride, int32_t* sums) {
  for (int i = 0; i < kBlockImages; i += 8) {
    __m256i low[kOutputs], high[kOutputs];
    for (int o = 0; o < kOutputs; ++o) low[o] = high[o] = _mm256_setzero_si256();
    for (int t = 0; t < taps; ++t) {
      const uint8_t* quad = base + offsets[t] + 4 * i;
      const __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(quad)));
      const __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(quad + 16)));
      for (int o = 0; o < kOutputs; ++o) {
        const __m128i packed = _mm_cvtsi32_si128(static_cast<int>(weights[t * stride + o]));
        const __m256i w = _mm256_broadcastq_epi64(_mm_cvtepi8_epi16(packed));
        low[o] = _mm256_add_epi32(low[o], _mm256_madd_epi16(a, w));
        high[o] = _mm256_add_epi32(high[o], _mm256_madd_epi16(b, w));
      }
    }
    for (int o = 0; o < kOutputs; ++o) {
      const __m256i pairs = _mm256_hadd_epi32(low[o], high[o]);  // images 0 1 4 5 | 2 3 6 7
      __m256i total = _mm256_permute4x64_epi64(pairs, 0xD8);
      if (initial != nullptr) {
        const auto* from = reinterpret_cast<const __m256i*>(initial + o * initial_stride + i);
        total = _mm256_add_epi32(total, _mm256_loadu_si256(from));
      }
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + o * kBlockImages + i), total);
    }
  }
}

STEADFAST_AVX2 STEADFAST_INLINE void Avx2WideProducts(const uint8_t* base, const int32_t* offsets, int taps,
                                                      const uint32_t* weights, int outputs, const int32_t* initial,
                                                      int64_t initial_stride, int32_t* sums) {
  const auto from = [&](int o) { return initial == nullptr ? nullptr : initial + o * initial_stride; };
  int o = 0;
  for (; o + 4 <= outputs; o += 4)
    Avx2WideProductsOf<4>(base, offsets, taps, weights + o, outputs, from(o), initial_stride, sums + o * kBlockImages);
  for (; o + 2 <= outputs; o += 2)
    Avx2WideProductsOf<2>(base, offsets, taps, weights + o, outputs, from(o), initial_stride, sums + o * kBlockImages);
  for (; o < outputs; ++o)
    Avx2WideProductsOf<1>(base, offsets, taps, weights + o, outputs, from(o), initial_stride, sums + o * kBlockImages);
}

// How many taps of these weights a sum of 16 bits holds, whatever the codes; 0: not even one.
STEADFAST_AVX2 int TapsInShort(const uint32_t* weights, int count) {
  __m256i largest = _mm256_setzero_si256();
  int i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + i));
    largest = _mm256_max_epu8(largest, _mm256_abs_epi8(w));
  }
  alignas(32) uint8_t magnitudes[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(magnitudes), largest);
  int most = *std::max_element(std::begin(magnitudes), std::end(magnitudes));
  for (; i < count; ++i) {
    int8_t w[4];
    std::memcpy(w, &weights[i], 4);
    for (const int8_t value : w) most = std::max(most, std::abs(int{value}));
  }
  constexpr int kLargestCode = 255;
  return most == 0 ? std::numeric_limits<int16_t>::max()
                   : std::numeric_limits<int16_t>::max() / (2 * kLargestCode * most);
}

template <int kOutputs>
STEADFAST_AVX2 STEADFAST_INLINE void Avx2ShortProductsOf(const uint8_t* base, const int32_t* offsets, int taps,
                                                         int taps_at_once, const uint32_t* weights, int stride,
                                                         const int32_t* initial, int64_t initial_stride,
                                                         int32_t* sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int i = 0; i < kBlockImages; i += 16) {
    for (int first = 0; first < taps; first += taps_at_once) {
      __m256i low[kOutputs], high[kOutputs];
      for (int o = 0; o < kOutputs; ++o) low[o] = high[o] = _mm256_setzero_si256();
      for (int t = first; t < std::min(taps, first + taps_at_once); ++t) {
        const auto* quad = reinterpret_cast<const __m256i*>(base + offsets[t] + 4 * i);
        const __m256i a = _mm256_loadu_si256(quad), b = _mm256_loadu_si256(quad + 1);
        for (int o = 0; o < kOutputs; ++o) {
          const __m256i w = _mm256_set1_epi32(static_cast<int>(weights[t * stride + o]));
          low[o] = _mm256_add_epi16(low[o], _mm256_maddubs_epi16(a, w));
          high[o] = _mm256_add_epi16(high[o], _mm256_maddubs_epi16(b, w));
        }
      }
      const int32_t* from = first > 0 ? sums : initial;
      const int64_t from_stride = first > 0 ? kBlockImages : initial_stride;
      for (int o = 0; o < kOutputs; ++o) {
        __m256i a = _mm256_madd_epi16(low[o], ones), b = _mm256_madd_epi16(high[o], ones);
        if (from != nullptr) {
          const auto* so_far = reinterpret_cast<const __m256i*>(from + o * from_stride + i);
          a = _mm256_add_epi32(a, _mm256_loadu_si256(so_far));
          b = _mm256_add_epi32(b, _mm256_loadu_si256(so_far + 1));
        }
        auto* to = reinterpret_cast<__m256i*>(sums + o * kBlockImages + i);
        _mm256_storeu_si256(to, a);
        _mm256_storeu_si256(to + 1, b);
      }
    }
  }
}

STEADFAST_AVX2 void Avx2MakeQuad(const uint8_t* const rows[4], uint8_t* quad) {
  for (int i = 0; i < kBlockImages; i += 16) {
    const auto load = [&](int j) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[j] + i)); };
    const __m128i a = load(0), b = load(1), c = load(2), d = load(3);
    const __m128i ab_low = _mm_unpacklo_epi8(a, b), ab_high = _mm_unpackhi_epi8(a, b);
    const __m128i cd_low = _mm_unpacklo_epi8(c, d), cd_high = _mm_unpackhi_epi8(c, d);
    auto* to = reinterpret_cast<__m128i*>(quad + 4 * i);
    _mm_storeu_si128(to, _mm_unpacklo_epi16(ab_low, cd_low));
    _mm_storeu_si128(to + 1, _mm_unpackhi_epi16(ab_low, cd_low));
    _mm_storeu_si128(to + 2, _mm_unpacklo_epi16(ab_high, cd_high));
    _mm_storeu_si128(to + 3, _mm_unpackhi_epi16(ab_high, cd_high));
  }
}

STEADFAST_AVX2 void Avx2Products(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                 int outputs, const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  const int at_once = TapsInShort(weights, taps * outputs);
  if (at_once == 0 || taps == 0)
    return Avx2WideProducts(base, offsets, taps, weights, outputs, initial, initial_stride, sums);
  const auto from = [&](int o) { return initial == nullptr ? nullptr : initial + o * initial_stride; };
  int o = 0;
  for (; o + 6 <= outputs; o += 6)
    Avx2ShortProductsOf<6>(base, offsets, taps, at_once, weights + o, outputs, from(o), initial_stride,
                           sums + o * kBlockImages);
  for (; o + 4 <= outputs; o += 4)
    Avx2ShortProductsOf<4>(base, offsets, taps, at_once, weights + o, outputs, from(o), initial_stride,
                           sums + o * kBlockImages);
  for (; o + 2 <= outputs; o += 2)
    Avx2ShortProductsOf<2>(base, offsets, taps, at_once, weights + o, outputs, from(o), initial_stride,
                           sums + o * kBlockImages);
  for (; o < outputs; ++o)
    Avx2ShortProductsOf<1>(base, offsets, taps, at_once, weights + o, outputs, from(o), initial_stride,
                           sums + o * kBlockImages);
}

// ---- AVX-512 VNNI: a quad is 4 registers of 16 images; unpacking and packing keep an order of images of their own
// ----

#define STEADFAST_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

STEADFAST_PORTABLE_KERNELS(Avx512Loops, STEADFAST_VNNI)

STEADFAST_VNNI void VnniMakeQuad(const uint8_t* const rows[4], uint8_t* quad) {
  const __m512i a = _mm512_loadu_si512(rows[0]), b = _mm512_loadu_si512(rows[1]);
  const __m512i c = _mm512_loadu_si512(rows[2]), d = _mm512_loadu_si512(rows[3]);
  const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
  _mm512_storeu_si512(quad, _mm512_unpacklo_epi16(ab_low, cd_low));
  _mm512_storeu_si512(quad + 64, _mm512_unpackhi_epi16(ab_low, cd_low));
  _mm512_storeu_si512(quad + 128, _mm512_unpacklo_epi16(ab_high, cd_high));
  _mm512_storeu_si512(quad + 192, _mm512_unpackhi_epi16(ab_high, cd_high));
}

// Register q, lane 4 L + j of a quad is image 16 L + 4 q + j.
std::array<uint8_t, kBlockImages> VnniOrder() {
  std::array<uint8_t, kBlockImages> order = {};
  for (int q = 0; q < 4; ++q) {
    for (int lane = 0; lane < 16; ++lane) {
      order[static_cast<size_t>(lane / 4 * 16 + 4 * q + lane % 4)] = static_cast<uint8_t>(16 * q + lane);
    }
  }
  return order;
}

template <int kOutputs>
STEADFAST_VNNI STEADFAST_INLINE void VnniProductsOf(const uint8_t* base, const int32_t* offsets, int taps,
                                                    const uint32_t* weights, int stride, const int32_t* initial,
                                                    int64_t initial_stride, int32_t* sums) {
  __m512i lanes[kOutputs][4];
  for (int o = 0; o < kOutputs; ++o) {
    for (int q = 0; q < 4; ++q) {
      lanes[o][q] =
          initial == nullptr ? _mm512_setzero_si512() : _mm512_loadu_si512(initial + o * initial_stride + 16 * q);
    }
  }
  for (int t = 0; t < taps; ++t) {
    const uint8_t* quad = base + offsets[t];
    __m512i codes[4];
    for (int q = 0; q < 4; ++q) codes[q] = _mm512_loadu_si512(quad + 64 * q);
    for (int o = 0; o < kOutputs; ++o) {
      const __m512i w = _mm512_set1_epi32(static_cast<int>(weights[t * stride + o]));
      for (int q = 0; q < 4; ++q) lanes[o][q] = _mm512_dpbusd_epi32(lanes[o][q], codes[q], w);
    }
  }
  for (int o = 0; o < kOutputs; ++o) {
    for (int q = 0; q < 4; ++q) _mm512_storeu_si512(sums + o * kBlockImages + 16 * q, lanes[o][q]);
  }
}

STEADFAST_VNNI void VnniProducts(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                 int outputs, const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  constexpr int kAtOnce = 6;  // 6 x 4 registers of sums
  for (int o = 0; o < outputs; o += kAtOnce) {
    const uint32_t* w = weights + o;
    const int32_t* from = initial == nullptr ? nullptr : initial + o * initial_stride;
    int32_t* to = sums + o * kBlockImages;
    switch (std::min(kAtOnce, outputs - o)) {
      case 1:
        VnniProductsOf<1>(base, offsets, taps, w, outputs, from, initial_stride, to);
        break;
      case 2:
        VnniProductsOf<2>(base, offsets, taps, w, outputs, from, initial_stride, to);
        break;
      case 3:
        VnniProductsOf<3>(base, offsets, taps, w, outputs, from, initial_stride, to);
        break;
      case 4:
        VnniProductsOf<4>(base, offsets, taps, w, outputs, from, initial_stride, to);
        break;
      case 5:
        VnniProductsOf<5>(base, offsets, taps, w, outputs, from, initial_stride, to);
        break;
      default:
        VnniProductsOf<6>(base, offsets, taps, w, outputs, from, initial_stride, to);
    }
  }
}

// ---- AMX: tiles of 16 outputs x 16 taps of weights times tiles of 16 taps x 16 images ----

constexpr int kTileRows = 16, kTileBytes = 64;

// Tiles pay for enough outputs and taps; the others go the way of VNNI.
bool UsesTiles(int taps, int outputs) {
  return outputs >= 8 && taps >= 8;
}

// Blocks of 16 taps, each as one or two tiles of [output][tap], filled up with zeros.
void PackForTiles(std::span<const uint32_t> weights, int taps, int outputs, std::vector<uint32_t>& packed) {
  if (!UsesTiles(taps, outputs)) return PackByTap(weights, taps, outputs, packed);
  const int padded_outputs = (outputs + kTileRows - 1) / kTileRows * kTileRows;
  for (int first = 0; first < taps; first += kTileRows) {
    for (int o = 0; o < padded_outputs; ++o) {
      for (int t = first; t < first + kTileRows; ++t)
        packed.push_back(o < outputs && t < taps ? weights[static_cast<size_t>(t * outputs + o)] : 0);
    }
  }
}

#define STEADFAST_AMX __attribute__((target("avx512f,avx512bw,avx512vl,amx-tile,amx-int8")))

struct alignas(64) TileConfiguration {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {kTileBytes, kTileBytes, kTileBytes, kTileBytes, kTileBytes, kTileBytes, kTileBytes, kTileBytes};
  uint8_t rows[16] = {kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows, kTileRows};
};

STEADFAST_AMX void ConfigureTiles() {
  // In static memory: g++ 12 takes the instruction to read 8 bytes only, and drops other stores to a local one.
  static const TileConfiguration configuration;
  _tile_loadconfig(&configuration);
}

// g++ 12 does not know that tile loads and stores read and write memory.
STEADFAST_INLINE void MemoryBarrier() {
  asm volatile("" ::: "memory");
}

// The `bytes` of up to 16 quads' rows that a tile load at `stride` finds: where they are, or gathered.
STEADFAST_AMX STEADFAST_INLINE const uint8_t* TileRows(const uint8_t* base, const int32_t* offsets, int count,
                                                       int bytes, uint8_t* gathered, int64_t& stride) {
  stride = count > 1 ? offsets[1] - offsets[0] : kQuadBytes;
  bool even = count == kTileRows || stride == kQuadBytes;
  for (int t = 2; t < count && even; ++t) even = offsets[t] - offsets[t - 1] == stride;
  if (even) return base + offsets[0];
  for (int t = 0; t < count; ++t) {
    for (int q = 0; q < bytes; q += 64)
      _mm512_store_si512(gathered + t * kQuadBytes + q, _mm512_loadu_si512(base + offsets[t] + q));
  }
  MemoryBarrier();
  stride = kQuadBytes;
  return gathered;  // what lies behind the last tap meets weights of 0
}

// Up to 16 outputs: 4 tiles of sums.
STEADFAST_AMX void AmxProductsOfOneTile(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                        const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  alignas(64) uint8_t gathered[kTileRows * kQuadBytes];
  MemoryBarrier();
  if (initial == nullptr) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    const auto bytes = static_cast<size_t>(initial_stride) * sizeof(int32_t);
    _tile_loadd(0, initial, bytes);
    _tile_loadd(1, initial + 16, bytes);
    _tile_loadd(2, initial + 32, bytes);
    _tile_loadd(3, initial + 48, bytes);
  }
  for (int first = 0; first < taps; first += kTileRows, weights += kTileRows * kTileRows) {
    int64_t stride = 0;
    const uint8_t* rows =
        TileRows(base, offsets + first, std::min(kTileRows, taps - first), kQuadBytes, gathered, stride);
    _tile_loadd(4, weights, kTileBytes);
    _tile_loadd(5, rows, static_cast<size_t>(stride));
    _tile_loadd(6, rows + 64, static_cast<size_t>(stride));
    _tile_dpbsud(0, 4, 5);
    _tile_loadd(7, rows + 128, static_cast<size_t>(stride));
    _tile_dpbsud(1, 4, 6);
    _tile_loadd(5, rows + 192, static_cast<size_t>(stride));
    _tile_dpbsud(2, 4, 7);
    _tile_dpbsud(3, 4, 5);
  }
  _tile_stored(0, sums, kQuadBytes);
  _tile_stored(1, sums + 16, kQuadBytes);
  _tile_stored(2, sums + 32, kQuadBytes);
  _tile_stored(3, sums + 48, kQuadBytes);
  MemoryBarrier();
}

// Up to 32 outputs: 2 x 2 tiles of sums, for one half of the images after the other, so that every tile that is loaded
// is used twice.
STEADFAST_AMX void AmxProductsOfTwoTiles(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                         const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  alignas(64) uint8_t gathered[kTileRows * kQuadBytes];
  constexpr int kTileSums = kTileRows * kBlockImages;
  MemoryBarrier();
  for (int half = 0; half < 2; ++half, base += 128, sums += 32) {
    if (initial == nullptr) {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    } else {
      const auto bytes = static_cast<size_t>(initial_stride) * sizeof(int32_t);
      const int32_t* from = initial + 32 * half;
      _tile_loadd(0, from, bytes);
      _tile_loadd(1, from + 16, bytes);
      _tile_loadd(2, from + kTileRows * initial_stride, bytes);
      _tile_loadd(3, from + kTileRows * initial_stride + 16, bytes);
    }
    const uint32_t* w = weights;
    for (int first = 0; first < taps; first += kTileRows, w += 2 * kTileRows * kTileRows) {
      int64_t stride = 0;
      const uint8_t* rows =
          TileRows(base, offsets + first, std::min(kTileRows, taps - first), kQuadBytes / 2, gathered, stride);
      _tile_loadd(4, w, kTileBytes);
      _tile_loadd(6, rows, static_cast<size_t>(stride));
      _tile_loadd(7, rows + 64, static_cast<size_t>(stride));
      _tile_dpbsud(0, 4, 6);
      _tile_loadd(5, w + kTileRows * kTileRows, kTileBytes);
      _tile_dpbsud(1, 4, 7);
      _tile_dpbsud(2, 5, 6);
      _tile_dpbsud(3, 5, 7);
    }
    _tile_stored(0, sums, kQuadBytes);
    _tile_stored(1, sums + 16, kQuadBytes);
    _tile_stored(2, sums + kTileSums, kQuadBytes);
    _tile_stored(3, sums + kTileSums + 16, kQuadBytes);
  }
  MemoryBarrier();
}

STEADFAST_AMX void AmxProducts(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                               int outputs, const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  if (!UsesTiles(taps, outputs))
    return VnniProducts(base, offsets, taps, weights, outputs, initial, initial_stride, sums);
  const auto products = outputs > kTileRows ? AmxProductsOfTwoTiles : AmxProductsOfOneTile;
  if (outputs % kTileRows == 0) return products(base, offsets, taps, weights, initial, initial_stride, sums);
  // Rows of sums that are not there must be neither read nor written.
  alignas(64) int32_t own_sums[kMostOutputsPerCall * kBlockImages];
  constexpr size_t kBytes = kBlockImages * sizeof(int32_t);
  for (int o = 0; initial != nullptr && o < outputs; ++o)
    std::memcpy(own_sums + o * kBlockImages, initial + o * initial_stride, kBytes);
  MemoryBarrier();
  products(base, offsets, taps, weights, initial == nullptr ? nullptr : own_sums, kBlockImages, own_sums);
  std::memcpy(sums, own_sums, static_cast<size_t>(outputs) * kBytes);
}

STEADFAST_VNNI void VnniMaximum(const int32_t* sums, int32_t* into, int count) {
  for (int i = 0; i < count; i += 16) {
    _mm512_storeu_si512(into + i, _mm512_max_epi32(_mm512_loadu_si512(into + i), _mm512_loadu_si512(sums + i)));
  }
}

STEADFAST_VNNI void VnniSubtract(const int32_t* a, const int32_t* b, int32_t* result) {
  for (int i = 0; i < kBlockImages; i += 16)
    _mm512_storeu_si512(result + i, _mm512_sub_epi32(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i)));
}

// The codes of a row as 4 registers of 16 int32, in the order of a quad's.
STEADFAST_VNNI STEADFAST_INLINE void VnniUnpack(const uint8_t* row, __m512i codes[4]) {
  const __m512i zero = _mm512_setzero_si512(), bytes = _mm512_loadu_si512(row);
  const __m512i low = _mm512_unpacklo_epi8(bytes, zero), high = _mm512_unpackhi_epi8(bytes, zero);
  codes[0] = _mm512_unpacklo_epi16(low, zero);
  codes[1] = _mm512_unpackhi_epi16(low, zero);
  codes[2] = _mm512_unpacklo_epi16(high, zero);
  codes[3] = _mm512_unpackhi_epi16(high, zero);
}

// Codes are below 2^8 and factors fit 16 bits: a pair of 16-bit products (the second is 0) is the 32-bit product.
STEADFAST_VNNI void VnniAddScaledRow(const uint8_t* row, int32_t factor, const int32_t* from, int32_t* into) {
  __m512i codes[4];
  VnniUnpack(row, codes);
  const __m512i factors = _mm512_set1_epi32(factor & 0xFFFF);
  for (int q = 0; q < 4; ++q) {
    const __m512i product = _mm512_madd_epi16(codes[q], factors);
    _mm512_storeu_si512(into + 16 * q, _mm512_add_epi32(_mm512_loadu_si512(from + 16 * q), product));
  }
}

STEADFAST_VNNI void VnniAddColumns(const int32_t* weights, int32_t level, int64_t outputs, int64_t count, int64_t step,
                                   int32_t* into) {
  const __m512i levels = _mm512_set1_epi32(level & 0xFFFF);
  for (int64_t i = 0; i < count; ++i, weights += outputs, into += step) {
    for (int64_t o = 0; o < outputs; o += 16) {
      const __m512i product = _mm512_madd_epi16(_mm512_loadu_si512(weights + o), levels);
      _mm512_storeu_si512(into + o, _mm512_add_epi32(_mm512_loadu_si512(into + o), product));
    }
  }
}

struct VnniRequantizer {
  __m512 scale, offset, lowest, highest;
  __m512i zero_point, threshold, low_code, correction;

  STEADFAST_VNNI STEADFAST_INLINE VnniRequantizer(int32_t add, const RequantizeConstants& c)
      : scale(_mm512_set1_ps(c.scale)),
        offset(_mm512_set1_ps(c.offset)),
        lowest(_mm512_set1_ps(c.lowest)),
        highest(_mm512_set1_ps(c.highest)),
        zero_point(_mm512_set1_epi32(c.zero_point)),
        threshold(_mm512_set1_epi32(c.zero_below)),
        low_code(_mm512_set1_epi32(c.lowest_code())),
        correction(_mm512_set1_epi32(add)) {}

  STEADFAST_VNNI STEADFAST_INLINE __m512i operator()(__m512i sums) const {
    const __m512i sum = _mm512_add_epi32(sums, correction);
    const __m512 value = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), offset);
    const __m512 clipped = _mm512_min_ps(_mm512_max_ps(value, lowest), highest);
    const __m512i code = _mm512_add_epi32(_mm512_cvtps_epi32(clipped), zero_point);  // to nearest, ties to even
    return _mm512_mask_mov_epi32(code, _mm512_cmplt_epi32_mask(code, threshold), low_code);
  }
};

// A row of codes from 4 registers of 16, in the order of a quad's: undoes the order of VnniMakeQuad.
STEADFAST_VNNI STEADFAST_INLINE __m512i VnniPack(const __m512i codes[4]) {
  return _mm512_packus_epi16(_mm512_packus_epi32(codes[0], codes[1]), _mm512_packus_epi32(codes[2], codes[3]));
}

STEADFAST_VNNI STEADFAST_INLINE __m512i VnniRequantized(const int32_t* sums, int32_t correction,
                                                        const RequantizeConstants& c) {
  const VnniRequantizer requantizer(correction, c);
  __m512i codes[4];
  for (int q = 0; q < 4; ++q) codes[q] = requantizer(_mm512_loadu_si512(sums + 16 * q));
  return VnniPack(codes);
}

STEADFAST_VNNI void VnniRequantize(const int32_t* sums, int32_t correction, const RequantizeConstants& c,
                                   uint8_t* row) {
  _mm512_storeu_si512(row, VnniRequantized(sums, correction, c));
}

STEADFAST_VNNI uint64_t VnniRequantizeAndCompare(const int32_t* sums, int32_t correction, const RequantizeConstants& c,
                                                 const uint8_t* other, uint8_t* row) {
  const __m512i codes = VnniRequantized(sums, correction, c);
  _mm512_storeu_si512(row, codes);
  return _mm512_cmpneq_epi8_mask(codes, _mm512_loadu_si512(other));
}

STEADFAST_VNNI uint64_t VnniChangedRow(const int32_t* const* sums, const uint8_t* const* rows, size_t count,
                                       int32_t factor, int32_t correction, const RequantizeConstants& c,
                                       const uint8_t* other, uint8_t* row) {
  const __m512i factors = _mm512_set1_epi32(factor & 0xFFFF);
  __m512i best[4];
  for (size_t i = 0; i < count; ++i) {
    __m512i codes[4];
    VnniUnpack(rows[i], codes);
    for (int q = 0; q < 4; ++q) {
      const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums[i] + 16 * q), _mm512_madd_epi16(codes[q], factors));
      best[q] = i == 0 ? sum : _mm512_max_epi32(best[q], sum);
    }
  }
  const VnniRequantizer requantizer(correction, c);
  for (int q = 0; q < 4; ++q) best[q] = requantizer(best[q]);
  const __m512i packed = VnniPack(best);
  _mm512_storeu_si512(row, packed);
  return _mm512_cmpneq_epi8_mask(packed, _mm512_loadu_si512(other));
}

STEADFAST_VNNI void VnniReals(const int32_t* sums, int32_t correction, float scale, float offset, float* reals) {
  const __m512 scales = _mm512_set1_ps(scale), offsets = _mm512_set1_ps(offset);
  const __m512i add = _mm512_set1_epi32(correction);
  __m512 values[4];
  for (int q = 0; q < 4; ++q) {
    const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums + 16 * q), add);
    values[q] = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scales), offsets);
  }
  // Quarter L of register q holds images 16 L + 4 q to + 3: a 4 x 4 transposition of quarters.
  const __m512 low01 = _mm512_shuffle_f32x4(values[0], values[1], 0x44);
  const __m512 low23 = _mm512_shuffle_f32x4(values[2], values[3], 0x44);
  const __m512 high01 = _mm512_shuffle_f32x4(values[0], values[1], 0xEE);
  const __m512 high23 = _mm512_shuffle_f32x4(values[2], values[3], 0xEE);
  _mm512_storeu_ps(reals, _mm512_shuffle_f32x4(low01, low23, 0x88));
  _mm512_storeu_ps(reals + 16, _mm512_shuffle_f32x4(low01, low23, 0xDD));
  _mm512_storeu_ps(reals + 32, _mm512_shuffle_f32x4(high01, high23, 0x88));
  _mm512_storeu_ps(reals + 48, _mm512_shuffle_f32x4(high01, high23, 0xDD));
}

STEADFAST_VNNI STEADFAST_INLINE __m512 VnniReal(const uint8_t* codes, const OperandConstants& of) {
  const __m512i wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
  return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(wide, _mm512_set1_epi32(of.zero_point))),
                       _mm512_set1_ps(of.scale));
}

STEADFAST_VNNI void VnniAddRows(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b,
                                const OperandConstants& of_b, const QuantizeConstants& c, uint8_t* row) {
  const __m512 scale = _mm512_set1_ps(c.scale), bound = _mm512_set1_ps(1024.0f);
  const __m512i zero_point = _mm512_set1_epi32(c.zero_point), lowest = _mm512_set1_epi32(c.lowest);
  const __m512i highest = _mm512_set1_epi32(c.highest), threshold = _mm512_set1_epi32(c.zero_below);
  for (int i = 0; i < kRowBytes; i += 16) {
    const __m512 quotient = _mm512_div_ps(_mm512_add_ps(VnniReal(a + i, of_a), VnniReal(b + i, of_b)), scale);
    const __m512 clipped = _mm512_min_ps(_mm512_max_ps(quotient, _mm512_sub_ps(_mm512_setzero_ps(), bound)), bound);
    const __m512i code = _mm512_add_epi32(_mm512_cvtps_epi32(clipped), zero_point);  // to nearest, ties to even
    const __m512i bounded = _mm512_min_epi32(_mm512_max_epi32(code, lowest), highest);
    const __m512i kept = _mm512_mask_mov_epi32(bounded, _mm512_cmplt_epi32_mask(bounded, threshold), lowest);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(row + i), _mm512_cvtepi32_epi8(kept));
  }
}

STEADFAST_VNNI uint64_t VnniDifference(const uint8_t* a, const uint8_t* b) {
  return _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi2"))) void VnniCompressRow(const uint8_t* row,
                                                                                      uint64_t lanes, uint8_t* to) {
  const __m512i packed = _mm512_maskz_compress_epi8(lanes, _mm512_loadu_si512(row));
  const int count = __builtin_popcountll(lanes);
  _mm512_mask_storeu_epi8(to, count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1, packed);
}

STEADFAST_VNNI int64_t VnniLookUp(const LookUp& look_up, const uint8_t* row, int32_t factor) {
  const VnniRequantizer requantizer(look_up.correction, look_up.constants);
  const __m512i factors = _mm512_set1_epi32(factor & 0xFFFF);
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i codes[4];
  VnniUnpack(row, codes);
  __m512i total = _mm512_setzero_si512();
  for (int q = 0; q < 4; ++q) {
    const __m512i sums =
        _mm512_add_epi32(_mm512_loadu_si512(look_up.sums + 16 * q), _mm512_madd_epi16(codes[q], factors));
    const __m512i index = _mm512_add_epi32(_mm512_slli_epi32(requantizer(sums), 6), lane);
    const int64_t* table = look_up.table + 16 * q;
    total = _mm512_add_epi64(total, _mm512_i32gather_epi64(_mm512_castsi512_si256(index), table, 8));
    total = _mm512_add_epi64(total, _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(index, 1), table, 8));
  }
  return _mm512_reduce_add_epi64(total);
}

STEADFAST_VNNI void VnniScore(const float* logits, int classes, const uint8_t* labels, uint16_t* predictions,
                              int64_t* margins) {
  const __m512d smallest = _mm512_set1_pd(-kLargestScore), largest = _mm512_set1_pd(kLargestScore);
  const __m512d units = _mm512_set1_pd(1 / kScoreUnit);  // a power of two: the product is the quotient
  for (int i = 0; i < kBlockImages; i += 16) {
    const __m512i label = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(labels + i)));
    __m512 best = _mm512_set1_ps(-std::numeric_limits<float>::infinity()), of_label = _mm512_setzero_ps();
    __m512 other = best;
    __m512i index = _mm512_setzero_si512();
    for (int c = 0; c < classes; ++c) {
      const __m512 row = _mm512_loadu_ps(logits + c * kBlockImages + i);
      const __m512i number = _mm512_set1_epi32(c);
      const __mmask16 better = _mm512_cmp_ps_mask(row, best, _CMP_GT_OQ);
      best = _mm512_mask_mov_ps(best, better, row);
      index = _mm512_mask_mov_epi32(index, better, number);
      const __mmask16 is_label = _mm512_cmpeq_epi32_mask(label, number);
      of_label = _mm512_mask_mov_ps(of_label, is_label, row);
      // Of a number and a NaN, the maximum is the second operand.
      other = _mm512_mask_max_ps(other, static_cast<__mmask16>(~is_label), row, other);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(predictions + i), _mm512_cvtepi32_epi16(index));
    const __m256 label_half[2] = {_mm512_castps512_ps256(of_label), _mm512_extractf32x8_ps(of_label, 1)};
    const __m256 other_half[2] = {_mm512_castps512_ps256(other), _mm512_extractf32x8_ps(other, 1)};
    for (int h = 0; h < 2; ++h) {
      const __m512d margin = _mm512_sub_pd(_mm512_cvtps_pd(label_half[h]), _mm512_cvtps_pd(other_half[h]));
      const __m512d clipped = _mm512_min_pd(_mm512_max_pd(margin, smallest), largest);
      _mm512_storeu_si512(margins + i + 8 * h, _mm512_cvtpd_epi64(_mm512_mul_pd(clipped, units)));
    }
  }
}

// PortableExp, operation by operation, of arguments that are no larger than 0.
STEADFAST_VNNI STEADFAST_INLINE __m512d VnniExp(__m512d x) {
  const __m512d rounder = _mm512_set1_pd(kExpRounder);
  const __m512d k = _mm512_sub_pd(_mm512_add_pd(_mm512_mul_pd(x, _mm512_set1_pd(kLog2E)), rounder), rounder);
  const __m512d r = _mm512_sub_pd(_mm512_sub_pd(x, _mm512_mul_pd(k, _mm512_set1_pd(kLn2High))),
                                  _mm512_mul_pd(k, _mm512_set1_pd(kLn2Low)));
  __m512d sum = _mm512_set1_pd(kExpCoefficients[kExpDegree]);
  for (int n = kExpDegree - 1; n >= 0; --n)
    sum = _mm512_add_pd(_mm512_mul_pd(sum, r), _mm512_set1_pd(kExpCoefficients[n]));
  const __m512d result = _mm512_scalef_pd(sum, k);
  return _mm512_mask_mov_pd(result, _mm512_cmp_pd_mask(x, _mm512_set1_pd(kExpUnderflow), _CMP_LT_OQ),
                            _mm512_setzero_pd());
}

STEADFAST_VNNI STEADFAST_INLINE __m512d VnniDoubles(const float* values) {
  return _mm512_cvtps_pd(_mm256_loadu_ps(values));
}

STEADFAST_VNNI void VnniExponentials(const float* logits, int classes, double* exponentials, double* largest) {
  for (int i = 0; i < kBlockImages; i += 8) {
    __m512d most = VnniDoubles(logits + i), sum = _mm512_setzero_pd();
    for (int c = 1; c < classes; ++c) most = _mm512_max_pd(most, VnniDoubles(logits + c * kBlockImages + i));
    for (int c = 0; c < classes; ++c)
      sum = _mm512_add_pd(sum, VnniExp(_mm512_sub_pd(VnniDoubles(logits + c * kBlockImages + i), most)));
    _mm512_storeu_pd(exponentials + i, sum);
    _mm512_storeu_pd(largest + i, most);
  }
}

STEADFAST_VNNI void VnniMaximumRows(const uint8_t* other, uint8_t* row) {
  _mm512_storeu_si512(row, _mm512_max_epu8(_mm512_loadu_si512(row), _mm512_loadu_si512(other)));
}

#endif  // STEADFAST_X86

void NoPreparation() {}

#define STEADFAST_LOOPS(NAME, MAKE_QUAD, PRODUCTS)                                                                  \
  {                                                                                                                 \
    NoPreparation, MAKE_QUAD, PRODUCTS, PackByTap, 6, NAME::Maximum, NAME::Subtract, NAME::AddScaledRow,            \
        NAME::AddColumns, NAME::Requantize, NAME::RequantizeAndCompare, NAME::ChangedRow, NAME::Reals,              \
        NAME::MaximumRows, NAME::AddRows, NAME::Difference, NAME::AddDistances, NAME::CompressRow, NAME::LookUpSum, \
        NAME::Score, ExponentialsBody, NaturalOrder()                                                               \
  }

}  // namespace

const Kernels& KernelsOf(InstructionSet set) {
  static const Kernels portable = STEADFAST_LOOPS(Portable, Portable::MakeQuad, Portable::Products);
#if STEADFAST_X86
  static const Kernels avx2 = STEADFAST_LOOPS(Avx2Loops, Avx2MakeQuad, Avx2Products);
  static const bool has_compress = __builtin_cpu_supports("avx512vbmi2");
  static const Kernels vnni = {NoPreparation,
                               VnniMakeQuad,
                               VnniProducts,
                               PackByTap,
                               6,
                               VnniMaximum,
                               VnniSubtract,
                               VnniAddScaledRow,
                               VnniAddColumns,
                               VnniRequantize,
                               VnniRequantizeAndCompare,
                               VnniChangedRow,
                               VnniReals,
                               VnniMaximumRows,
                               VnniAddRows,
                               VnniDifference,
                               Avx512Loops::AddDistances,
                               has_compress ? VnniCompressRow : Avx512Loops::CompressRow,
                               VnniLookUp,
                               VnniScore,
                               VnniExponentials,
                               VnniOrder()};
  static const Kernels amx = [] {
    Kernels kernels = vnni;
    kernels.prepare = ConfigureTiles;
    kernels.products = AmxProducts;
    kernels.pack = PackForTiles;
    kernels.outputs_per_call = 2 * kTileRows;
    return kernels;
  }();
  if (set == InstructionSet::kAmx) return amx;
  if (set == InstructionSet::kAvx512Vnni) return vnni;
  if (set == InstructionSet::kAvx2) return avx2;
#endif
  (void)set;
  return portable;
}

}  // namespace steadfast::engine
