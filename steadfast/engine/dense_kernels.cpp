#include "steadfast/engine/dense_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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
                                   int outputs, int32_t* sums) {
  for (int o = 0; o < outputs; ++o) {
    uint32_t lanes[kBlockImages] = {};
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

STEADFAST_INLINE void MaximumBody(const int32_t* sums, int32_t* into, int count) {
  for (int i = 0; i < count; ++i) into[i] = std::max(into[i], sums[i]);
}

STEADFAST_INLINE void RequantizeBody(const int32_t* sums, int32_t correction, const RequantizeConstants& c,
                                     uint8_t* row) {
  for (int i = 0; i < kBlockImages; ++i) {
    const auto sum = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + static_cast<uint32_t>(correction));
    const float product = static_cast<float>(sum) * c.scale;
    const float value = product + c.offset;
    // Clipping to whole numbers before rounding gives the same as after it.
    const float clipped = std::min(std::max(value, c.lowest), c.highest);
    const int code = static_cast<int>(std::rint(clipped));
    row[i] = static_cast<uint8_t>(code < c.zero_below ? static_cast<int>(c.lowest) : code);
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

#define STEADFAST_PORTABLE_KERNELS(NAME, TARGET)                                                                  \
  struct NAME {                                                                                                   \
    TARGET static void MakeQuad(const uint8_t* const rows[4], uint8_t* quad) { MakeQuadBody(rows, quad); }        \
    TARGET static void Products(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,   \
                                int outputs, int32_t* sums) {                                                     \
      ProductsBody(base, offsets, taps, weights, outputs, sums);                                                  \
    }                                                                                                             \
    TARGET static void Maximum(const int32_t* sums, int32_t* into, int count) { MaximumBody(sums, into, count); } \
    TARGET static void Requantize(const int32_t* sums, int32_t correction, const RequantizeConstants& c,          \
                                  uint8_t* row) {                                                                 \
      RequantizeBody(sums, correction, c, row);                                                                   \
    }                                                                                                             \
    TARGET static void MaximumRows(const uint8_t* other, uint8_t* row) { MaximumRowsBody(other, row); }           \
  };

STEADFAST_PORTABLE_KERNELS(Portable, )

#if STEADFAST_X86

#define STEADFAST_AVX2 __attribute__((target("avx2")))
STEADFAST_PORTABLE_KERNELS(Avx2Loops, STEADFAST_AVX2)

// ---- AVX2: pairs of 16-bit products; 8 images x 4 outputs at a time ----

template <int kOutputs>
STEADFAST_AVX2 STEADFAST_INLINE void Avx2ProductsOf(const uint8_t* base, const int32_t* offsets, int taps,
                                                    const uint32_t* weights, int stride, int32_t* sums) {
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
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + o * kBlockImages + i),
                          _mm256_permute4x64_epi64(pairs, 0xD8));
    }
  }
}

STEADFAST_AVX2 void Avx2Products(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                 int outputs, int32_t* sums) {
  int o = 0;
  for (; o + 4 <= outputs; o += 4)
    Avx2ProductsOf<4>(base, offsets, taps, weights + o, outputs, sums + o * kBlockImages);
  for (; o + 2 <= outputs; o += 2)
    Avx2ProductsOf<2>(base, offsets, taps, weights + o, outputs, sums + o * kBlockImages);
  for (; o < outputs; ++o) Avx2ProductsOf<1>(base, offsets, taps, weights + o, outputs, sums + o * kBlockImages);
}

// ---- AVX-512 VNNI: a quad is 4 registers of 16 images; unpacking and packing keep an order of images of their own
// ----

#define STEADFAST_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

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
                                                    const uint32_t* weights, int32_t* sums) {
  __m512i lanes[kOutputs][4];
  for (int o = 0; o < kOutputs; ++o) {
    for (int q = 0; q < 4; ++q) lanes[o][q] = _mm512_setzero_si512();
  }
  for (int t = 0; t < taps; ++t) {
    const uint8_t* quad = base + offsets[t];
    __m512i codes[4];
    for (int q = 0; q < 4; ++q) codes[q] = _mm512_loadu_si512(quad + 64 * q);
    for (int o = 0; o < kOutputs; ++o) {
      const __m512i w = _mm512_set1_epi32(static_cast<int>(weights[t * kOutputs + o]));
      for (int q = 0; q < 4; ++q) lanes[o][q] = _mm512_dpbusd_epi32(lanes[o][q], codes[q], w);
    }
  }
  for (int o = 0; o < kOutputs; ++o) {
    for (int q = 0; q < 4; ++q) _mm512_storeu_si512(sums + o * kBlockImages + 16 * q, lanes[o][q]);
  }
}

