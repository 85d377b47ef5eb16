#if defined(__x86_64__)

#include <immintrin.h>

#include "steadfast/engine/kernels/loops.h"
#include "steadfast/engine/kernels/sets.h"

namespace steadfast::engine {
namespace {

#define STEADFAST_AVX2 __attribute__((target("avx2")))
STEADFAST_PORTABLE_KERNELS(Avx2Loops, STEADFAST_AVX2)

// ---- AVX2: small weights by sums of 16 bits, 16 images x 6 outputs at a time; the others by pairs of 16-bit products,
// 8 images x 3 or 4 outputs at a time (with more, g++ keeps sums in memory) ----

template <int kOutputs>
STEADFAST_AVX2 STEADFAST_INLINE void Avx2WideProductsOf(const uint8_t* base, const int32_t* offsets, int taps,
                                                        const uint32_t* weights, int stride, const int32_t* initial,
                                                        int64_t initial_stride, int32_t* sums) {
  constexpr int kTapsAtOnce = 128;
  alignas(32) int64_t wide[kTapsAtOnce * kOutputs];  // weights in 16 bits, widened once for all images
  for (int first = 0; first < taps || first == 0; first += kTapsAtOnce) {
    const int count = std::min(taps - first, kTapsAtOnce);
    for (int t = 0; t < count; ++t) {
      for (int o = 0; o < kOutputs; ++o) {
        const __m128i packed = _mm_cvtsi32_si128(static_cast<int>(weights[(first + t) * stride + o]));
        wide[t * kOutputs + o] = _mm_cvtsi128_si64(_mm_cvtepi8_epi16(packed));
      }
    }
    const int32_t* from = first > 0 ? sums : initial;
    const int64_t from_stride = first > 0 ? kBlockImages : initial_stride;
    for (int i = 0; i < kBlockImages; i += 8) {
      __m256i low[kOutputs], high[kOutputs];
      for (int o = 0; o < kOutputs; ++o) low[o] = high[o] = _mm256_setzero_si256();
      for (int t = 0; t < count; ++t) {
        const uint8_t* quad = base + offsets[first + t] + 4 * i;
        const __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(quad)));
        const __m256i b = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(quad + 16)));
        for (int o = 0; o < kOutputs; ++o) {
          const __m256i w = _mm256_set1_epi64x(wide[t * kOutputs + o]);
          low[o] = _mm256_add_epi32(low[o], _mm256_madd_epi16(a, w));
          high[o] = _mm256_add_epi32(high[o], _mm256_madd_epi16(b, w));
        }
      }
      for (int o = 0; o < kOutputs; ++o) {
        const __m256i pairs = _mm256_hadd_epi32(low[o], high[o]);  // images 0 1 4 5 | 2 3 6 7
        __m256i total = _mm256_permute4x64_epi64(pairs, 0xD8);
        if (from != nullptr) {
          const auto* so_far = reinterpret_cast<const __m256i*>(from + o * from_stride + i);
          total = _mm256_add_epi32(total, _mm256_loadu_si256(so_far));
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + o * kBlockImages + i), total);
      }
    }
  }
}

STEADFAST_AVX2 STEADFAST_INLINE void Avx2WideProducts(const uint8_t* base, const int32_t* offsets, int taps,
                                                      const uint32_t* weights, int outputs, const int32_t* initial,
                                                      int64_t initial_stride, int32_t* sums) {
  const auto from = [&](int o) { return initial == nullptr ? nullptr : initial + o * initial_stride; };
  int o = 0;
  for (; o + 4 <= outputs && outputs - o != 6; o += 4)
    Avx2WideProductsOf<4>(base, offsets, taps, weights + o, outputs, from(o), initial_stride, sums + o * kBlockImages);
  for (; o + 3 <= outputs; o += 3)
    Avx2WideProductsOf<3>(base, offsets, taps, weights + o, outputs, from(o), initial_stride, sums + o * kBlockImages);
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

}  // namespace

const Kernels& Avx2Kernels() {
  static const Kernels kernels = STEADFAST_LOOPS(Avx2Loops, Avx2MakeQuad, Avx2Products);
  return kernels;
}

}  // namespace steadfast::engine

#endif
