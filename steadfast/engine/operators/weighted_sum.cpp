#include "steadfast/engine/operators/weighted_sum.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <limits>


namespace steadfast::engine {
namespace {

// Making a base anew costs about as much as using it so many times.
constexpr size_t kWorthOfABase = 4;

constexpr QuadShape kQuadShapes[] = {{4, 1}, {2, 2}, {1, 4}};

int64_t CeilDivide(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// Weights whose levels exceed int8 are split into this many int8 terms (a valid model has |level| <= 255 = 127 + 127 +
// 1).
int TermsOf(const model::CodeFormat& format) {
  return model::LargestStoredLevel(format) <= 127 ? 1 : 3;
}

int8_t TermOf(int level, int term, int terms) {
  if (terms == 1) return static_cast<int8_t>(level);
  for (int t = 0; t < term; ++t) level -= std::clamp(level, -127, 127);
  return static_cast<int8_t>(std::clamp(level, -127, 127));
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

// What RunChanged keeps for one thread: for the last set of changed planes, their taps and, for the last block, the
// sums without them.
struct WeightedSum::State {
  std::vector<int32_t> groups;   // that hold any changed channel
  std::vector<int32_t> planes;   // of a group: those changed in any group
  std::vector<int32_t> offsets;  // of their taps
  std::vector<uint32_t> weights;
  std::vector<int64_t> starts;
  size_t wasted = 0;  // planes computed though unchanged, since the set was chosen
  int64_t block = -1;
  Buffer<int32_t> base;  // [out][position][64]
};

WeightedSum::WeightedSum(const model::ValueShape& in, const model::Window& window, int groups,
                         const OperatorSource& source)
    : in_(in),
      out_(source.output().shape),
      window_(window),
      groups_(groups),
      set_(source.set),
      outputs_per_call_(KernelsOf(source.set).outputs_per_call),
      zero_point_(source.input(0).coding->zero_point),
      products_(model::ProductsPerOutput(source.model, source.node)),
      group_inputs_(in.channels / groups),
      format_(WeightOf(source).format.codes),
      terms_(TermsOf(format_)),
      padded_h_(in.height + 2 * int64_t{window.pad_h}),
      padded_w_(in.width + 2 * int64_t{window.pad_w}),
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
                   static_cast<int>(taps), count, packed);
    });
  }
}

void WeightedSum::SetParameters(const model::QuantizedModel& model, const model::Node& node) {
  requantization_ = model::RequantizationOf(model, node);
  const auto& scales = requantization_.scale;
  any_scale_falls_ = std::any_of(scales.begin(), scales.end(), [](float scale) { return scale < 0; });
  const model::Parameter& weight = model.parameter(*model::WeightOf(node));
  levels_.resize(static_cast<size_t>(weight.elements()));
  if (weight.output_axis == 0) {
    for (size_t i = 0; i < levels_.size(); ++i) levels_[i] = static_cast<int16_t>(format_.level(format_.code(weight.bits[i])));
  } else {
    for (int64_t i = 0; i < weight.elements(); ++i)
      levels_[static_cast<size_t>(weight.OutputOf(i) * products_ + weight.ProductOf(i))] =
          static_cast<int16_t>(weight.level(i));
  }
  corrections_.assign(static_cast<size_t>(out_.channels), 0);
  for (int64_t output = 0; output < out_.channels; ++output) {
    int64_t sum = 0;
    for (int64_t i = 0; i < products_; ++i) sum += LevelAt(output, i);
    corrections_[static_cast<size_t>(output)] = static_cast<int32_t>(-zero_point_ * sum);
  }
  if (!columns_.empty()) PackColumns();
  Pack(dense_);
  if (!differential_.by_tap.empty()) Pack(differential_);
}

void WeightedSum::PrepareDifferential() {
  if (differential_.by_tap.empty()) Pack(differential_);
}

