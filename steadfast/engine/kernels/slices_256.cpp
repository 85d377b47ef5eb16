#if defined(__x86_64__)

// Slices on 256-bit registers, 2 for a quad: AVX2, and AVX-VNNI with its 4-way products of bytes.
#include <immintrin.h>

#include "steadfast/engine/kernels/loops.h"  // STEADFAST_INLINE
#include "steadfast/engine/kernels/sets.h"
#include "steadfast/engine/kernels/slice_parts.h"

namespace steadfast::engine {
namespace {

#define STEADFAST_TARGET __attribute__((target("avx2")))
#define STEADFAST_OPERATION STEADFAST_TARGET STEADFAST_INLINE static

struct Registers256 {
  using Int = __m256i;
  using Float = __m256;
  static constexpr int kLanes = 8, kParts = 2;

  STEADFAST_OPERATION Int Load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
  STEADFAST_OPERATION void Store(void* to, Int v) { _mm256_storeu_si256(static_cast<__m256i*>(to), v); }
  STEADFAST_OPERATION Int Set(int32_t v) { return _mm256_set1_epi32(v); }
  STEADFAST_OPERATION Float Set(float v) { return _mm256_set1_ps(v); }
  STEADFAST_OPERATION Int Add(Int a, Int b) { return _mm256_add_epi32(a, b); }
  STEADFAST_OPERATION Int Sub(Int a, Int b) { return _mm256_sub_epi32(a, b); }
  STEADFAST_OPERATION Int Min(Int a, Int b) { return _mm256_min_epi32(a, b); }
  STEADFAST_OPERATION Int Max(Int a, Int b) { return _mm256_max_epi32(a, b); }
  STEADFAST_OPERATION Float ToFloat(Int v) { return _mm256_cvtepi32_ps(v); }
  STEADFAST_OPERATION Int Round(Float v) { return _mm256_cvtps_epi32(v); }  // ties to even
  STEADFAST_OPERATION Float Whole(Float v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  STEADFAST_OPERATION Float Add(Float a, Float b) { return _mm256_add_ps(a, b); }
  STEADFAST_OPERATION Float Multiply(Float a, Float b) { return _mm256_mul_ps(a, b); }
  STEADFAST_OPERATION Float Divide(Float a, Float b) { return _mm256_div_ps(a, b); }
  static constexpr bool kRefines = false;
  // Where one is not a number, the second operand.
  STEADFAST_OPERATION Float Lesser(Float a, Float b) { return _mm256_min_ps(a, b); }
  STEADFAST_OPERATION Float Greater(Float a, Float b) { return _mm256_max_ps(a, b); }
  STEADFAST_OPERATION Int Byte(Int v, int i) {
    return _mm256_and_si256(_mm256_srli_epi32(v, 8 * i), _mm256_set1_epi32(0xFF));
  }
  STEADFAST_OPERATION Int Narrow32(Int a, Int b) { return _mm256_packs_epi32(a, b); }
  STEADFAST_OPERATION Int Narrow16(Int a, Int b) { return _mm256_packus_epi16(a, b); }
  STEADFAST_OPERATION Int Add16Saturated(Int a, Int b) { return _mm256_adds_epi16(a, b); }
  STEADFAST_OPERATION Int Max8(Int a, Int b) { return _mm256_max_epu8(a, b); }
  // Rows and columns of 4 x 4 bytes.
  STEADFAST_OPERATION Int Transpose(Int v) {
    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(TransposeBytes()));
  }
  // What is below a threshold becomes the lowest.
  STEADFAST_OPERATION Int Raised(Int v, Int threshold, Int lowest) {
    return _mm256_blendv_epi8(lowest, v, _mm256_cmpeq_epi8(_mm256_max_epu8(v, threshold), v));
  }
};

namespace avx2 {

struct Vector : Registers256 {
  static constexpr bool kDot = false, kShort = true;
  STEADFAST_OPERATION void AddTo(Int& sums, Int v) { sums = _mm256_add_epi32(sums, v); }
  // In assembly: g++ 12 keeps some of the intrinsic's sums in memory.
  STEADFAST_OPERATION void AddTo16(Int& sums, Int v) { asm("vpaddw %1, %0, %0" : "+x"(sums) : "x"(v)); }
  STEADFAST_OPERATION Int Multiply8(Int codes, Int w) { return _mm256_maddubs_epi16(codes, w); }
  STEADFAST_OPERATION Int Multiply16(Int a, Int b) { return _mm256_madd_epi16(a, b); }
  STEADFAST_OPERATION Int Even(Int v) { return _mm256_and_si256(v, _mm256_set1_epi16(0xFF)); }
  STEADFAST_OPERATION Int Odd(Int v) { return _mm256_srli_epi16(v, 8); }
};

#include "steadfast/engine/kernels/slice_loops.inc"

STEADFAST_TARGET void Run(const Tile& tile) {
  RunTile<1, 4>(tile);
}

}  // namespace avx2

// The instruction of AVX-VNNI, and the same of AVX-512 for machines that have only that one.
namespace avx_vnni {

struct Vector : Registers256 {
  static constexpr bool kDot = true;
  STEADFAST_OPERATION void AddDot(Int& sums, Int codes, Int w) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(codes), "x"(w));
  }
};

#include "steadfast/engine/kernels/slice_loops.inc"

STEADFAST_TARGET void Run(const Tile& tile) {
  RunTile<1, 4>(tile);
}

}  // namespace avx_vnni

namespace avx512_vnni_256 {

struct Vector : Registers256 {
  static constexpr bool kDot = true;
  STEADFAST_OPERATION void AddDot(Int& sums, Int codes, Int w) {
    asm("%{evex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(codes), "x"(w));
  }
};

#include "steadfast/engine/kernels/slice_loops.inc"

STEADFAST_TARGET void Run(const Tile& tile) {
  RunTile<1, 4>(tile);
}

}  // namespace avx512_vnni_256

}  // namespace

const SliceKernels& Avx2SliceKernels() {
  static const SliceKernels kernels = {4, false, 2, 0, PackInPairs, avx2::Run, MakeSliceQuad, SplitSliceQuad};
  return kernels;
}

const SliceKernels& AvxVnniSliceKernels(bool has_avx_vnni) {
  static const SliceKernels kernels = {
      4, true, 1, 0, PackBytes, has_avx_vnni ? avx_vnni::Run : avx512_vnni_256::Run, MakeSliceQuad, SplitSliceQuad};
  return kernels;
}

}  // namespace steadfast::engine

#endif
