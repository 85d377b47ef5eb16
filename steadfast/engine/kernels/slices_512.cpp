#if defined(__x86_64__)

// Slices on 512-bit registers, one for a quad: AVX-512, without and with VNNI.
#include "steadfast/engine/kernels/registers_512.h"
#include "steadfast/engine/kernels/sets.h"
#include "steadfast/engine/kernels/slice_parts.h"

namespace steadfast::engine {
namespace {

#define STEADFAST_TARGET STEADFAST_AVX512
#define STEADFAST_OPERATION STEADFAST_TARGET STEADFAST_INLINE static

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
// More accumulators: 24 registers where pairs are summed in 16 bits.
STEADFAST_TARGET void RunThree(const Tile& tile) {
  RunTile<3, 4>(tile);
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
  static const SliceKernels of_three = {4, false, 2, 0, PackInPairs, avx512::RunThree, MakeSliceQuad, SplitSliceQuad};
  static const SliceKernels kernels = [] {
    SliceKernels set = of_three;
    set.run = avx512::Run;
    set.other = &of_three;
    return set;
  }();
  return kernels;
}

const SliceKernels& VnniSliceKernels() {
  static const SliceKernels of_four = {4, true, 1, 0, PackBytes, avx512_vnni::Run, MakeSliceQuad, SplitSliceQuad};
  static const SliceKernels kernels = [] {
    SliceKernels set = of_four;
    set.most_outputs = 8;
    set.other = &of_four;
    return set;
  }();
  return kernels;
}

}  // namespace steadfast::engine

#endif