// Max-pooling can be taken on the sums where its windows tile and requantization grows with the sum.
bool WeightedSum::Fuse(const model::MaxPool& pool) {
  const model::Window& window = pool.window;
  const bool tiles = window.stride_h == window.kernel_h && window.stride_w == window.kernel_w && window.pad_h == 0 &&
                     window.pad_w == 0 && window.dilation_h == 1 && window.dilation_w == 1;
  const auto& scales = requantization_.scale;
  const bool grows = std::all_of(scales.begin(), scales.end(), [](float scale) { return scale >= 0; });
  // Maxima are taken before the zero point is corrected: sums of plain codes must not wrap either.
  const bool fits = products_ * 255 * model::LargestStoredLevel(format_) < int64_t{1} << 31;
  if (!tiles || !grows || !fits || requantization_.real) return false;
  pool_h_ = window.kernel_h;
  pool_w_ = window.kernel_w;
  PlaceWindows();
  return true;
}

void WeightedSum::PlaceWindows() {
  positions_.clear();
  for (int64_t y = 0; y < out_.height; ++y) {
    for (int64_t x = 0; x < out_.width; ++x)
      positions_.push_back({static_cast<int32_t>(y * window_.stride_h - window_.pad_h),
                            static_cast<int32_t>(x * window_.stride_w - window_.pad_w)});
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

RequantizeConstants WeightedSum::ConstantsOf(int64_t output) const {
  const auto c = static_cast<size_t>(output);
  return {requantization_.scale[c], requantization_.offset[c],  requantization_.lowest,
          requantization_.highest,  requantization_.zero_point, requantization_.zero_below};
}

RequantizeConstants WeightedSum::ConstantsOf(int64_t output, std::span<const ChangedConstants> changed) const {
  RequantizeConstants constants = ConstantsOf(output);
  const auto found = std::lower_bound(changed.begin(), changed.end(), output,
                                      [](const ChangedConstants& c, int64_t o) { return c.output < o; });
  if (found != changed.end() && found->output == output) {
    constants.scale = found->scale;
    constants.offset = found->offset;
  }
  return constants;
}

void WeightedSum::Pool(int64_t channel, int count, const int32_t* sums, std::span<const ChangedConstants> changed,
                       const Kernels& kernels, int32_t* into) const {
  if (!any_scale_falls_ && changed.empty())
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
  const bool whole_input = window_.kernel_h == in_.height && window_.kernel_w == in_.width && window_.pad_h == 0 &&
                           window_.pad_w == 0 && groups_ == 1;
  if (requantization_.real || positions() != 1 || !whole_input) return false;
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
  const int64_t step = arrangement.planes_per_group * groups_ * kQuadBytes;
  uint8_t* quad = quads + plane * kQuadBytes;
  for (int64_t py = 0; py < padded_h_; ++py) {
    const int64_t y = py - window_.pad_h;
    for (int64_t px = 0; px < padded_w_; ++px, quad += step) {
      const uint8_t* sources[4];
      for (int slot = 0; slot < 4; ++slot) {
        const int64_t x = px - window_.pad_w + slot % shape.columns * window_.dilation_w;
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

const uint8_t* WeightedSum::QuadAt(const Arrangement& arrangement, const uint8_t* quads, int64_t group, int64_t oy,
                                   int64_t ox) const {
  const int64_t pixel = oy * window_.stride_h * padded_w_ + ox * window_.stride_w;
  return quads + (pixel * groups_ + group) * arrangement.planes_per_group * kQuadBytes;
}

// The sums of `count` outputs from `channel` on at a position: `into`, or where they start if no tap comes to that.
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
    kernels.requantize(sums, correction, constants, rows + position * kRowBytes);
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

// ---- sparse ----

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
          const int64_t from_y = y + window_.pad_h - ky * window_.dilation_h;
          if (from_y < 0 || from_y % window_.stride_h != 0 || from_y / window_.stride_h >= out_.height) continue;
          int32_t* row = sums + from_y / window_.stride_h * out_.width * position_step +
                         places_[static_cast<size_t>(c)].group * outputs;
          const int32_t* columns = columns_.data() + (c * window_.kernel_h + ky) * window_.kernel_w * outputs;
          if (steps_by_one) {  // positions that see this input stand side by side, for the columns from last to first
            const int64_t first = std::max<int64_t>(0, x + window_.pad_w - (out_.width - 1));
            const int64_t last = std::min<int64_t>(window_.kernel_w - 1, x + window_.pad_w);
            if (first <= last)
              kernels.add_columns(columns + first * outputs, level, outputs, last - first + 1, -position_step,
                                  row + (x + window_.pad_w - first) * position_step);
            continue;
          }
          for (int64_t kx = 0; kx < window_.kernel_w; ++kx) {
            const int64_t from_x = x + window_.pad_w - kx * window_.dilation_w;
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
      StoreOutput(channel, at, workspace.pooled.data(), 0, ConstantsOf(channel), kernels, rows, output.reals);
    }
  }
}

// ---- differential ----

// Computing the changed planes' contribution anew against all products, by what the kernels cost.
double WeightedSum::ChangedShare(const ChangedValue& input, const KernelCosts& costs) const {
  const auto cost = [&](const Arrangement& arrangement, double planes) {
    const double quads = planes * static_cast<double>(padded_h_ * padded_w_);
    const double taps = planes / groups_ * static_cast<double>(arrangement.taps_per_plane * terms_ * out_.elements());
    const double codes = static_cast<double>(out_.elements() / pool_h_ / pool_w_);
    return quads * costs.quad + taps * costs.tap + codes * costs.code_row;
  };
  const auto changed = static_cast<int64_t>(input.channels().size());
  // Neighbouring channels share planes.
  const int64_t planes =
      std::min(CeilDivide(changed, differential_.quad.channels) + 1, differential_.planes_per_group * groups_);
  return cost(differential_, static_cast<double>(planes)) /
         cost(dense_, static_cast<double>(dense_.planes_per_group * groups_));
}

// The groups and planes of the changed channels. Groups have the same taps: where a plane is changed in some groups
// only, its contribution to the others is taken away and comes back.
void WeightedSum::PlanesOf(std::span<const int32_t> channels, std::vector<int32_t>& groups,
                           std::vector<int32_t>& planes) const {
  for (int32_t channel : channels) {
    const auto [group, plane] = places_[static_cast<size_t>(channel)];
    if (groups.empty() || groups.back() != group) groups.push_back(group);
    if (planes.empty() || planes.back() != plane) planes.push_back(plane);
  }
  if (groups.size() < 2) return;
  std::sort(planes.begin(), planes.end());
  planes.erase(std::unique(planes.begin(), planes.end()), planes.end());
}

// Makes `state` hold the taps of the planes, with their weights.
void WeightedSum::SelectTaps(State& state) const {
  std::vector<int64_t> taps;
  state.offsets.clear();
  for (int term = 0; term < terms_; ++term) {
    for (int32_t plane : state.planes) {
      const int64_t first = (term * differential_.planes_per_group + plane) * differential_.taps_per_plane;
      for (int64_t tap = first; tap < first + differential_.taps_per_plane; ++tap) {
        taps.push_back(tap);
        state.offsets.push_back(differential_.offsets[static_cast<size_t>(tap)]);
      }
    }
  }
  std::vector<uint32_t> by_tap;
  for (int64_t group = 0; group < groups_; ++group) {
    ForEachOutputBlock(group, [&](int64_t channel, int count) {
      const uint32_t* packed = differential_.by_tap.data() + channel * differential_.taps();
      for (int64_t tap : taps) by_tap.insert(by_tap.end(), packed + tap * count, packed + (tap + 1) * count);
    });
  }
  PackBlocks(by_tap, static_cast<int64_t>(taps.size()), state.weights, state.starts);
}

void WeightedSum::ExpandChanged(const BlockChange& change, bool golden, Workspace& workspace,
                                const State& state) const {
  uint8_t* quads = Resized(workspace.changed_quads, differential_).data();
  const ChangedValue& input = *change.inputs[0];
  for (int32_t group : state.groups) {
    for (int32_t plane : state.planes) {
      ExpandPlane(
          differential_, group * differential_.planes_per_group + plane,
          [&](int64_t c) { return golden ? input.golden(c) : input.channel(c); }, *workspace.kernels, quads);
    }
  }
}

// Sums without the changed planes, which are kept for the next change of the same ones, and the planes' taps.
WeightedSum::Program WeightedSum::ProgramOfChangedPlanes(const BlockChange& change, Workspace& workspace,
                                                         State& state) const {
  const Kernels& kernels = *workspace.kernels;
  std::vector<int32_t> groups, planes;
  PlanesOf(change.inputs[0]->channels(), groups, planes);
  // A set that holds these planes and some more serves as well, and its base may be there already: kept until the work
  // wasted on the others would have paid for a new one.
  std::vector<int32_t> both;
  std::set_union(state.planes.begin(), state.planes.end(), planes.begin(), planes.end(), std::back_inserter(both));
  const bool has_planes = groups == state.groups && both.size() == state.planes.size();
  if (has_planes) state.wasted += state.planes.size() - planes.size();
  if (!has_planes || state.wasted > kWorthOfABase * planes.size()) {
    const bool overlap = both.size() < state.planes.size() + planes.size();
    state.planes = !has_planes && overlap && groups == state.groups ? std::move(both) : std::move(planes);
    state.groups = std::move(groups);
    state.block = -1;
    state.wasted = 0;
    SelectTaps(state);
  }
  Program program{&differential_, Resized(workspace.changed_quads, differential_).data(), state.offsets,
                  state.weights.data(), state.starts};
  if (state.block != change.block) {
    state.block = change.block;
    state.base.resize(static_cast<size_t>(out_.elements() * kBlockImages));
    workspace.sums.resize(kMostOutputsPerCall * kBlockImages);
    ExpandChanged(change, true, workspace, state);
    for (int32_t group : state.groups) {
      ForEachOutputBlock(group, [&](int64_t channel, int count) {
        for (int64_t position = 0; position < positions(); ++position) {
          const int32_t* sums = ProductsAt(program, channel, count, position, kernels, workspace.sums.data());
          for (int64_t o = 0; o < count; ++o) {
            const int64_t at = ((channel + o) * positions() + position) * kBlockImages;
            kernels.subtract(change.golden_sums + at, sums + o * kBlockImages, state.base.data() + at);
          }
        }
      });
    }
  }
  ExpandChanged(change, false, workspace, state);
  program.initial = state.base.data();
  return program;
}

// All products of one output with its changed weights. The workspace's quads hold the whole input.
WeightedSum::Program WeightedSum::ProgramOfOutput(int64_t channel, std::span<const WeightDelta> deltas,
                                                  Workspace& workspace) const {
  std::vector<int> levels(static_cast<size_t>(products_));
  for (int64_t i = 0; i < products_; ++i) levels[static_cast<size_t>(i)] = LevelAt(channel, i);
  for (const WeightDelta& delta : deltas) levels[static_cast<size_t>(delta.source)] += delta.level_delta;
  workspace.weights.clear();
  for (int64_t tap = 0; tap < dense_.taps(); ++tap) {
    workspace.weights.push_back(PackedTap(dense_, tap, [&](int32_t i) { return levels[static_cast<size_t>(i)]; }));
  }
  Program program{&dense_, workspace.quads.data(), dense_.offsets, workspace.weights.data()};
  program.has_changed_weights = true;
  return program;
}

// The input's row that a weight meets at a position.
const uint8_t* WeightedSum::RowUnder(const BlockChange& change, const WeightDelta& delta, int64_t position) const {
  const int32_t kernel = window_.kernel_h * window_.kernel_w;
  const int64_t channel = delta.output / outputs_per_group() * group_inputs_ + delta.source / kernel;
  const Position& at = positions_[static_cast<size_t>(position)];
  const int64_t y = at.y + delta.source % kernel / window_.kernel_w * window_.dilation_h;
  const int64_t x = at.x + delta.source % window_.kernel_w * window_.dilation_w;
  const bool inside = y >= 0 && y < in_.height && x >= 0 && x < in_.width;
  return inside ? change.inputs[0]->channel(channel) + (y * in_.width + x) * kRowBytes : padding_row_.data();
}

// What changed weights of one output add to its sums at a position.
void WeightedSum::AddDeltas(const BlockChange& change, std::span<const WeightDelta> deltas, int64_t position,
                            const Kernels& kernels, const int32_t* from, int32_t* into) const {
  for (const WeightDelta& delta : deltas) {
    kernels.add_scaled_row(RowUnder(change, delta, position), delta.level_delta, from, into);
    from = into;
  }
}

// An output of which one weight changed and nothing else: from golden sums to codes in one go.
void WeightedSum::RunOutputOfOneDelta(const BlockChange& change, const WeightDelta& delta, Workspace& workspace) const {
  const int32_t* golden = change.golden_sums + delta.output * positions() * kBlockImages;
  const auto correction =
      static_cast<int32_t>(static_cast<uint32_t>(corrections_[static_cast<size_t>(delta.output)]) -
                           static_cast<uint32_t>(zero_point_) * static_cast<uint32_t>(delta.level_delta));
  const RequantizeConstants constants = ConstantsOf(delta.output);
  workspace.row_pointers.resize(window_steps_.size());
  workspace.sum_pointers.resize(window_steps_.size());
  uint8_t* row = change.output->Begin(delta.output);
  const uint8_t* before = change.output->golden(delta.output);
  uint64_t lanes = 0;
  for (size_t at = 0; at < window_starts_.size(); ++at, row += kRowBytes, before += kRowBytes) {
    for (size_t p = 0; p < window_steps_.size(); ++p) {
      const int64_t position = window_starts_[at] + window_steps_[p];
      workspace.sum_pointers[p] = golden + position * kBlockImages;
      workspace.row_pointers[p] = RowUnder(change, delta, position);
    }
    lanes |=
        workspace.kernels->changed_row(workspace.sum_pointers.data(), workspace.row_pointers.data(),
                                       window_steps_.size(), delta.level_delta, correction, constants, before, row);
  }
  change.output->FinishCompared(delta.output, lanes & change.valid);
}

// Computes `count` outputs from `channel` on; `deltas` are those of their weights.
void WeightedSum::RunOutputs(const BlockChange& change, const Program& program, int64_t channel, int count,
                             std::span<const WeightDelta> deltas, Workspace& workspace) const {
  const Kernels& kernels = *workspace.kernels;
  std::array<std::span<const WeightDelta>, kMostOutputsPerCall> deltas_of = {};
  std::array<int32_t, kMostOutputsPerCall> corrections = {};
  std::array<uint64_t, kMostOutputsPerCall> lanes = {};
  std::array<RequantizeConstants, kMostOutputsPerCall> constants;
  for (int o = 0; o < count; ++o) {
    constants[static_cast<size_t>(o)] = ConstantsOf(channel + o, change.constants);
    const auto [first, last] =
        std::equal_range(deltas.begin(), deltas.end(), WeightDelta{static_cast<int32_t>(channel + o), 0, 0},
                         [](const WeightDelta& a, const WeightDelta& b) { return a.output < b.output; });
    deltas_of[static_cast<size_t>(o)] = {first, last};
    uint32_t sum = 0;
    for (auto delta = first; delta != last; ++delta) sum += static_cast<uint32_t>(delta->level_delta);
    corrections[static_cast<size_t>(o)] =
        static_cast<int32_t>(static_cast<uint32_t>(corrections_[static_cast<size_t>(channel + o)]) -
                             static_cast<uint32_t>(zero_point_) * sum);
  }
  const auto pooled_positions = static_cast<int64_t>(window_starts_.size());
  for (int64_t at = 0; at < pooled_positions; ++at) {
    const int32_t* pooled = nullptr;
    for (size_t p = 0; p < window_steps_.size(); ++p) {
      const int64_t position = window_starts_[static_cast<size_t>(at)] + window_steps_[p];
      int32_t* into = p == 0 ? workspace.pooled.data() : workspace.sums.data();
      const int32_t* sums = ProductsAt(program, channel, count, position, kernels, into);
      for (int64_t o = 0; o < count && !deltas.empty() && !program.has_changed_weights; ++o) {
        const auto& own = deltas_of[static_cast<size_t>(o)];
        if (own.empty()) continue;
        AddDeltas(change, own, position, kernels, sums + o * kBlockImages, into + o * kBlockImages);
        sums = into;  // sums that no tap came to are those of one output
      }
      if (p == 0) {
        pooled = sums;
        if (sums == into || window_steps_.size() == 1) continue;
        std::memcpy(into, sums, kBlockImages * sizeof(int32_t));  // golden sums, of one output
        pooled = into;
      } else {
        Pool(channel, count, sums, change.constants, kernels, workspace.pooled.data());
      }
    }
    for (int o = 0; o < count; ++o) {
      const int32_t* sums = pooled + o * kBlockImages;
      const auto out = static_cast<size_t>(o);
      if (requantization_.real)
        StoreOutput(channel + o, at, sums, corrections[out], constants[out], kernels, nullptr, change.reals);
      else
        lanes[out] |= kernels.requantize_and_compare(sums, corrections[out], constants[out],
                                                     change.output->golden(channel + o) + at * kRowBytes,
                                                     change.output->Begin(channel + o) + at * kRowBytes);
    }
  }
  for (int o = 0; o < count && !requantization_.real; ++o)
    change.output->FinishCompared(channel + o, lanes[static_cast<size_t>(o)] & change.valid);
}

void WeightedSum::RunChanged(const BlockChange& change, Workspace& workspace, std::any& any_state) const {
  workspace.kernels->prepare();
  if (!any_state.has_value()) any_state = State();
  State& state = std::any_cast<State&>(any_state);
  const ChangedValue& input = *change.inputs[0];
  const int64_t per_group = outputs_per_group();
  workspace.sums.resize(kMostOutputsPerCall * kBlockImages);
  workspace.pooled.resize(kMostOutputsPerCall * kBlockImages);

  std::vector<uint8_t> group_changed(static_cast<size_t>(groups_), 0);
  for (int32_t channel : input.channels())
    group_changed[static_cast<size_t>(places_[static_cast<size_t>(channel)].group)] = 1;
  const auto new_rows = [&](int64_t c) { return input.channel(c); };
  Program program;
  bool expanded_all = false;
  const auto expand_all = [&] {
    if (!expanded_all) ExpandAll(new_rows, workspace);
    expanded_all = true;
  };
  if (!input.channels().empty()) {
    if (ChangedShare(input, *workspace.costs) < 1.0) {
      program = ProgramOfChangedPlanes(change, workspace, state);
    } else {
      expand_all();
      program = {&dense_, workspace.quads.data(), dense_.offsets, dense_.weights.data(), dense_.starts};
    }
  }
  size_t next = 0, next_constants = 0;
  for (int64_t group = 0; group < groups_; ++group) {
    const int64_t last = (group + 1) * per_group;
    const size_t begin = next, begin_constants = next_constants;
    while (next < change.deltas.size() && change.deltas[next].output < last) ++next;
    while (next_constants < change.constants.size() && change.constants[next_constants].output < last) ++next_constants;
    const auto deltas = change.deltas.subspan(begin, next - begin);
    const auto constants = change.constants.subspan(begin_constants, next_constants - begin_constants);
    if (group_changed[static_cast<size_t>(group)] != 0) {
      ForEachOutputBlock(
          group, [&](int64_t channel, int count) { RunOutputs(change, program, channel, count, deltas, workspace); });
      continue;
    }
    // Only outputs whose own weights or constants changed: from the golden sums, or all products where changed weights
    // are many.
    for (size_t i = 0, k = 0; i < deltas.size() || k < constants.size();) {
      const int64_t channel = std::min<int64_t>(i < deltas.size() ? deltas[i].output : last,
                                                k < constants.size() ? constants[k].output : last);
      size_t end = i;
      while (end < deltas.size() && deltas[end].output == channel) ++end;
      const bool other_constants = k < constants.size() && constants[k].output == channel;
      const auto own = deltas.subspan(i, end - i);
      i = end;
      if (other_constants) ++k;
      const bool grows = !(requantization_.scale[static_cast<size_t>(channel)] < 0);
      if (own.size() == 1 && !other_constants && grows && !requantization_.real) {
        RunOutputOfOneDelta(change, own[0], workspace);
        continue;
      }
      Program of_output{.initial = change.golden_sums};
      if (static_cast<double>(own.size()) * workspace.costs->row >
          static_cast<double>(dense_.taps()) * workspace.costs->lone_tap) {
        expand_all();
        of_output = ProgramOfOutput(channel, own, workspace);
      }
      RunOutputs(change, of_output, channel, 1, own, workspace);
    }
  }
  if (!requantization_.real || change.real_lanes == nullptr) return;
  *change.real_lanes |= input.lanes();
  if (!change.deltas.empty() || !change.constants.empty()) *change.real_lanes |= change.valid;
}

}  // namespace steadfast::engine
