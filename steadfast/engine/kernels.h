// The inner loops of the engine, one set for each instruction set. Internal to the engine.
//
// A "row" is the codes of one element for the 64 images of a block: 64 bytes, in the order of the images. A "quad" is 4
// rows interleaved so that the 4 codes of an image lie side by side: 256 bytes. Sums are 64 int32 in the kernel set's
// own order of images. Sums wrap modulo 2^32.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "steadfast/engine/block.h"            // kBlockImages
#include "steadfast/engine/instruction_set.h"  // InstructionSet
#include "steadfast/model/requantization.h"    // Requantization

namespace steadfast::engine {

inline constexpr int kQuadBytes = 256;
inline constexpr int kMostOutputsPerCall = 32;
// Taps beyond the last may be read (and multiplied by 0): this many quads must follow the last one.
inline constexpr int kQuadsBehind = 16;

struct RequantizeConstants {
  float scale;
  float offset;
  float lowest, highest;  // in steps from the zero point
  int zero_point;
  int zero_below;
  std::optional<model::FixedPointScale> fixed_point = {};  // in place of scale and offset, which no kernel knows
  int lowest_code() const { return static_cast<int>(lowest) + zero_point; }
};

// The constants of an output; scale and offset may come from elsewhere. A threshold above all codes makes them all the
// lowest: kernels, which take thresholds for bytes, meet it as the highest code.
inline RequantizeConstants ConstantsOf(const model::Requantization& r, float scale, float offset) {
  RequantizeConstants constants{scale, offset, r.lowest, r.highest, r.zero_point, r.zero_below};
  if (r.zero_below > static_cast<int>(r.highest) + r.zero_point) {
    constants.highest = r.lowest;
    constants.zero_below = 0;
  }
  return constants;
}

// How one operand of an Add becomes real.
struct OperandConstants {
  int zero_point;
  float scale;
};
// Whether a sum of such operands can be divided by `scale` by refining a product with its reciprocal (Markstein, IA-64
// and Elementary Functions, 2000: from a correctly rounded reciprocal, two steps with fused multiply-add give the
// correctly rounded quotient), for which nothing may come near the ends of float32's range.
inline bool CanBeRefined(const OperandConstants& a, const OperandConstants& b, float scale) {
  const auto is_medium = [](float value) { return value >= 0x1p-40f && value <= 0x1p40f; };
  return is_medium(a.scale) && is_medium(b.scale) && is_medium(scale);
}
struct QuantizeConstants {
  float scale;
  int zero_point;
  int lowest, highest;
  int zero_below;
};

// The sums of some outputs at one place.
struct OutputsToRequantize {
  const int32_t* sums;
  int count;
  const int32_t* corrections;     // [count]
  const float *scales, *offsets;  // [count]
  RequantizeConstants range;      // all else
  const uint8_t* other;
  uint8_t* rows;
  int64_t step;  // bytes between outputs' rows
};

// Sums of what a neuron's codes lead to, over the images of a block.
struct LookUp {
  const int32_t* sums;  // of the neuron
  int32_t correction;
  RequantizeConstants constants;
  const int64_t* table;  // [code][64], in the order of sums
};

struct Kernels {
  // To be called on a thread before `products` and before slices run, after anything else may have used the same
  // machine state.
  void (*prepare)();

  // Interleaves 4 rows into a quad.
  void (*make_quad)(const uint8_t* const rows[4], uint8_t* quad);

  // sums[o][lane] = initial[o * initial_stride][lane] (0 where initial is null) + sum over taps of the 4-way product of
  // base[offsets[t]] with the weight of tap t and output o, for o < outputs <= outputs_per_call.
  void (*products)(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights, int outputs,
                   const int32_t* initial, int64_t initial_stride, int32_t* sums);

  // Appends the weights of a call to products, given as [tap][output], in the order that it wants them in.
  // largest_code: that their products will meet.
  void (*pack)(std::span<const uint32_t> weights, int taps, int outputs, int largest_code,
               std::vector<uint32_t>& packed);
  int outputs_per_call;  // the number of outputs for which products runs best