STEADFAST_VNNI void VnniProducts(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                 int outputs, int32_t* sums) {
  switch (outputs) {
    case 1:
      return VnniProductsOf<1>(base, offsets, taps, weights, sums);
    case 2:
      return VnniProductsOf<2>(base, offsets, taps, weights, sums);
    case 3:
      return VnniProductsOf<3>(base, offsets, taps, weights, sums);
    case 4:
      return VnniProductsOf<4>(base, offsets, taps, weights, sums);
    case 5:
      return VnniProductsOf<5>(base, offsets, taps, weights, sums);
    default:
      return VnniProductsOf<6>(base, offsets, taps, weights, sums);
  }
}

STEADFAST_VNNI void VnniMaximum(const int32_t* sums, int32_t* into, int count) {
  for (int i = 0; i < count; i += 16) {
    _mm512_storeu_si512(into + i, _mm512_max_epi32(_mm512_loadu_si512(into + i), _mm512_loadu_si512(sums + i)));
  }
}

STEADFAST_VNNI void VnniRequantize(const int32_t* sums, int32_t correction, const RequantizeConstants& c,
                                   uint8_t* row) {
  const __m512 scale = _mm512_set1_ps(c.scale), offset = _mm512_set1_ps(c.offset);
  const __m512 lowest = _mm512_set1_ps(c.lowest), highest = _mm512_set1_ps(c.highest);
  const __m512i threshold = _mm512_set1_epi32(c.zero_below), low_code = _mm512_set1_epi32(static_cast<int>(c.lowest));
  const __m512i add = _mm512_set1_epi32(correction);
  __m512i codes[4];
  for (int q = 0; q < 4; ++q) {
    const __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums + 16 * q), add);
    const __m512 value = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), offset);
    const __m512 clipped = _mm512_min_ps(_mm512_max_ps(value, lowest), highest);
    const __m512i code = _mm512_cvtps_epi32(clipped);  // to nearest, ties to even
    codes[q] = _mm512_mask_mov_epi32(code, _mm512_cmplt_epi32_mask(code, threshold), low_code);
  }
  const __m512i first = _mm512_packus_epi32(codes[0], codes[1]), second = _mm512_packus_epi32(codes[2], codes[3]);
  _mm512_storeu_si512(row, _mm512_packus_epi16(first, second));  // undoes the order of VnniMakeQuad
}

STEADFAST_VNNI void VnniMaximumRows(const uint8_t* other, uint8_t* row) {
  _mm512_storeu_si512(row, _mm512_max_epu8(_mm512_loadu_si512(row), _mm512_loadu_si512(other)));
}

#endif  // STEADFAST_X86

}  // namespace

std::string_view NameOf(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPortable:
      return "portable";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512Vnni:
      return "avx512-vnni";
  }
  return "?";
}

std::vector<InstructionSet> SupportedInstructionSets() {
  std::vector<InstructionSet> sets = {InstructionSet::kPortable};
#if STEADFAST_X86
  if (__builtin_cpu_supports("avx2")) sets.push_back(InstructionSet::kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512vnni")) {
    sets.push_back(InstructionSet::kAvx512Vnni);
  }
#endif
  return sets;
}

const DenseKernels& KernelsOf(InstructionSet set) {
  static const DenseKernels portable = {Portable::MakeQuad,   Portable::Products,    Portable::Maximum,
                                        Portable::Requantize, Portable::MaximumRows, NaturalOrder()};
#if STEADFAST_X86
  static const DenseKernels avx2 = {Avx2Loops::MakeQuad,   Avx2Products,           Avx2Loops::Maximum,
                                    Avx2Loops::Requantize, Avx2Loops::MaximumRows, NaturalOrder()};
  static const DenseKernels vnni = {VnniMakeQuad,   VnniProducts,    VnniMaximum,
                                    VnniRequantize, VnniMaximumRows, VnniOrder()};
  if (set == InstructionSet::kAvx512Vnni) return vnni;
  if (set == InstructionSet::kAvx2) return avx2;
#endif
  (void)set;
  return portable;
}

}  // namespace steadfast::engine
