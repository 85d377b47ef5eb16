// Operations on 512-bit registers of 16 images each, for slice_loops.inc. Internal to the kernels.
#pragma once

#include <immintrin.h>

#include "steadfast/engine/kernels/loops.h"  // STEADFAST_INLINE
#include "steadfast/engine/kernels/slice_parts.h"

namespace steadfast::engine {
namespace {

#define STEADFAST_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
struct Registers512 {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kLanes = 16, kParts = 1;

  STEADFAST_AVX512 STEADFAST_INLINE static Int Load(const void* from) { return _mm512_loadu_si512(from); }
  STEADFAST_AVX512 STEADFAST_INLINE static void Store(void* to, Int v) { _mm512_storeu_si512(to, v); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Set(int32_t v) { return _mm512_set1_epi32(v); }
  STEADFAST_AVX512 STEADFAST_INLINE static Float Set(float v) { return _mm512_set1_ps(v); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Min(Int a, Int b) { return _mm512_min_epi32(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Max(Int a, Int b) { return _mm512_max_epi32(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Float ToFloat(Int v) { return _mm512_cvtepi32_ps(v); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Round(Float v) { return _mm512_cvtps_epi32(v); }  // ties to even
  STEADFAST_AVX512 STEADFAST_INLINE static Float Whole(Float v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  STEADFAST_AVX512 STEADFAST_INLINE static Float Add(Float a, Float b) { return _mm512_add_ps(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Float Multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Float Divide(Float a, Float b) { return _mm512_div_ps(a, b); }
  // The same, of a divisor's reciprocal: see CanBeRefined. A division takes as long as 16 of these.
  static constexpr bool kRefines = true;
  STEADFAST_AVX512 STEADFAST_INLINE static Float Refined(Float a, Float b, Float reciprocal) {
    const Float product = _mm512_mul_ps(a, reciprocal);
    const Float near = _mm512_fmadd_ps(_mm512_fnmadd_ps(product, b, a), reciprocal, product);
    return _mm512_fmadd_ps(_mm512_fnmadd_ps(near, b, a), reciprocal, near);
  }
  // Where one is not a number, the second operand.
  STEADFAST_AVX512 STEADFAST_INLINE static Float Lesser(Float a, Float b) { return _mm512_min_ps(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Float Greater(Float a, Float b) { return _mm512_max_ps(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Byte(Int v, int i) {
    return _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(8 * i)), _mm512_set1_epi32(0xFF));
  }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Narrow32(Int a, Int b) { return _mm512_packs_epi32(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Narrow16(Int a, Int b) { return _mm512_packus_epi16(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Add16Saturated(Int a, Int b) { return _mm512_adds_epi16(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Max8(Int a, Int b) { return _mm512_max_epu8(a, b); }
  STEADFAST_AVX512 STEADFAST_INLINE static Int Min8(Int a, Int b) { return _mm512_min_epu8(a, b); }
  // Rows and columns of 4 x 4 bytes.
  STEADFAST_AVX512 STEADFAST_INLINE static Int Transpose(Int v) {
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(TransposeBytes()));
  }
  // What is below a threshold becomes the lowest.
  STEADFAST_AVX512 STEADFAST_INLINE static Int Raised(Int v, Int threshold, Int lowest) {
    return _mm512_mask_mov_epi8(v, _mm512_cmplt_epu8_mask(v, threshold), lowest);
  }
};

}  // namespace
}  // namespace steadfast::engine
