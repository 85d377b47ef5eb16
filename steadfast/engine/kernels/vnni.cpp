#if defined(__x86_64__)

#include <immintrin.h>

#include "steadfast/engine/kernels/loops.h"
#include "steadfast/engine/kernels/registers_512.h"
#include "steadfast/engine/kernels/sets.h"

namespace steadfast::engine {
namespace {

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

// Codes of sums: in 32 bits one register at a time, or 4 registers to a row, where what follows rounding is done on
// bytes.
struct VnniRequantizer {
  __m512 scale, offset, lowest, highest;
  __m512i correction;
  int zero_point, zero_below, low_code;

  STEADFAST_VNNI STEADFAST_INLINE VnniRequantizer(int32_t add, const RequantizeConstants& c)
      : scale(_mm512_set1_ps(c.scale)),
        offset(_mm512_set1_ps(c.offset)),
        lowest(_mm512_set1_ps(c.lowest)),
        highest(_mm512_set1_ps(c.highest)),
        correction(_mm512_set1_epi32(add)),
        zero_point(c.zero_point),
        zero_below(c.zero_below),
        low_code(c.lowest_code()) {}

  // From the zero point, to nearest, ties to even.
  STEADFAST_VNNI STEADFAST_INLINE __m512i Steps(__m512i sums) const {
    const __m512i sum = _mm512_add_epi32(sums, correction);
    const __m512 value = _mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale), offset);
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(value, lowest), highest));
  }
  STEADFAST_VNNI STEADFAST_INLINE __m512i Codes(__m512i sums) const {
    const __m512i code = _mm512_add_epi32(Steps(sums), _mm512_set1_epi32(zero_point));
    return _mm512_mask_mov_epi32(code, _mm512_cmplt_epi32_mask(code, _mm512_set1_epi32(zero_below)),
                                 _mm512_set1_epi32(low_code));
  }
  // Sums come in the order of a quad, codes leave in the order of the images.
  STEADFAST_VNNI STEADFAST_INLINE __m512i Row(const __m512i sums[4]) const {
    const __m512i zero = _mm512_set1_epi16(static_cast<int16_t>(zero_point));
    const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(Steps(sums[0]), Steps(sums[1])), zero);
    const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(Steps(sums[2]), Steps(sums[3])), zero);
    const __m512i codes = _mm512_packus_epi16(low, high);
    return _mm512_mask_mov_epi8(codes, _mm512_cmplt_epu8_mask(codes, _mm512_set1_epi8(static_cast<char>(zero_below))),
                                _mm512_set1_epi8(static_cast<char>(low_code)));
  }
};

STEADFAST_VNNI STEADFAST_INLINE __m512i VnniRequantized(const int32_t* sums, int32_t correction,
                                                        const RequantizeConstants& c) {
  __m512i registers[4];
  for (int q = 0; q < 4; ++q) registers[q] = _mm512_loadu_si512(sums + 16 * q);
  return VnniRequantizer(correction, c).Row(registers);
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

STEADFAST_VNNI void VnniRequantizeOutputs(const OutputsToRequantize& outputs, uint64_t* lanes) {
  RequantizeConstants c = outputs.range;
  const uint8_t* other = outputs.other;
  uint8_t* row = outputs.rows;
  for (int o = 0; o < outputs.count; ++o, other += outputs.step, row += outputs.step) {
    c.scale = outputs.scales[o];
    c.offset = outputs.offsets[o];
    const __m512i codes = VnniRequantized(outputs.sums + o * kBlockImages, outputs.corrections[o], c);
    _mm512_storeu_si512(row, codes);
    lanes[o] |= _mm512_cmpneq_epi8_mask(codes, _mm512_loadu_si512(other));
  }
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
  const __m512i packed = VnniRequantizer(correction, c).Row(best);
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
  const bool can_be_refined = CanBeRefined(of_a, of_b, c.scale);
  const __m512 scale = _mm512_set1_ps(c.scale), reciprocal = _mm512_set1_ps(1 / c.scale),
               bound = _mm512_set1_ps(1024.0f);
  const __m512i zero_point = _mm512_set1_epi32(c.zero_point), lowest = _mm512_set1_epi32(c.lowest);
  const __m512i highest = _mm512_set1_epi32(c.highest), threshold = _mm512_set1_epi32(c.zero_below);
  for (int i = 0; i < kRowBytes; i += 16) {
    const __m512 total = _mm512_add_ps(VnniReal(a + i, of_a), VnniReal(b + i, of_b));
    const __m512 quotient =
        can_be_refined ? Registers512::Refined(total, scale, reciprocal) : Registers512::Divide(total, scale);
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
    const __m512i index = _mm512_add_epi32(_mm512_slli_epi32(requantizer.Codes(sums), 6), lane);
    const int64_t* table = look_up.table + 16 * q;
    total = _mm512_add_epi64(total, _mm512_i32gather_epi64(_mm512_castsi512_si256(index), table, 8));
    total = _mm512_add_epi64(total, _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(index, 1), table, 8));
  }
  return _mm512_reduce_add_epi64(total);
}

STEADFAST_VNNI void VnniScore(const float* logits, int classes, const uint16_t* labels, uint16_t* predictions,
                              int64_t* margins) {
  const __m512d smallest = _mm512_set1_pd(-kLargestScore), largest = _mm512_set1_pd(kLargestScore);
  const __m512d units = _mm512_set1_pd(1 / kScoreUnit);  // a power of two: the product is the quotient
  for (int i = 0; i < kBlockImages; i += 16) {
    const __m512i label = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(labels + i)));
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

// PortableExp, operation by operation, of arguments that are at most 0.
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

}  // namespace

const Kernels& VnniKernels() {
  static const bool has_compress = __builtin_cpu_supports("avx512vbmi2");
  static const Kernels kernels = {NoPreparation,
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
                                  VnniRequantizeOutputs,
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
  return kernels;
}

}  // namespace steadfast::engine

#endif
