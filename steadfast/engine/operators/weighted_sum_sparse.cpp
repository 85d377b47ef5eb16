// The path of weighted sums that goes image by image and skips inputs of level 0.
#include <algorithm>
#include <cstring>

#include "steadfast/engine/operators/weighted_sum.h"

namespace steadfast::engine {

void WeightedSum::PrepareSparsePath() {
  if (columns_.empty()) PackColumns();
}

void WeightedSum::PackColumns() {
  const int64_t per_group = outputs_per_group(), window = int64_t{window_.kernel_h} * window_.kernel_w;
  columns_.assign(static_cast<size_t>(in_.channels * window * padded_outputs_per_group()), 0);
  size_t at = 0;
  for (int64_t c = 0; c < in_.channels; ++c) {
    for (int64_t k = 0; k < window; ++k, at += static_cast<size_t>(padded_outputs_per_group())) {
      for (int64_t o = 0; o < per_group; ++o)
        columns_[at + static_cast<size_t>(o)] =
            LevelAt(c / group_inputs_ * per_group + o, c % group_inputs_ * window + k) & 0xFFFF;
    }
  }
}

// Adds every input of one image whose level is not 0 to the sums it belongs to: [position][group][output].
void WeightedSum::AddImage(const uint8_t* rows, int64_t image, const Kernels& kernels, int32_t* sums) const {
  const int64_t outputs = padded_outputs_per_group(), position_step = groups_ * outputs;
  const bool steps_by_one = window_.stride_w == 1 && window_.dilation_w == 1;
  const uint8_t* code = rows + image;
  for (int64_t c = 0; c < in_.channels; ++c) {
    for (int64_t y = 0; y < in_.height; ++y) {
      for (int64_t x = 0; x < in_.width; ++x, code += kRowBytes) {
        const int level = *code - zero_point_;
        if (level == 0) continue;
        for (int64_t ky = 0; ky < window_.kernel_h; ++ky) {
          const int64_t from_y = y + window_.pad_top - ky * window_.dilation_h;
          if (from_y < 0 || from_y % window_.stride_h != 0 || from_y / window_.stride_h >= out_.height) continue;
          int32_t* row = sums + from_y / window_.stride_h * out_.width * position_step +
                         places_[static_cast<size_t>(c)].group * outputs;
          const int32_t* columns = columns_.data() + (c * window_.kernel_h + ky) * window_.kernel_w * outputs;
          if (steps_by_one) {  // positions that see this input stand side by side, for the columns from last to first
            const int64_t first = std::max<int64_t>(0, x + window_.pad_left - (out_.width - 1));
            const int64_t last = std::min<int64_t>(window_.kernel_w - 1, x + window_.pad_left);
            if (first <= last)
              kernels.add_columns(columns + first * outputs, level, outputs, last - first + 1, -position_step,
                                  row + (x + window_.pad_left - first) * position_step);
            continue;
          }
          for (int64_t kx = 0; kx < window_.kernel_w; ++kx) {
            const int64_t from_x = x + window_.pad_left - kx * window_.dilation_w;
            if (from_x < 0 || from_x % window_.stride_w != 0 || from_x / window_.stride_w >= out_.width) continue;
            kernels.add_columns(columns + kx * outputs, level, outputs, 1, 0,
                                row + from_x / window_.stride_w * position_step);
          }
        }
      }
    }
  }
}

void WeightedSum::RunBlockSparsely(std::span<const uint8_t* const> inputs, Workspace& workspace,
                                   const BlockOutput& output) const {
  const Kernels& kernels = *workspace.kernels;
  const int64_t per_group = outputs_per_group(), padded = padded_outputs_per_group();
  workspace.sparse_sums.resize(static_cast<size_t>(out_.elements() * kBlockImages));
  workspace.pooled.resize(kMostOutputsPerCall * kBlockImages);
  int32_t* all = workspace.sparse_sums.data();
  for (int64_t image = 0; image < output.images; ++image) {
    workspace.image_sums.assign(static_cast<size_t>(positions() * groups_ * padded), 0);
    AddImage(inputs[0], image, kernels, workspace.image_sums.data());
    const int64_t lane = kernels.lane_of_image[static_cast<size_t>(image)];
    for (int64_t position = 0; position < positions(); ++position) {
      for (int64_t o = 0; o < out_.channels; ++o) {
        const int64_t from = (position * groups_ + o / per_group) * padded + o % per_group;
        all[(o * positions() + position) * kBlockImages + lane] = workspace.image_sums[static_cast<size_t>(from)];
      }
    }
  }
  const auto pooled_positions = static_cast<int64_t>(window_starts_.size());
  for (int64_t channel = 0; channel < out_.channels; ++channel) {
    uint8_t* rows = output.rows + (requantization_.real ? 0 : channel * pooled_positions * kRowBytes);
    for (int64_t at = 0; at < pooled_positions; ++at) {
      const int32_t* first = all + (channel * positions() + window_starts_[static_cast<size_t>(at)]) * kBlockImages;
      std::memcpy(workspace.pooled.data(), first, kBlockImages * sizeof(int32_t));
      for (size_t p = 1; p < window_steps_.size(); ++p)
        Pool(channel, 1, first + window_steps_[p] * kBlockImages, {}, kernels, workspace.pooled.data());
      // These sums are of levels, not of codes: nothing is to be corrected.
      const int32_t bias = WithAddend(0, requantization_, channel);
      StoreOutput(channel, at, workspace.pooled.data(), bias, ConstantsOf(channel), kernels, rows, output.reals);
    }
  }
}

}  // namespace steadfast::engine
