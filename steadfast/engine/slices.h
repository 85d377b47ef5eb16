// Values for 16 images at a time, and the kernels that go from such values to such values. Internal to the engine.
//
// A "slice" is 16 neighbouring images of a block. The values of a slice lie as quads of 64 bytes, 4 bytes for each
// image in the order of the images; the quads of a pixel lie side by side, plane after plane, and a border of padding
// lies around the pixels. A layer of few channels on a large plane stays in the cache so, and its output needs no
// rearranging for the next.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "steadfast/engine/instruction_set.h"  // InstructionSet
#include "steadfast/engine/kernels.h"          // OperandConstants, QuantizeConstants
#include "steadfast/model/quantized_model.h"   // ValueShape

namespace steadfast::engine {

inline constexpr int64_t kSliceImages = 16;
inline constexpr int64_t kSlicesOfBlock = kBlockImages / kSliceImages;
inline constexpr int64_t kSliceQuadBytes = 4 * kSliceImages;

// How the 4 slots of a quad are filled: `channels` neighbouring channels times `columns` neighbouring pixels of a row.
struct QuadShape {
  int channels;
  int columns;
  bool operator==(const QuadShape&) const = default;
};

// How a value of a slice lies in memory.
struct SliceLayout {
  model::ValueShape shape;
  QuadShape quad{4, 1};
  int64_t top = 0, left = 0, bottom = 0, right = 0;  // pixels of padding

  int64_t planes() const { return (shape.channels + quad.channels - 1) / quad.channels; }
  int64_t pixel_bytes() const { return planes() * kSliceQuadBytes; }
  int64_t row_bytes() const { return (left + shape.width + right) * pixel_bytes(); }
  int64_t bytes() const { return (top + shape.height + bottom) * row_bytes(); }
  int64_t at(int64_t y, int64_t x) const { return (top + y) * row_bytes() + (left + x) * pixel_bytes(); }
  bool operator==(const SliceLayout&) const = default;
};

// A residual addition behind a weighted sum: its codes are operand `of_sum`.
struct AddedOperand {
  OperandConstants of_sum, of_other;
  QuantizeConstants constants;
  // Of the output's scale: in float32, and whether quotients are products with it, or come from it by refinement.
  float reciprocal = 0;
  bool is_exact = false, can_be_refined = false;
};

// Outputs that are computed together, at any number of places.
struct Tile {
  const uint8_t* input;
  const int32_t* taps;  // [tap]: offset of its quad from the window's first
  int tap_count;
  const uint32_t* weights;  // as `pack` gave them
  int taps_in_short;        // the same
  const int32_t* windows;   // [place][pool]: offsets of the windows' first quads
  int pool;                 // windows of a place; codes are of the largest sum
  int places;
  int outputs;
  bool falls;  // the scale of some output is negative: of such, codes are of the smallest sum

  const int32_t* corrections;  // [output]: what sums start from
  const float* scales;         // [output]
  const float* offsets;        // [output]
  RequantizeConstants range;   // of codes; its scale and offset are not used

  uint8_t* codes;          // 4 outputs are a quad; the next 4 follow it
  const int32_t* targets;  // [place]: offsets from `codes`
  int32_t* sums;           // [place][output][16]: instead of codes, or null

  const AddedOperand* add;      // or null
  const uint8_t* other;         // codes to be added
  const int32_t* other_places;  // [place]: offsets from `other`
};

struct SliceKernels {
  int most_outputs;  // of a tile; outputs come in fours
  bool takes_int8;   // levels beyond int8 must come as several taps

  int words_of_tap;  // of packed weights, for each output: at most

  int code_shift;  // what `run` takes codes less by: sums start so many times the sum of the levels higher

  // Packs the weights of a tile: levels of 4 slots, [tap][output]. largest_code: of the input. Returns taps_in_short.
  int (*pack)(std::span<const std::array<int16_t, 4>> levels, int outputs, int largest_code, uint32_t* packed);
  void (*run)(const Tile& tile);

  // Between 16 bytes of 4 rows and a quad.
  void (*make_quad)(const uint8_t* const rows[4], uint8_t* quad);
  void (*split_quad)(const uint8_t* quad, uint8_t* const rows[4]);

  // Steps in which a tile takes outputs (of packed weights) and taps (of quads that are evenly spaced).
  int outputs_in_step = 4;
  int taps_in_step = 1;
  const SliceKernels* of_few = nullptr;  // for layers too small to fill such steps
  const SliceKernels* other = nullptr;   // another way, faster for some layers
};

// Null where a set has none: values are then rows of 64 images throughout.
const SliceKernels* SliceKernelsOf(InstructionSet set);

}  // namespace steadfast::engine