  // into[lane] = max(into[lane], sums[lane]) for `count` sums.
  void (*maximum)(const int32_t* sums, int32_t* into, int count);

  // result = a - b for 64 sums.
  void (*subtract)(const int32_t* a, const int32_t* b, int32_t* result);

  // into = from + factor * row, for 64 sums; |factor| <= 2^15.
  void (*add_scaled_row)(const uint8_t* row, int32_t factor, const int32_t* from, int32_t* into);

  // For i < count: into[i * step + o] += level * weights[i * outputs + o] for o < outputs, a multiple of 16; weights:
  // int16 in the low half; |level| < 2^15.
  void (*add_columns)(const int32_t* weights, int32_t level, int64_t outputs, int64_t count, int64_t step,
                      int32_t* into);

  // One row of codes from 64 sums, to which `correction` is added first.
  void (*requantize)(const int32_t* sums, int32_t correction, const RequantizeConstants& constants, uint8_t* row);

  // The same, and says for which images the row differs from another.
  uint64_t (*requantize_and_compare)(const int32_t* sums, int32_t correction, const RequantizeConstants& constants,
                                     const uint8_t* other, uint8_t* row);

  // The same of several outputs; sums: [count][64]. Output o's codes go to rows + o * step and are compared with those
  // at other + o * step; the images for which they differ are added to lanes[o].
  void (*requantize_outputs)(const OutputsToRequantize& outputs, uint64_t* lanes);

  // One row of codes under a change of one weight: requantized from the largest of sums[i] + factor * rows[i], i <
  // count, and compared.
  uint64_t (*changed_row)(const int32_t* const* sums, const uint8_t* const* rows, size_t count, int32_t factor,
                          int32_t correction, const RequantizeConstants& constants, const uint8_t* other, uint8_t* row);

  // reals[image] = float(sum + correction) * scale + offset, in the order of the images.
  void (*reals)(const int32_t* sums, int32_t correction, float scale, float offset, float* reals);

  // row = max(row, other)
  void (*maximum_rows)(const uint8_t* other, uint8_t* row);

  // The residual addition of two rows of codes.
  void (*add_rows)(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b, const OperandConstants& of_b,
                   const QuantizeConstants& constants, uint8_t* row);

  // The images for which two rows differ.
  uint64_t (*difference)(const uint8_t* a, const uint8_t* b);

  // sums[image] += |a - b|, in the order of the images.
  void (*add_distances)(const uint8_t* a, const uint8_t* b, int32_t* sums);

  // Writes the codes of the images in `lanes` one after the other to `to`.
  void (*compress_row)(const uint8_t* row, uint64_t lanes, uint8_t* to);

  // The sum over the images of table[code of sums + factor * row].
  int64_t (*look_up)(const LookUp& look_up, const uint8_t* row, int32_t factor);

  // Decisions and margins of 64 images. logits: [classes][64]; labels: [64]. predictions: the class of the largest
  // logit, the lowest where several are. margins: in units of 2^-20.
  void (*score)(const float* logits, int classes, const uint16_t* labels, uint16_t* predictions, int64_t* margins);

  // Of the same images: exponentials[image] = sum over classes of exp(logit - largest), largest[image].
  void (*exponentials)(const float* logits, int classes, double* exponentials, double* largest);

  // lane_of_image[i]: where image i stands among 64 sums.
  std::array<uint8_t, kBlockImages> lane_of_image;
};

const Kernels& KernelsOf(InstructionSet set);

// What the kernels cost on this machine, measured when first asked for: nanoseconds for the 64 images of a block.
struct KernelCosts {
  double tap;       // one tap of one output, in calls for several outputs
  double lone_tap;  // one tap, in calls for one output
  double quad;      // making a quad
  double row;       // adding a scaled row
  double code_row;  // requantizing a row
  double compress;  // gathering some images of a row
};
const KernelCosts& CostsOf(InstructionSet set);

}  // namespace steadfast::engine
