// What the files of WeightedSum share: templates, and small functions. Internal to them.
#pragma once

#include <algorithm>

#include "steadfast/engine/operators/weighted_sum.h"

namespace steadfast::engine {

inline int64_t CeilDivide(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// One of the int8 terms that a level is the sum of.
inline int8_t TermOf(int level, int term, int terms) {
  if (terms == 1) return static_cast<int8_t>(level);
  for (int t = 0; t < term; ++t) level -= std::clamp(level, -127, 127);
  return static_cast<int8_t>(std::clamp(level, -127, 127));
}

template <typename LevelOf>
uint32_t WeightedSum::PackedTap(const Arrangement& arrangement, int64_t tap, const LevelOf& level_of) const {
  const auto term = static_cast<int>(tap / (arrangement.planes_per_group * arrangement.taps_per_plane));
  uint32_t packed = 0;
  for (size_t slot = 0; slot < 4; ++slot) {
    const int32_t source = arrangement.sources[static_cast<size_t>(tap)][slot];
    const int level = source < 0 ? 0 : level_of(source);
    packed |= uint32_t{static_cast<uint8_t>(TermOf(level, term, terms_))} << (8 * slot);
  }
  return packed;
}

template <typename Block>
void WeightedSum::ForEachOutputBlock(int64_t group, const Block& block) const {
  const int64_t per_group = outputs_per_group();
  for (int64_t first = 0; first < per_group; first += outputs_per_call_)
    block(group * per_group + first, static_cast<int>(std::min<int64_t>(outputs_per_call_, per_group - first)));
}

// Lays a plane of the input out as quads, padding included.
template <typename ChannelRows>
void WeightedSum::ExpandPlane(const Arrangement& arrangement, int64_t plane, const ChannelRows& channel_rows,
                              const Kernels& kernels, uint8_t* quads) const {
  const QuadShape& shape = arrangement.quad;
  const int64_t group = plane / arrangement.planes_per_group;
  const int64_t first = plane % arrangement.planes_per_group * shape.channels;
  const uint8_t* rows[4];
  for (int slot = 0; slot < 4; ++slot) {
    const int64_t channel = first + slot / shape.columns;
    rows[slot] = channel < group_inputs_ ? channel_rows(group * group_inputs_ + channel) : nullptr;
  }
  if (padded_h_ == 1 && padded_w_ == 1 && shape.columns == 1) {
    for (const uint8_t*& row : rows) row = row == nullptr ? padding_row_.data() : row;
    return kernels.make_quad(rows, quads + plane * kQuadBytes);
  }
  const int64_t step = arrangement.planes_per_group * groups_ * kQuadBytes;
  uint8_t* quad = quads + plane * kQuadBytes;
  for (int64_t py = 0; py < padded_h_; ++py) {
    const int64_t y = py - window_.pad_top;
    for (int64_t px = 0; px < padded_w_; ++px, quad += step) {
      const uint8_t* sources[4];
      for (int slot = 0; slot < 4; ++slot) {
        const int64_t x = px - window_.pad_left + slot % shape.columns * window_.dilation_w;
        const bool inside = rows[slot] != nullptr && y >= 0 && y < in_.height && x >= 0 && x < in_.width;
        sources[slot] = inside ? rows[slot] + (y * in_.width + x) * kRowBytes : padding_row_.data();
      }
      kernels.make_quad(sources, quad);
    }
  }
}

template <typename ChannelRows>
void WeightedSum::ExpandAll(const ChannelRows& channel_rows, Workspace& workspace) const {
  uint8_t* quads = Resized(workspace.quads, dense_).data();
  for (int64_t plane = 0; plane < dense_.planes_per_group * groups_; ++plane)
    ExpandPlane(dense_, plane, channel_rows, *workspace.kernels, quads);
}

}  // namespace steadfast::engine
