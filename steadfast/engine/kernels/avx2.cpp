#if defined(__x86_64__)

#include <immintrin.h>

#include "steadfast/engine/kernels/loops.h"
#include "steadfast/engine/kernels/sets.h"
#include "steadfast/engine/kernels/slice_parts.h"  // TapsInShort

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

// In assembly: g++ 12 keeps some of the intrinsic's sums in memory.
STEADFAST_AVX2 STEADFAST_INLINE void AddInPlace16(__m256i& sums, __m256i v) {
  asm("vpaddw %1, %0, %0" : "+x"(sums) : "x"(v));
}

// The largest level of these weights, without its sign.
STEADFAST_AVX2 int LargestLevel(const uint32_t* weights, int count) {
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
  return most;
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
#pragma GCC unroll 8
      for (int o = 0; o < kOutputs; ++o) low[o] = high[o] = _mm256_setzero_si256();
      const int end = std::min(taps, first + taps_at_once);
      for (int t = first; t < end; ++t) {
        const auto* quad = reinterpret_cast<const __m256i*>(base + offsets[t] + 4 * i);
        const __m256i a = _mm256_loadu_si256(quad), b = _mm256_loadu_si256(quad + 1);
#pragma GCC unroll 8
        for (int o = 0; o < kOutputs; ++o) {
          const __m256i w = _mm256_set1_epi32(static_cast<int>(weights[t * stride + o]));
          AddInPlace16(low[o], _mm256_maddubs_epi16(a, w));
          AddInPlace16(high[o], _mm256_maddubs_epi16(b, w));
        }
      }
      const int32_t* from = first > 0 ? sums : initial;
      const int64_t from_stride = first > 0 ? kBlockImages : initial_stride;
#pragma GCC unroll 8
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

// By tap, behind the number of taps that a sum of 16 bits holds.
void Avx2Pack(std::span<const uint32_t> weights, int, int, int largest_code, std::vector<uint32_t>& packed) {
  const int largest_level = LargestLevel(weights.data(), static_cast<int>(weights.size()));
  packed.push_back(static_cast<uint32_t>(TapsInShort(largest_level, largest_code)));
  packed.insert(packed.end(), weights.begin(), weights.end());
}

STEADFAST_AVX2 void Avx2Products(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                 int outputs, const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  const auto at_once = static_cast<int>(*weights++);
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

struct Avx2Requantizer {
  __m256 scale, offset, lowest, highest;
  __m256i zero_point, threshold, low_code, correction;

  STEADFAST_AVX2 STEADFAST_INLINE Avx2Requantizer(int32_t add, const RequantizeConstants& c)
      : scale(_mm256_set1_ps(c.scale)),
        offset(_mm256_set1_ps(c.offset)),
        lowest(_mm256_set1_ps(c.lowest)),
        highest(_mm256_set1_ps(c.highest)),
        zero_point(_mm256_set1_epi16(static_cast<int16_t>(c.zero_point))),
        threshold(_mm256_set1_epi8(static_cast<char>(c.zero_below))),
        low_code(_mm256_set1_epi8(static_cast<char>(c.lowest_code()))),
        correction(_mm256_set1_epi32(add)) {}

  STEADFAST_AVX2 STEADFAST_INLINE __m256i Steps(__m256i sums) const {
    const __m256i sum = _mm256_add_epi32(sums, correction);
    const __m256 value = _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale), offset);
    // What is not a number becomes the lowest.
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(value, lowest), highest));  // to nearest, ties to even
  }

  // The codes of 32 images.
  STEADFAST_AVX2 STEADFAST_INLINE __m256i operator()(const __m256i sums[4]) const {
    const __m256i low = _mm256_add_epi16(_mm256_packs_epi32(Steps(sums[0]), Steps(sums[1])), zero_point);
    const __m256i high = _mm256_add_epi16(_mm256_packs_epi32(Steps(sums[2]), Steps(sums[3])), zero_point);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i codes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
    const __m256i stays = _mm256_cmpeq_epi8(_mm256_max_epu8(codes, threshold), codes);
    return _mm256_blendv_epi8(low_code, codes, stays);
  }
};

STEADFAST_AVX2 STEADFAST_INLINE __m256i Avx2Load(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}

STEADFAST_AVX2 STEADFAST_INLINE uint64_t Avx2Differing(__m256i a, __m256i b) {
  return static_cast<uint32_t>(~_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b)));
}

// `sums_of(i)` gives the sums of images i to i + 7.
template <typename SumsOf>
STEADFAST_AVX2 STEADFAST_INLINE __m256i Avx2Codes(const Avx2Requantizer& requantizer, int first,
                                                  const SumsOf& sums_of) {
  const __m256i sums[4] = {sums_of(first), sums_of(first + 8), sums_of(first + 16), sums_of(first + 24)};
  return requantizer(sums);
}

STEADFAST_AVX2 void Avx2Requantize(const int32_t* sums, int32_t correction, const RequantizeConstants& c,
                                   uint8_t* row) {
  const Avx2Requantizer requantizer(correction, c);
  for (int i = 0; i < kBlockImages; i += 32) {
    const __m256i codes = Avx2Codes(requantizer, i, [&](int at) STEADFAST_AVX2 { return Avx2Load(sums + at); });
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + i), codes);
  }
}

