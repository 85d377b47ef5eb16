// Weighted sums of a block of which images have weights and constants of their own.
#include <algorithm>
#include <cstring>

#include "steadfast/engine/operators/weighted_sum_parts.h"

namespace steadfast::engine {

// Adds what a changed weight adds to the sums of one image: sums are those of its output, [position][64].
void WeightedSum::AddToImage(const uint8_t* rows, const WeightDelta& delta, int64_t image, int64_t lane,
                             int32_t* sums) const {
  const int32_t kernel = window_.kernel_h * window_.kernel_w;
  const int64_t channel = delta.output / outputs_per_group() * group_inputs_ + delta.source / kernel;
  const int64_t down = delta.source % kernel / window_.kernel_w * window_.dilation_h;
  const int64_t right = delta.source % window_.kernel_w * window_.dilation_w;
  const uint8_t* codes = rows + channel * in_.height * in_.width * kRowBytes + image;
  int32_t* sum = sums + lane;
  for (const Position& at : positions_) {
    const int64_t y = at.y + down, x = at.x + right;
    if (y >= 0 && y < in_.height && x >= 0 && x < in_.width)  // outside, levels are 0
      *sum = static_cast<int32_t>(
          static_cast<uint32_t>(*sum) +
          static_cast<uint32_t>(delta.level_delta * (codes[(y * in_.width + x) * kRowBytes] - zero_point_)));
    sum += kBlockImages;
  }
}

// What the sums of one output, [position][64], give with these constants: pooled where a max-pool is fused.
void WeightedSum::FinishOutput(int64_t output, const int32_t* sums, const ChangedConstants* changed,
                               Workspace& workspace, uint8_t* rows, float* reals) const {
  const Kernels& kernels = *workspace.kernels;
  const int32_t correction = CorrectionOf(output, changed);
  const RequantizeConstants constants = changed == nullptr ? ConstantsOf(output) : With(ConstantsOf(output), *changed);
  int32_t pooled[kBlockImages];
  for (size_t at = 0; at < window_starts_.size(); ++at) {
    const int32_t* of_place = sums + window_starts_[at] * kBlockImages;
    if (window_steps_.size() > 1) {
      std::memcpy(pooled, of_place, sizeof(pooled));
      for (size_t p = 1; p < window_steps_.size(); ++p) {
        const int32_t* others = of_place + window_steps_[p] * kBlockImages;
        if (!(constants.scale < 0))
          kernels.maximum(others, pooled, kBlockImages);
        else
          for (int64_t i = 0; i < kBlockImages; ++i) pooled[i] = std::min(pooled[i], others[i]);
      }
      of_place = pooled;
    }
    StoreOutput(output, static_cast<int64_t>(at), of_place, correction, constants, kernels, rows, reals);
  }
}

void WeightedSum::RunBlockOfChangedImages(std::span<const uint8_t* const> inputs, Workspace& workspace,
                                          const BlockOutput& output, std::span<const ImageWeightDelta> deltas,
                                          std::span<const ImageConstants> constants) const {
  RunBlock(inputs, workspace, output);
  const auto& lane_of_image = workspace.kernels->lane_of_image;
  const auto places = static_cast<int64_t>(window_starts_.size());
  std::vector<uint8_t> codes(static_cast<size_t>(places * kRowBytes));
  std::vector<float> reals(requantization_.real ? static_cast<size_t>(out_.elements() * kBlockImages) : 0);
  for (size_t d = 0, c = 0; d < deltas.size() || c < constants.size();) {
    const int64_t channel = std::min<int64_t>(d < deltas.size() ? deltas[d].delta.output : out_.channels,
                                              c < constants.size() ? constants[c].constants.output : out_.channels);
    int32_t* sums = output.sums + channel * positions() * kBlockImages;
    uint8_t* rows = requantization_.real ? nullptr : output.rows + channel * places * kRowBytes;
    const size_t before = d;
    for (; d < deltas.size() && deltas[d].delta.output == channel; ++d)
      AddToImage(inputs[0], deltas[d].delta, deltas[d].image, lane_of_image[static_cast<size_t>(deltas[d].image)],
                 sums);
    if (d > before) FinishOutput(channel, sums, nullptr, workspace, rows, output.reals);
    for (; c < constants.size() && constants[c].constants.output == channel; ++c) {
      const auto image = static_cast<size_t>(constants[c].image);
      FinishOutput(channel, sums, &constants[c].constants, workspace, codes.data(), reals.data());
      for (int64_t at = 0; at < places; ++at) {
        const auto place = static_cast<size_t>(at * kRowBytes) + image;
        const auto real = static_cast<size_t>((channel * places + at) * kBlockImages) + image;
        if (requantization_.real)
          output.reals[real] = reals[real];
        else
          rows[place] = codes[place];
      }
    }
  }
}

}  // namespace steadfast::engine
