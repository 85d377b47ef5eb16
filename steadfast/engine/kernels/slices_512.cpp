#if defined(__x86_64__)

// Slices on 512-bit registers, one for a quad: AVX-512, without and with VNNI.
#include <immintrin.h>

#include "steadfast/engine/kernels/loops.h"  // STEADFAST_INLINE
#include "steadfast/engine/kernels/sets.h"
#include "steadfast/engine/kernels/slice_parts.h"

namespace steadfast::engine {
namespace {

#define STEADFAST_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define STEADFAST_OPERATION STEADFAST_TARGET STEADFAST_INLINE static

struct Registers512 {
  using Int = __m512i;
  using Float = __m512;
  static constexpr int kLanes = 16, kParts = 1;

  STEADFAST_OPERATION Int Load(const void* from) { return _mm512_loadu_si512(from); }
  STEADFAST_OPERATION void Store(void* to, Int v) { _mm512_storeu_si512(to, v); }
  STEADFAST_OPERATION Int Set(int32_t v) { return _mm512_set1_epi32(v); }
  STEADFAST_OPERATION Float Set(float v) { return _mm512_set1_ps(v); }
  STEADFAST_OPERATION Int Add(Int a, Int b) { return _mm512_add_epi32(a, b); }
  STEADFAST_OPERATION Int Sub(Int a, Int b) { return _mm512_sub_epi32(a, b); }
  STEADFAST_OPERATION Int Min(Int a, Int b) { return _mm512_min_epi32(a, b); }
  STEADFAST_OPERATION Int Max(Int a, Int b) { return _mm512_max_epi32(a, b); }
  STEADFAST_OPERATION Float ToFloat(Int v) { return _mm512_cvtepi32_ps(v); }
  STEADFAST_OPERATION Int Round(Float v) { return _mm512_cvtps_epi32(v); }  // ties to even
  STEADFAST_OPERATION Float Whole(Float v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  STEADFAST_OPERATION Float Add(Float a, Float b) { return _mm512_add_ps(a, b); }
  STEADFAST_OPERATION Float Multiply(Float a, Float b) { return _mm512_mul_ps(a, b); }
  STEADFAST_OPERATION Float Divide(Float a, Float b) { return _mm512_div_ps(a, b); }
  // Where one is not a number, the second operand.
  STEADFAST_OPERATION Float Lesser(Float a, Float b) { return _mm512_min_ps(a, b); }
  STEADFAST_OPERATION Float Greater(Float a, Float b) { return _mm512_max_ps(a, b); }
  STEADFAST_OPERATION Int Byte(Int v, int i) {
    return _mm512_and_si512(_mm512_srli_epi32(v, static_cast<unsigned>(8 * i)), _mm512_set1_epi32(0xFF));
  }
  STEADFAST_OPERATION Int Narrow32(Int a, Int b) { return _mm512_packs_epi32(a, b); }
  STEADFAST_OPERATION Int Narrow16(Int a, Int b) { return _mm512_packus_epi16(a, b); }
  STEADFAST_OPERATION Int Add16Saturated(Int a, Int b) { return _mm512_adds_epi16(a, b); }
  STEADFAST_OPERATION Int Max8(Int a, Int b) { return _mm512_max_epu8(a, b); }
  // Rows and columns of 4 x 4 bytes.
  STEADFAST_OPERATION Int Transpose(Int v) { return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(TransposeBytes())); }
  // What is below a threshold becomes the lowest.
  STEADFAST_OPERATION Int Raised(Int v, Int threshold, Int lowest) {
    return _mm512_mask_mov_epi8(v, _mm512_cmplt_epu8_mask(v, threshold), lowest);
  }
};

namespace avx512 {

struct Vector : Registers512 {
  static constexpr bool kDot = false, kShort = true;
  STEADFAST_OPERATION void AddTo(Int& sums, Int v) { sums = _mm512_add_epi32(sums, v); }
  // In assembly: g++ 12 keeps some of the intrinsic's sums in memory.
  STEADFAST_OPERATION void AddTo16(Int& sums, Int v) { asm("vpaddw %1, %0, %0" : "+v"(sums) : "v"(v)); }
  STEADFAST_OPERATION Int Multiply8(Int codes, Int w) { return _mm512_maddubs_epi16(codes, w); }
  STEADFAST_OPERATION Int Multiply16(Int a, Int b) { return _mm512_madd_epi16(a, b); }
  STEADFAST_OPERATION Int Even(Int v) { return _mm512_and_si512(v, _mm512_set1_epi16(0xFF)); }
  STEADFAST_OPERATION Int Odd(Int v) { return _mm512_srli_epi16(v, 8); }
};

#include "steadfast/engine/kernels/slice_loops.inc"

STEADFAST_TARGET void Run(const Tile& tile) {
  RunTile<2, 4>(tile);
}

}  // namespace avx512

namespace avx512_vnni {

struct Vector : Registers512 {
  static constexpr bool kDot = true;
  // In assembly: of the intrinsic's sums, g++ 12 copies some and keeps others in memory.
  STEADFAST_OPERATION void AddDot(Int& sums, Int codes, Int w) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(codes), "v"(w));
  }
};

#include "steadfast/engine/kernels/slice_loops.inc"

STEADFAST_TARGET void Run(const Tile& tile) {
  if (tile.outputs == 8)
    RunTile<3, 8>(tile);
  else
    RunTile<4, 4>(tile);
}

}  // namespace avx512_vnni

}  // namespace

const SliceKernels& Avx512SliceKernels() {
  static const SliceKernels kernels = {4, false, 2, 0, PackInPairs, avx512::Run, MakeSliceQuad, SplitSliceQuad};
  return kernels;
}

const SliceKernels& VnniSliceKernels() {
  static const SliceKernels kernels = {8, true, 1, 0, PackBytes, avx512_vnni::Run, MakeSliceQuad, SplitSliceQuad};
  return kernels;
}

}  // namespace steadfast::engine

#endif