STEADFAST_AVX2 uint64_t Avx2RequantizeAndCompare(const int32_t* sums, int32_t correction, const RequantizeConstants& c,
                                                 const uint8_t* other, uint8_t* row) {
  const Avx2Requantizer requantizer(correction, c);
  uint64_t lanes = 0;
  for (int i = 0; i < kBlockImages; i += 32) {
    const __m256i codes = Avx2Codes(requantizer, i, [&](int at) STEADFAST_AVX2 { return Avx2Load(sums + at); });
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + i), codes);
    lanes |= Avx2Differing(codes, Avx2Load(other + i)) << i;
  }
  return lanes;
}

STEADFAST_AVX2 void Avx2RequantizeOutputs(const OutputsToRequantize& outputs, uint64_t* lanes) {
  RequantizeOutputsBody(outputs, lanes, Avx2RequantizeAndCompare);
}

// Codes are below 2^8 and factors fit 16 bits: a pair of 16-bit products (the second is 0) is the 32-bit product.
STEADFAST_AVX2 STEADFAST_INLINE __m256i Avx2Scaled(const uint8_t* row, __m256i factors) {
  const __m256i codes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row)));
  return _mm256_madd_epi16(codes, factors);
}

STEADFAST_AVX2 void Avx2AddScaledRow(const uint8_t* row, int32_t factor, const int32_t* from, int32_t* into) {
  const __m256i factors = _mm256_set1_epi32(factor & 0xFFFF);
  for (int i = 0; i < kBlockImages; i += 8)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(into + i),
                        _mm256_add_epi32(Avx2Load(from + i), Avx2Scaled(row + i, factors)));
}

STEADFAST_AVX2 uint64_t Avx2ChangedRow(const int32_t* const* sums, const uint8_t* const* rows, size_t count,
                                       int32_t factor, int32_t correction, const RequantizeConstants& c,
                                       const uint8_t* other, uint8_t* row) {
  const __m256i factors = _mm256_set1_epi32(factor & 0xFFFF);
  const Avx2Requantizer requantizer(correction, c);
  const auto largest = [&](int at) STEADFAST_AVX2 {
    __m256i best = _mm256_add_epi32(Avx2Load(sums[0] + at), Avx2Scaled(rows[0] + at, factors));
    for (size_t k = 1; k < count; ++k)
      best = _mm256_max_epi32(best, _mm256_add_epi32(Avx2Load(sums[k] + at), Avx2Scaled(rows[k] + at, factors)));
    return best;
  };
  uint64_t lanes = 0;
  for (int i = 0; i < kBlockImages; i += 32) {
    const __m256i codes = Avx2Codes(requantizer, i, largest);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(row + i), codes);
    lanes |= Avx2Differing(codes, Avx2Load(other + i)) << i;
  }
  return lanes;
}

STEADFAST_AVX2 uint64_t Avx2Difference(const uint8_t* a, const uint8_t* b) {
  return Avx2Differing(Avx2Load(a), Avx2Load(b)) | Avx2Differing(Avx2Load(a + 32), Avx2Load(b + 32)) << 32;
}

STEADFAST_AVX2 int64_t Avx2LookUp(const LookUp& look_up, const uint8_t* row, int32_t factor) {
  const __m256i factors = _mm256_set1_epi32(factor & 0xFFFF);
  const Avx2Requantizer requantizer(look_up.correction, look_up.constants);
  alignas(32) uint8_t codes[kRowBytes];
  for (int i = 0; i < kBlockImages; i += 32) {
    const auto sums = [&](int at) STEADFAST_AVX2 {
      return _mm256_add_epi32(Avx2Load(look_up.sums + at), Avx2Scaled(row + at, factors));
    };
    _mm256_store_si256(reinterpret_cast<__m256i*>(codes + i), Avx2Codes(requantizer, i, sums));
  }
  int64_t totals[4] = {};
  for (int i = 0; i < kBlockImages; i += 4) {
    for (int k = 0; k < 4; ++k) totals[k] += look_up.table[codes[i + k] * kBlockImages + i + k];
  }
  return totals[0] + totals[1] + totals[2] + totals[3];
}

}  // namespace

const Kernels& Avx2Kernels() {
  static const Kernels kernels = [] {
    Kernels set = STEADFAST_LOOPS(Avx2Loops, Avx2MakeQuad, Avx2Products);
    set.pack = Avx2Pack;
    set.add_scaled_row = Avx2AddScaledRow;
    set.requantize = Avx2Requantize;
    set.requantize_and_compare = Avx2RequantizeAndCompare;
    set.requantize_outputs = Avx2RequantizeOutputs;
    set.changed_row = Avx2ChangedRow;
    set.difference = Avx2Difference;
    set.look_up = Avx2LookUp;
    return set;
  }();
  return kernels;
}

}  // namespace steadfast::engine

#endif
