#include "steadfast/engine/operators/weighted_sum.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "steadfast/engine/operators/weighted_sum_parts.h"

namespace steadfast::engine {
namespace {

constexpr QuadShape kQuadShapes[] = {{4, 1}, {2, 2}, {1, 4}};

// Weights whose levels exceed int8, faults included, are split into this many int8 terms (a valid model has |level| <=
// 255 = 127 + 127 + 1).
int TermsOf(const model::CodeFormat& format) {
  const int lowest = format.is_signed ? -(1 << (format.bits - 1)) : 0;
  const auto [least, most] = std::minmax({format.level(lowest), format.level(format.highest_code())});
  return least >= -128 && most <= 127 ? 1 : 3;
}

// The quad shape with the fewest taps for `channels` input channels.
QuadShape ChooseQuad(int64_t channels, const model::Window& window) {
  QuadShape best = kQuadShapes[0];
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (const QuadShape& quad : kQuadShapes) {
    const int64_t taps =
        CeilDivide(channels, quad.channels) * window.kernel_h * CeilDivide(window.kernel_w, quad.columns);
    if (taps < fewest) {
      fewest = taps;
      best = quad;
    }
  }
  return best;
}

std::array<uint8_t, kRowBytes> RowOf(int code) {
  std::array<uint8_t, kRowBytes> row;
  row.fill(static_cast<uint8_t>(code));
  return row;
}

const model::Parameter& WeightOf(const OperatorSource& source) {
  return source.model.parameter(*model::WeightOf(source.node));
}

}  // namespace

WeightedSum::WeightedSum(const model::ValueShape& in, const model::Window& window, int groups,
                         const OperatorSource& source)
    : in_(in),
      out_(source.output().shape),
      window_(window),
      groups_(groups),
      set_(source.set),
      outputs_per_call_(KernelsOf(source.set).outputs_per_call),
      zero_point_(source.input(0).coding->zero_point),
      largest_code_(source.input(0).coding->highest_code()),
      products_(model::ProductsPerOutput(source.model, source.node)),
      group_inputs_(in.channels / groups),
      format_(WeightOf(source).format.codes),
      terms_(TermsOf(format_)),
      padded_h_(in.height + window.pad_top + window.pad_bottom),
      padded_w_(in.width + window.pad_left + window.pad_right),
      padding_row_(RowOf(zero_point_)),
      dense_(Arrange(ChooseQuad(group_inputs_, window), true)),
      differential_(Arrange(ChooseQuad(1, window), false)) {
  for (int64_t c = 0; c < in.channels; ++c) {
    places_.push_back({static_cast<int32_t>(c / group_inputs_),
                       static_cast<int32_t>(c % group_inputs_ / differential_.quad.channels)});
  }
  PlaceWindows();
  SetParameters(source.model, source.node);
}

WeightedSum::Arrangement WeightedSum::Arrange(QuadShape quad, bool planes_inside) const {
  Arrangement arrangement;
  arrangement.quad = quad;
  arrangement.planes_inside = planes_inside;
  arrangement.planes_per_group = CeilDivide(group_inputs_, quad.channels);
  arrangement.taps_per_plane = window_.kernel_h * CeilDivide(window_.kernel_w, quad.columns);
  const auto add = [&](int64_t plane, int64_t ky, int64_t kx) {
    std::array<int32_t, 4> sources;
    for (int slot = 0; slot < 4; ++slot) {
      const int64_t channel = plane * quad.channels + slot / quad.columns;
      const int64_t column = kx + slot % quad.columns;
      const bool inside = channel < group_inputs_ && column < window_.kernel_w;
      sources[static_cast<size_t>(slot)] =
          inside ? static_cast<int32_t>((channel * window_.kernel_h + ky) * window_.kernel_w + column) : -1;
    }
    arrangement.sources.push_back(sources);
    const int64_t pixel = ky * window_.dilation_h * padded_w_ + kx * window_.dilation_w;
    arrangement.offsets.push_back(
        static_cast<int32_t>((pixel * arrangement.planes_per_group * groups_ + plane) * kQuadBytes));
  };
  const int64_t outside = planes_inside ? 1 : arrangement.planes_per_group;
  const int64_t inside = planes_inside ? arrangement.planes_per_group : 1;
  for (int term = 0; term < terms_; ++term) {
    for (int64_t plane = 0; plane < outside; ++plane) {
      for (int64_t ky = 0; ky < window_.kernel_h; ++ky) {
        for (int64_t kx = 0; kx < window_.kernel_w; kx += quad.columns) {
          for (int64_t p = 0; p < inside; ++p) add(plane + p, ky, kx);
        }
      }
    }
  }
  return arrangement;
}

void WeightedSum::Pack(Arrangement& arrangement) const {
  arrangement.by_tap.clear();
  for (int64_t group = 0; group < groups_; ++group) {
    ForEachOutputBlock(group, [&](int64_t channel, int count) {
      for (int64_t tap = 0; tap < arrangement.taps(); ++tap) {
        for (int64_t o = channel; o < channel + count; ++o)
          arrangement.by_tap.push_back(PackedTap(arrangement, tap, [&](int32_t i) { return LevelAt(o, i); }));
      }
    });
  }
  PackBlocks(arrangement.by_tap, arrangement.taps(), arrangement.weights, arrangement.starts);
}

// From [group][output block][tap][output in block] to what the kernels want.
void WeightedSum::PackBlocks(std::span<const uint32_t> by_tap, int64_t taps, std::vector<uint32_t>& packed,
                             std::vector<int64_t>& starts) const {
  packed.clear();
  starts.resize(static_cast<size_t>(out_.channels));
  const Kernels& kernels = KernelsOf(set_);
  for (int64_t group = 0; group < groups_; ++group) {
    ForEachOutputBlock(group, [&](int64_t channel, int count) {
      starts[static_cast<size_t>(channel)] = static_cast<int64_t>(packed.size());
      kernels.pack(by_tap.subspan(static_cast<size_t>(channel * taps), static_cast<size_t>(count * taps)),
                   static_cast<int>(taps), count, largest_code_, packed);
    });
  }
}

std::vector<int16_t> WeightedSum::LevelsOf(const model::Parameter& weight) const {
  std::vector<int16_t> levels(static_cast<size_t>(weight.elements()));
  if (weight.is_in_order()) {
    for (size_t i = 0; i < levels.size(); ++i)
      levels[i] = static_cast<int16_t>(format_.level(format_.code(weight.bits[i])));
  } else {
    for (int64_t i = 0; i < weight.elements(); ++i)
      levels[static_cast<size_t>(weight.OutputOf(i) * products_ + weight.ProductOf(i))] =
          static_cast<int16_t>(weight.level(i));
  }
  return levels;
}

void WeightedSum::SetParameters(const model::QuantizedModel& model, const model::Node& node) {
  requantization_ = model::RequantizationOf(model, node);
  const auto& scales = requantization_.scale;
  has_negative_scale_ = std::any_of(scales.begin(), scales.end(), [](float scale) { return scale < 0; });
  const std::vector<int16_t> levels = LevelsOf(model.parameter(*model::WeightOf(node)));
  const bool is_new = levels_.empty();
  std::vector<uint8_t> is_changed(static_cast<size_t>(out_.channels), 1);
  corrections_.resize(static_cast<size_t>(out_.channels));
  level_sums_.resize(static_cast<size_t>(out_.channels));
  for (int64_t output = 0; output < out_.channels; ++output) {
    const auto first = levels.begin() + output * products_;
    const auto o = static_cast<size_t>(output);
    if (!is_new && std::equal(first, first + products_, levels_.begin() + output * products_)) {
      is_changed[o] = 0;
      continue;
    }
    int64_t sum = 0;
    for (auto level = first; level != first + products_; ++level) sum += *level;
    level_sums_[o] = static_cast<int32_t>(sum);
  }
  for (size_t o = 0; o < corrections_.size(); ++o)
    corrections_[o] = WithAddend(-zero_point_ * level_sums_[o], requantization_, static_cast<int64_t>(o));
  levels_ = levels;
  if (slices_ != nullptr) PackSlices(is_changed);
  const bool has_changed = std::any_of(is_changed.begin(), is_changed.end(), [](uint8_t c) { return c != 0; });
  if (!has_changed || slices_alone_) return;
  if (!columns_.empty()) PackColumns();
  Pack(dense_);
  if (!differential_.by_tap.empty()) Pack(differential_);
}

bool WeightedSum::HasParameters(const model::QuantizedModel& model, const model::Node& node) const {
  const model::Requantization now = model::RequantizationOf(model, node);
  return now.scale == requantization_.scale && now.offset == requantization_.offset &&
         now.addend == requantization_.addend && now.fixed_point == requantization_.fixed_point &&
         LevelsOf(model.parameter(*model::WeightOf(node))) == levels_;
}

void WeightedSum::RunSlicesAlone(bool alone) {
  if (slices_alone_ == alone) return;
  slices_alone_ = alone;
  if (!alone) return Pack(dense_);
  for (Arrangement* arrangement : {&dense_, &differential_}) {
    arrangement->by_tap = {};
    arrangement->weights = {};
  }
  columns_ = {};
}

void WeightedSum::PrepareDifferential() {
  if (differential_.by_tap.empty()) Pack(differential_);
}

// Max-pooling can be taken on the sums where its windows tile and requantization grows with the sum.
bool WeightedSum::Fuse(const model::MaxPool& pool) {
  const model::Window& window = pool.window;
  const bool tiles = window.stride_h == window.kernel_h && window.stride_w == window.kernel_w &&
                     !window.has_padding() && window.dilation_h == 1 && window.dilation_w == 1;
  const auto& scales = requantization_.scale;
  const bool grows = std::all_of(scales.begin(), scales.end(), [](float scale) { return scale >= 0; });
  // Maxima are taken before the zero point is corrected: sums of plain codes must not wrap either. With integer biases
  // they may, where a fault makes one large.
  const bool fits = products_ * 255 * model::LargestStoredLevel(format_) < int64_t{1} << 31;
  if (!tiles || !grows || !fits || requantization_.real || !requantization_.addend.empty()) return false;
  pool_h_ = window.kernel_h;
  pool_w_ = window.kernel_w;
  PlaceWindows();
  return true;
}

void WeightedSum::PlaceWindows() {
  positions_.clear();
  for (int64_t y = 0; y < out_.height; ++y) {
    for (int64_t x = 0; x < out_.width; ++x)
      positions_.push_back({static_cast<int32_t>(y * window_.stride_h - window_.pad_top),
                            static_cast<int32_t>(x * window_.stride_w - window_.pad_left)});
  }
  window_starts_.clear();
  window_steps_.clear();
  for (int64_t y = 0; y + pool_h_ <= out_.height; y += pool_h_) {
    for (int64_t x = 0; x + pool_w_ <= out_.width; x += pool_w_) window_starts_.push_back(y * out_.width + x);
  }
  for (int64_t y = 0; y < pool_h_; ++y) {
    for (int64_t x = 0; x < pool_w_; ++x) window_steps_.push_back(y * out_.width + x);
  }
}

const ChangedConstants* WeightedSum::Among(int64_t output, std::span<const ChangedConstants> changed) {
  const auto found = std::lower_bound(changed.begin(), changed.end(), output,
                                      [](const ChangedConstants& c, int64_t o) { return c.output < o; });
  return found != changed.end() && found->output == output ? &*found : nullptr;
}

RequantizeConstants WeightedSum::ConstantsAmong(int64_t output, std::span<const ChangedConstants> changed) const {
  const ChangedConstants* found = Among(output, changed);
  return found == nullptr ? ConstantsOf(output) : With(ConstantsOf(output), *found);
}

void WeightedSum::RequantizeRow(const int32_t* sums, int32_t correction, const RequantizeConstants& constants,
                                const Kernels& kernels, uint8_t* row) const {
  if (!constants.fixed_point) return kernels.requantize(sums, correction, constants, row);
  alignas(64) int32_t of_images[kBlockImages];
  for (size_t i = 0; i < kBlockImages; ++i) of_images[i] = sums[kernels.lane_of_image[i]];
  IntegerKernelsOf(set_).requantize(of_images, kBlockImages, correction, *constants.fixed_point,
                                    requantization_.rounds_twice, StepsOfCodes(), row);
}

int32_t WeightedSum::CorrectionOf(int64_t output, const ChangedConstants* changed) const {
  const auto o = static_cast<size_t>(output);
  if (changed == nullptr || requantization_.addend.empty()) return corrections_[o];
  return static_cast<int32_t>(static_cast<uint32_t>(corrections_[o]) + static_cast<uint32_t>(changed->addend) -
                              static_cast<uint32_t>(requantization_.addend[o]));
}

void WeightedSum::Pool(int64_t channel, int count, const int32_t* sums, std::span<const ChangedConstants> changed,
                       const Kernels& kernels, int32_t* into) const {
  if (!has_negative_scale_ && changed.empty())
    return kernels.maximum(sums, into, count * static_cast<int>(kBlockImages));
  for (int o = 0; o < count; ++o, sums += kBlockImages, into += kBlockImages) {
    if (!(ConstantsOf(channel + o, changed).scale < 0))
      kernels.maximum(sums, into, static_cast<int>(kBlockImages));
    else
      for (int64_t i = 0; i < kBlockImages; ++i) into[i] = std::min(into[i], sums[i]);
  }
}

bool WeightedSum::LookUpOf(int64_t output, const int32_t* golden_sums, LookUp& look_up) const {
  // Product i must be that of the input's row i.
  const bool whole_input =
      window_.kernel_h == in_.height && window_.kernel_w == in_.width && !window_.has_padding() && groups_ == 1;
  if (requantization_.real || is_fixed_point() || positions() != 1 || !whole_input) return false;
  look_up.sums = golden_sums + output * kBlockImages;
  look_up.correction = corrections_[static_cast<size_t>(output)];
  look_up.constants = ConstantsOf(output);
  return true;
}

Buffer<uint8_t>& WeightedSum::Resized(Buffer<uint8_t>& quads, const Arrangement& arrangement) const {
  const int64_t count = arrangement.planes_per_group * groups_ * padded_h_ * padded_w_ + kQuadsBehind;
  if (static_cast<int64_t>(quads.size()) < count * kQuadBytes) quads.resize(static_cast<size_t>(count * kQuadBytes));
  return quads;
}

int64_t WeightedSum::SlackOf(const int32_t* golden_sums, int64_t lane, int winner) const {
  if (!requantization_.real || positions() != 1) return 0;
  // A sum moves by at most the largest weight for each step of a code.
  int64_t largest = 0;
  for (int16_t level : levels_) largest = std::max<int64_t>(largest, std::abs(level));
  const auto sum_of = [&](int64_t output) {
    return int64_t{static_cast<int32_t>(static_cast<uint32_t>(golden_sums[output * kBlockImages + lane]) +
                                        static_cast<uint32_t>(corrections_[static_cast<size_t>(output)]))};
  };
  // Where every sum moves by at most `bound`, outputs stay between these: they grow, or fall, with the sum.
  const auto ends = [&](int64_t output, int64_t bound) {
    const float low = RealOf(static_cast<int32_t>(sum_of(output) - bound), requantization_, output);
    const float high = RealOf(static_cast<int32_t>(sum_of(output) + bound), requantization_, output);
    return std::minmax({low, high});
  };
  const auto stays = [&](int64_t steps) {
    const int64_t bound = steps * largest;
    const float winner_low = ends(winner, bound).first;
    for (int64_t output = 0; output < out_.channels; ++output) {
      if (output == winner) continue;
      const float other_high = ends(output, bound).second;
      // Of equal outputs the first wins.
      if (output < winner ? other_high >= winner_low : other_high > winner_low) return false;
    }
    return true;
  };
  int64_t headroom = int64_t{1} << 31;  // sums that the bounds speak of must fit
  for (int64_t output = 0; output < out_.channels; ++output)
    headroom = std::min(headroom, (int64_t{1} << 31) - 1 - std::abs(sum_of(output)));
  int64_t low = 0, high = largest == 0 ? 0 : headroom / largest;
  while (low < high) {  // the largest number of steps for which it stays
    const int64_t middle = low + (high - low + 1) / 2;
    if (stays(middle))
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

const uint8_t* WeightedSum::QuadAt(const Arrangement& arrangement, const uint8_t* quads, int64_t group, int64_t oy,
                                   int64_t ox) const {
  const int64_t pixel = oy * window_.stride_h * padded_w_ + ox * window_.stride_w;
  return quads + (pixel * groups_ + group) * arrangement.planes_per_group * kQuadBytes;
}

// Computes the sums of `count` outputs from `channel` on at a position. Returns `into`, or the initial sums if there
// are no taps.
const int32_t* WeightedSum::ProductsAt(const Program& program, int64_t channel, int count, int64_t position,
                                       const Kernels& kernels, int32_t* into) const {
  const int32_t* initial =
      program.initial == nullptr ? nullptr : program.initial + (channel * positions() + position) * kBlockImages;
  const auto taps = static_cast<int64_t>(program.offsets.size());
  if (taps == 0) return initial;
  const uint8_t* quads = QuadAt(*program.arrangement, program.quads, channel / outputs_per_group(),
                                position / out_.width, position % out_.width);
  const int64_t start = program.starts.empty() ? 0 : program.starts[static_cast<size_t>(channel)];
  kernels.products(quads, program.offsets.data(), static_cast<int>(taps), program.weights + start, count, initial,
                   positions() * kBlockImages, into);
  return into;
}

void WeightedSum::StoreOutput(int64_t output, int64_t position, const int32_t* sums, int32_t correction,
                              const RequantizeConstants& constants, const Kernels& kernels, uint8_t* rows,
                              float* reals) const {
  if (requantization_.real)
    kernels.reals(sums, correction, constants.scale, constants.offset,
                  reals + (output * positions() + position) * kBlockImages);
  else
    RequantizeRow(sums, correction, constants, kernels, rows + position * kRowBytes);
}

void WeightedSum::RunBlock(std::span<const uint8_t* const> inputs, Workspace& workspace,
                           const BlockOutput& output) const {
  const Kernels& kernels = *workspace.kernels;
  kernels.prepare();
  const int64_t channel_bytes = in_.height * in_.width * kRowBytes;
  ExpandAll([&](int64_t c) { return inputs[0] + c * channel_bytes; }, workspace);
  workspace.sums.resize(kMostOutputsPerCall * kBlockImages);
  workspace.pooled.resize(kMostOutputsPerCall * kBlockImages);
  const Program program{&dense_, workspace.quads.data(), dense_.offsets, dense_.weights.data(), dense_.starts};
  const auto keep = [&](int64_t channel, int count, int64_t position, const int32_t* sums) {
    for (int o = 0; o < count; ++o) {
      std::memcpy(output.sums + ((channel + o) * positions() + position) * kBlockImages, sums + o * kBlockImages,
                  kBlockImages * sizeof(int32_t));
    }
  };
  const auto pooled_positions = static_cast<int64_t>(window_starts_.size());
  for (int64_t group = 0; group < groups_; ++group) {
    ForEachOutputBlock(group, [&](int64_t channel, int count) {
      for (int64_t at = 0; at < pooled_positions; ++at) {
        for (size_t p = 0; p < window_steps_.size(); ++p) {
          int32_t* into = p == 0 ? workspace.pooled.data() : workspace.sums.data();
          const int64_t position = window_starts_[static_cast<size_t>(at)] + window_steps_[p];
          ProductsAt(program, channel, count, position, kernels, into);
          if (output.sums != nullptr) keep(channel, count, position, into);
          if (p > 0) Pool(channel, count, into, {}, kernels, workspace.pooled.data());
        }
        for (int o = 0; o < count; ++o) {
          uint8_t* rows = output.rows + (requantization_.real ? 0 : (channel + o) * pooled_positions * kRowBytes);
          StoreOutput(channel + o, at, workspace.pooled.data() + o * kBlockImages,
                      corrections_[static_cast<size_t>(channel + o)], ConstantsOf(channel + o), kernels, rows,
                      output.reals);
        }
      }
      const int64_t covered_h = out_.height / pool_h_ * pool_h_, covered_w = out_.width / pool_w_ * pool_w_;
      if (output.sums == nullptr || covered_h * covered_w == positions()) return;
      // Sums at the edge that no pooling window covers.
      for (int64_t position = 0; position < positions(); ++position) {
        const bool covered = position / out_.width < covered_h && position % out_.width < covered_w;
        if (!covered)
          keep(channel, count, position, ProductsAt(program, channel, count, position, kernels, workspace.sums.data()));
      }
    });
  }
}

}  // namespace steadfast::engine
