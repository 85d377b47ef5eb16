#if defined(__aarch64__)

// Slices on NEON's 128-bit registers, 4 for a quad: with the dot products of ARMv8.2, and without.
#include <arm_neon.h>

#include "steadfast/engine/kernels/loops.h"  // STEADFAST_INLINE
#include "steadfast/engine/kernels/sets.h"
#include "steadfast/engine/kernels/slice_parts.h"

namespace steadfast::engine {
namespace {

#define STEADFAST_TARGET
#define STEADFAST_OPERATION STEADFAST_INLINE static

struct Registers128 {
  using Int = int32x4_t;
  using Float = float32x4_t;
  static constexpr int kLanes = 4, kParts = 4;

  STEADFAST_OPERATION uint8x16_t Bytes(Int v) { return vreinterpretq_u8_s32(v); }
  STEADFAST_OPERATION Int OfBytes(uint8x16_t v) { return vreinterpretq_s32_u8(v); }

  STEADFAST_OPERATION Int Load(const void* from) { return OfBytes(vld1q_u8(static_cast<const uint8_t*>(from))); }
  STEADFAST_OPERATION void Store(void* to, Int v) { vst1q_u8(static_cast<uint8_t*>(to), Bytes(v)); }
  STEADFAST_OPERATION Int Set(int32_t v) { return vdupq_n_s32(v); }
  STEADFAST_OPERATION Float Set(float v) { return vdupq_n_f32(v); }
  STEADFAST_OPERATION Int Add(Int a, Int b) { return vaddq_s32(a, b); }
  STEADFAST_OPERATION Int Sub(Int a, Int b) { return vsubq_s32(a, b); }
  STEADFAST_OPERATION Int Min(Int a, Int b) { return vminq_s32(a, b); }
  STEADFAST_OPERATION Int Max(Int a, Int b) { return vmaxq_s32(a, b); }
  STEADFAST_OPERATION Float ToFloat(Int v) { return vcvtq_f32_s32(v); }
  // Ties to even. What is not a number becomes the lowest integer.
  STEADFAST_OPERATION Int Round(Float v) {
    return vbslq_s32(vceqq_f32(v, v), vcvtnq_s32_f32(v), vdupq_n_s32(std::numeric_limits<int32_t>::min()));
  }
  STEADFAST_OPERATION Float Whole(Float v) { return vrndnq_f32(v); }
  STEADFAST_OPERATION Float Add(Float a, Float b) { return vaddq_f32(a, b); }
  STEADFAST_OPERATION Float Multiply(Float a, Float b) { return vmulq_f32(a, b); }
  STEADFAST_OPERATION Float Divide(Float a, Float b) { return vdivq_f32(a, b); }
  static constexpr bool kRefines = false;
  // Where one is not a number, the second operand.
  STEADFAST_OPERATION Float Lesser(Float a, Float b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  STEADFAST_OPERATION Float Greater(Float a, Float b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  STEADFAST_OPERATION Int Byte(Int v, int i) {
    return vandq_s32(vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(v), vdupq_n_s32(-8 * i))),
                     vdupq_n_s32(0xFF));
  }
  STEADFAST_OPERATION Int Narrow32(Int a, Int b) {
    return vreinterpretq_s32_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)));
  }
  STEADFAST_OPERATION Int Narrow16(Int a, Int b) {
    return OfBytes(vcombine_u8(vqmovun_s16(vreinterpretq_s16_s32(a)), vqmovun_s16(vreinterpretq_s16_s32(b))));
  }
  STEADFAST_OPERATION Int Add16Saturated(Int a, Int b) {
    return vreinterpretq_s32_s16(vqaddq_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b)));
  }
  STEADFAST_OPERATION Int Max8(Int a, Int b) { return OfBytes(vmaxq_u8(Bytes(a), Bytes(b))); }
  // Rows and columns of 4 x 4 bytes.
  STEADFAST_OPERATION Int Transpose(Int v) {
    static constexpr uint8_t kOrder[16] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
    return OfBytes(vqtbl1q_u8(Bytes(v), vld1q_u8(kOrder)));
  }
  // What is below a threshold becomes the lowest.
  STEADFAST_OPERATION Int Raised(Int v, Int threshold, Int lowest) {
    return OfBytes(vbslq_u8(vcltq_u8(Bytes(v), Bytes(threshold)), Bytes(lowest), Bytes(v)));
  }
};

namespace neon {

struct Vector : Registers128 {
  static constexpr bool kDot = false, kShort = false;
  STEADFAST_OPERATION void AddTo(Int& sums, Int v) { sums = vaddq_s32(sums, v); }
  STEADFAST_OPERATION Int Multiply16(Int a, Int b) {
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    return vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
  }
  STEADFAST_OPERATION Int Even(Int v) { return vandq_s32(v, vdupq_n_s32(0x00FF00FF)); }
  STEADFAST_OPERATION Int Odd(Int v) { return vreinterpretq_s32_u16(vshrq_n_u16(vreinterpretq_u16_s32(v), 8)); }
};

#include "steadfast/engine/kernels/slice_loops.inc"

void Run(const Tile& tile) {
  RunTile<1, 4>(tile);
}

}  // namespace neon

// Both factors are signed: codes are taken less 128, which kernels that use this set make up for in what sums start
// from.
namespace neon_dot {

struct Vector : Registers128 {
  static constexpr bool kDot = true;
  STEADFAST_OPERATION void AddDot(Int& sums, Int codes, Int w) {
    const Int shifted = OfBytes(veorq_u8(Bytes(codes), vdupq_n_u8(0x80)));
    asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sums) : "w"(shifted), "w"(w));
  }
};

#include "steadfast/engine/kernels/slice_loops.inc"

void Run(const Tile& tile) {
  RunTile<1, 4>(tile);
}

}  // namespace neon_dot

}  // namespace

const SliceKernels& NeonSliceKernels() {
  static const SliceKernels kernels = {4, false, 2, 0, PackIn16, neon::Run, MakeSliceQuad, SplitSliceQuad};
  return kernels;
}

const SliceKernels& NeonDotSliceKernels() {
  static const SliceKernels kernels = {4, true, 1, 128, PackBytes, neon_dot::Run, MakeSliceQuad, SplitSliceQuad};
  return kernels;
}

}  // namespace steadfast::engine

#endif
