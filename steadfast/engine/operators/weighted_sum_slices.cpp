// Weighted sums on slices: tiles of outputs and places, from quads to quads.
#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <set>

#include "steadfast/engine/operators/weighted_sum_parts.h"

namespace steadfast::engine {
namespace {

// Places are computed in bands whose input stays in a cache while tile after tile of outputs takes it: the first cache,
// where the weights are few enough to be read again for each band; otherwise the second. Where it is measured,
// whichever is faster, or no bands.
constexpr int64_t kFewWeights = 16 * 1024, kFirstCache = 64 * 1024, kSecondCache = 384 * 1024,
                  kNoBands = int64_t{1} << 40;

// How many groups are computed together, so that planes of 4 channels belong to them alone.
int64_t GroupsTogether(int64_t groups, int64_t inputs, int64_t outputs) {
  for (const int64_t count : {1, 2, 4}) {
    if (count * inputs % 4 == 0 && count * outputs % 4 == 0) return std::min(count, groups);
  }
  return groups;
}

}  // namespace

// The choices that were measured, by ShapeKey.
template <typename Choice>
struct Measured {
  std::mutex mutex;
  std::map<std::vector<int64_t>, Choice> of_shape;
  static Measured& Get() {
    static Measured all;
    return all;
  }
  std::optional<Choice> Find(const std::vector<int64_t>& shape) {
    const std::lock_guard lock(mutex);
    const auto found = of_shape.find(shape);
    return found == of_shape.end() ? std::nullopt : std::optional(found->second);
  }
  void Add(const std::vector<int64_t>& shape, const Choice& choice) {
    const std::lock_guard lock(mutex);
    of_shape.emplace(shape, choice);
  }
};

struct WeightedSum::Slices {
  const SliceKernels* kernels;
  SliceSetting setting;
  int64_t in_channels, kernel_h, kernel_w;  // of the input as it lies: a linear layer is a window on all of it
  int terms;
  int64_t groups;  // computed together
  int64_t places_in_band;
  int pool;
  std::vector<int32_t> windows;       // [place][pool]
  std::vector<int32_t> targets;       // [place]
  std::vector<int32_t> other_places;  // [place]
  struct Source {
    int32_t channel, ky, kx;  // channel: of all
  };
  struct Part {  // groups that are computed together
    std::vector<int32_t> taps;
    std::vector<std::array<Source, 4>> sources;  // [tap]; channel -1: none
  };
  std::vector<Part> parts;
  static constexpr Source kNone{-1, 0, 0};
  Part InSteps(const Part& part, int64_t row_bytes) const;
  bool FillsSteps(const std::vector<Part>& in_steps, int64_t outputs) const;
  struct PackedTile {
    size_t part;
    int64_t first, end;  // outputs; end: of the part
    int outputs;
    size_t weights;  // index
    int taps_in_short;
  };
  std::vector<PackedTile> tiles;
  Buffer<uint32_t> weights;
  std::vector<int32_t> corrections;  // [output], filled up to whole tiles
  std::vector<float> scales, offsets;
  std::vector<std::array<int16_t, 4>> levels;  // of a tile
};

// Taps in steps of evenly spaced quads, those that are missing filled up: their weights are 0.
WeightedSum::Slices::Part WeightedSum::Slices::InSteps(const Part& part, int64_t row_bytes) const {
  const auto step = static_cast<size_t>(kernels->taps_in_step);
  Part result;
  for (size_t first = 0, end = 0; first < part.taps.size(); first = end) {
    int64_t stride = kSliceQuadBytes;
    for (end = first + 1; end < part.taps.size() && end - first < step; ++end) {
      const int64_t distance = part.taps[end] - part.taps[end - 1];
      if (end == first + 1 && distance > 0 && distance <= row_bytes) stride = distance;
      if (distance != stride) break;
    }
    for (size_t t = 0; t < step; ++t) {
      const bool is_there = first + t < end;
      result.taps.push_back(part.taps[first] + static_cast<int32_t>(t) * static_cast<int32_t>(stride));
      result.sources.push_back(is_there ? part.sources[first + t] : std::array<Source, 4>{kNone, kNone, kNone, kNone});
    }
  }
  return result;
}

// Whether tiles of taps and outputs are worth it: each takes 16 cycles where AVX-512 multiplies two registers in one.
bool WeightedSum::Slices::FillsSteps(const std::vector<Part>& in_steps, int64_t outputs) const {
  const auto taps_of = [](const std::vector<Part>& all) { return static_cast<int64_t>(all[0].taps.size()); };
  const int64_t steps = taps_of(in_steps) / kernels->taps_in_step * CeilDivide(outputs, kernels->outputs_in_step);
  return steps * 16 < taps_of(parts) * CeilDivide(outputs, 4) * 4 / 2;
}

std::vector<int64_t> WeightedSum::ShapeKey(const SliceSetting& setting) const {
  std::vector<int64_t> key = {static_cast<int64_t>(set_),
                              groups_,
                              terms_,
                              pool_h_,
                              pool_w_,
                              largest_code_,
                              format_.bits,
                              setting.add ? (setting.add->is_exact ? 3 : 1 + setting.add->can_be_refined) : 0};
  const model::Window& w = window_;
  for (const int size : {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.pad_top, w.pad_left, w.pad_bottom,
                         w.pad_right, w.dilation_h, w.dilation_w})
    key.push_back(size);
  const auto add = [&](const SliceLayout& layout) {
    key.insert(key.end(), {layout.shape.channels, layout.shape.height, layout.shape.width, layout.quad.columns,
                           layout.top, layout.left, layout.bottom, layout.right});
  };
  add(setting.inputs[0]);
  if (setting.output) add(*setting.output);
  if (setting.add) add(setting.other);
  return key;
}

bool WeightedSum::PrepareSlices(const SliceSetting& setting) {
  if (setting.inputs.size() != 1) return false;
  return PrepareSlices(setting, Measured<TileChoice>::Get().Find(ShapeKey(setting)).value_or(TileChoice{}));
}

void WeightedSum::ChooseTiles(Workspace& workspace) {
  if (slices_ == nullptr) return;
  const SliceSetting setting = slices_->setting;
  const std::vector<int64_t> shape = ShapeKey(setting);
  auto& measured = Measured<TileChoice>::Get();
  if (const auto known = measured.Find(shape)) {
    PrepareSlices(setting, *known);
    return;
  }
  // Codes as they may come, and room for what taps read behind them.
  const SliceLayout& in = setting.inputs[0];
  Buffer<uint8_t> input(static_cast<size_t>(in.bytes() + 64 * in.row_bytes()), 0);
  for (size_t i = 0; i < input.size(); ++i)
    input.data()[i] = static_cast<uint8_t>(i * 37 % static_cast<size_t>(largest_code_ + 1));
  Buffer<uint8_t> output(static_cast<size_t>(setting.output ? setting.output->bytes() : 0), 0);
  Buffer<uint8_t> other(static_cast<size_t>(setting.add ? setting.other.bytes() : 0), 0);
  std::vector<float> reals(static_cast<size_t>(out_.elements() * kBlockImages));
  const uint8_t* from = input.data();
  const SliceRun run{{&from, 1}, setting.add ? other.data() : nullptr, output.data(), reals.data()};
  workspace.kernels->prepare();
  const auto time = [&](const TileChoice& choice) {
    PrepareSlices(setting, choice);
    double least = 1e300;
    constexpr double kLong = 1e6;  // nanoseconds, after which one run tells enough
    for (int round = 0; round < 4 && (round < 2 || least < kLong); ++round) {
      const auto start = std::chrono::steady_clock::now();
      RunSlice(run, workspace);
      const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
      least = std::min(least, elapsed.count());
    }
    return least;
  };
  TileChoice best;
  double least = 1e300;
  std::set<std::pair<const SliceKernels*, int64_t>> tried;
  for (const TileChoice& choice : TileChoices()) {
    PrepareSlices(setting, choice);
    if (!tried.emplace(slices_->kernels, slices_->places_in_band).second) continue;
    constexpr double kWorthIt = 0.97;
    const double taken = time(choice);
    if (taken >= kWorthIt * least) continue;
    least = taken;
    best = choice;
  }
  measured.Add(shape, best);
  PrepareSlices(setting, best);
}

std::vector<WeightedSum::TileChoice> WeightedSum::TileChoices() const {
  std::vector<TileChoice> choices = {{}};
  for (const SliceKernels* kernels = SliceKernelsOf(set_); kernels != nullptr; kernels = kernels->other) {
    for (const int64_t band : {kFirstCache, kSecondCache, kNoBands}) choices.push_back({kernels, band});
  }
  return choices;
}

void WeightedSum::TakeTiles(int way) {
  if (slices_ == nullptr) return;
  const SliceSetting setting = slices_->setting;
  PrepareSlices(setting, TileChoices()[static_cast<size_t>(way)]);
}

bool WeightedSum::PrepareSlices(const SliceSetting& setting, const TileChoice& choice) {
  slices_ = nullptr;
  const SliceKernels* kernels = choice.kernels != nullptr ? choice.kernels : SliceKernelsOf(set_);
  if (kernels == nullptr || setting.inputs.size() != 1) return false;
  const SliceLayout& in = setting.inputs[0];
  // A linear layer takes a value that was flattened as it was before.
  const bool whole = in.shape != in_;
  if (whole && (in.shape.elements() != in_.channels || window_ != model::Window{} || groups_ > 1)) return false;
  if (in.quad.columns > 1 && (groups_ > 1 || window_.dilation_w > 1)) return false;
  auto slices = std::make_shared<Slices>();
  Slices& s = *slices;
  s.kernels = kernels;
  s.setting = setting;
  s.in_channels = in.shape.channels;
  s.kernel_h = whole ? in.shape.height : window_.kernel_h;
  s.kernel_w = whole ? in.shape.width : window_.kernel_w;
  s.terms = kernels->takes_int8 ? terms_ : 1;
  s.groups = GroupsTogether(groups_, group_inputs_, outputs_per_group());
  s.pool = static_cast<int>(window_steps_.size());

  const int64_t parts = CeilDivide(groups_, s.groups);
  for (int64_t p = 0; p < parts; ++p) {
    Slices::Part part;
    const int64_t first = whole ? 0 : p * s.groups * group_inputs_;
    const int64_t end = whole ? s.in_channels : std::min(in_.channels, first + s.groups * group_inputs_);
    for (int term = 0; term < s.terms; ++term) {
      for (int64_t ky = 0; ky < s.kernel_h; ++ky) {
        for (int64_t kx = 0; kx < s.kernel_w; kx += in.quad.columns) {
          for (int64_t channel = first; channel < end; channel += in.quad.channels) {
            std::array<Slices::Source, 4> sources;
            for (int slot = 0; slot < 4; ++slot) {
              const int64_t c = channel + slot / in.quad.columns, x = kx + slot % in.quad.columns;
              const bool inside = c < end && x < s.kernel_w;
              sources[static_cast<size_t>(slot)] = {inside ? static_cast<int32_t>(c) : -1, static_cast<int32_t>(ky),
                                                    static_cast<int32_t>(x)};
            }
            part.sources.push_back(sources);
            part.taps.push_back(static_cast<int32_t>(ky * window_.dilation_h * in.row_bytes() +
                                                     kx * window_.dilation_w * in.pixel_bytes() +
                                                     channel / in.quad.channels * kSliceQuadBytes));
          }
        }
      }
    }
    s.parts.push_back(std::move(part));
  }
  if (kernels->taps_in_step > 1) {
    std::vector<Slices::Part> in_steps;
    for (const Slices::Part& part : s.parts) in_steps.push_back(s.InSteps(part, in.row_bytes()));
    if (s.FillsSteps(in_steps, s.groups * outputs_per_group()))
      s.parts = std::move(in_steps);
    else
      s.kernels = kernels->of_few;
  }

  const int64_t pooled_w = out_.width / pool_w_;
  for (int64_t place = 0; place < static_cast<int64_t>(window_starts_.size()); ++place) {
    for (const int64_t step : window_steps_) {
      const Position& at = positions_[static_cast<size_t>(window_starts_[static_cast<size_t>(place)] + step)];
      s.windows.push_back(static_cast<int32_t>(in.at(at.y, at.x)));
    }
    const int64_t y = place / pooled_w, x = place % pooled_w;
    s.targets.push_back(setting.output ? static_cast<int32_t>(setting.output->at(y, x)) : 0);
    s.other_places.push_back(setting.add ? static_cast<int32_t>(setting.other.at(y, x)) : 0);
  }
  const int64_t weight_bytes = 4 * out_.channels * static_cast<int64_t>(s.parts[0].taps.size());
  const int64_t cache = choice.band_bytes > 0         ? choice.band_bytes
                        : weight_bytes <= kFewWeights ? kFirstCache
                                                      : kSecondCache;
  const int64_t rows_at_once = (cache / in.row_bytes() - s.kernel_h + 1) / (window_.stride_h * pool_h_);
  const auto all_places = static_cast<int64_t>(s.targets.size());
  s.places_in_band = std::min(all_places, std::max<int64_t>(1, rows_at_once) * pooled_w);
  PlanTiles(s);
  slices_ = std::move(slices);
  PackSlices(std::vector<uint8_t>(static_cast<size_t>(out_.channels), 1));
  return true;
}

std::shared_ptr<WeightedOperator> WeightedSum::Clone() const {
  auto clone = std::make_shared<WeightedSum>(*this);
  if (slices_ != nullptr) clone->slices_ = std::make_shared<Slices>(*slices_);
  return clone;
}

int64_t WeightedSum::PackedBytes() const {
  const size_t words = dense_.by_tap.size() + dense_.weights.size() + differential_.by_tap.size() +
                       differential_.weights.size() + columns_.size() +
                       (slices_ == nullptr ? 0 : slices_->weights.size());
  return static_cast<int64_t>(4 * words + sizeof(int16_t) * levels_.size());
}

void WeightedSum::PlanTiles(Slices& s) const {
  const int64_t outputs_of_part = s.groups * outputs_per_group();
  size_t words = 0;
  for (size_t p = 0; p < s.parts.size(); ++p) {
    const int64_t first = static_cast<int64_t>(p) * outputs_of_part;
    const int64_t end = std::min(out_.channels, first + outputs_of_part);
    for (int64_t output = first; output < end;) {
      const auto outputs =
          static_cast<int>(std::min<int64_t>(s.kernels->most_outputs, CeilDivide(end - output, 4) * 4));
      s.tiles.push_back({p, output, end, outputs, words, 0});
      const int64_t packed = CeilDivide(outputs, s.kernels->outputs_in_step) * s.kernels->outputs_in_step;
      words += s.parts[p].taps.size() * static_cast<size_t>(packed * s.kernels->words_of_tap);
      output += outputs;
    }
  }
  s.weights.assign(words, 0);
}

void WeightedSum::PackSlices(const std::vector<uint8_t>& is_changed) {
  Slices& s = *slices_;
  const auto padded = static_cast<size_t>(CeilDivide(out_.channels, 4) * 4 + s.kernels->most_outputs);
  s.corrections.assign(padded, 0);
  s.scales.assign(padded, 0.0f);
  s.offsets.assign(padded, 0.0f);
  for (size_t o = 0; o < corrections_.size(); ++o)
    s.corrections[o] =
        static_cast<int32_t>(static_cast<uint32_t>(corrections_[o]) +
                             static_cast<uint32_t>(s.kernels->code_shift) * static_cast<uint32_t>(level_sums_[o]));
  std::copy(requantization_.scale.begin(), requantization_.scale.end(), s.scales.begin());
  std::copy(requantization_.offset.begin(), requantization_.offset.end(), s.offsets.begin());
  const int64_t kernel = s.kernel_h * s.kernel_w;
  for (Slices::PackedTile& tile : s.tiles) {
    const int64_t last = std::min(tile.end, tile.first + tile.outputs);
    if (std::none_of(is_changed.begin() + tile.first, is_changed.begin() + last, [](uint8_t c) { return c != 0; }))
      continue;
    const Slices::Part& part = s.parts[tile.part];
    const size_t taps = part.taps.size(), taps_of_term = taps / static_cast<size_t>(s.terms);
    s.levels.clear();
    for (size_t tap = 0; tap < taps; ++tap) {
      for (int64_t o = tile.first; o < tile.first + tile.outputs; ++o) {
        std::array<int16_t, 4>& levels = s.levels.emplace_back();
        levels = {};
        if (o >= last) continue;
        const int64_t first_channel = groups_ == 1 ? 0 : o / outputs_per_group() * group_inputs_;
        for (size_t slot = 0; slot < 4; ++slot) {
          const Slices::Source& source = part.sources[tap][slot];
          const int64_t in_group = source.channel - first_channel;
          const bool connected = source.channel >= 0 && (groups_ == 1 || (in_group >= 0 && in_group < group_inputs_));
          if (!connected) continue;
          const int level = LevelAt(o, in_group * kernel + source.ky * s.kernel_w + source.kx);
          levels[slot] =
              s.terms == 1 ? static_cast<int16_t>(level) : TermOf(level, static_cast<int>(tap / taps_of_term), s.terms);
        }
      }
    }
    tile.taps_in_short = s.kernels->pack(s.levels, tile.outputs, largest_code_, s.weights.data() + tile.weights);
  }
}

// The codes of a tile's outputs by fixed-point scales.
void WeightedSum::QuadsFromSums(const Tile& tile, int64_t first, uint8_t* codes) const {
  const int64_t count = std::min<int64_t>(tile.outputs, out_.channels - first);
  const IntegerKernels& kernels = IntegerKernelsOf(set_);
  const StepRange range = StepsOfCodes();
  for (int64_t at = 0; at < tile.places; ++at) {
    for (int64_t o = 0; o < count; ++o) {
      const int32_t* sums = tile.sums + (at * tile.outputs + o) * kSliceImages;
      const model::FixedPointScale& scale = requantization_.fixed_point[static_cast<size_t>(first + o)];
      uint8_t* to = codes + tile.targets[at] + o / 4 * kSliceQuadBytes + o % 4;
      std::array<uint8_t, kSliceImages> of_images;
      kernels.requantize(sums, kSliceImages, 0, scale, requantization_.rounds_twice, range, of_images.data());
      for (size_t i = 0; i < of_images.size(); ++i) to[4 * i] = of_images[i];
    }
  }
}

void WeightedSum::RunSlice(const SliceRun& run, Workspace& workspace) const {
  const Slices& s = *slices_;
  Tile tile{};
  tile.input = run.inputs[0];
  tile.pool = s.pool;
  tile.falls = has_negative_scale_;
  tile.range = engine::ConstantsOf(requantization_, 0.0f, 0.0f);
  tile.add = s.setting.add ? &*s.setting.add : nullptr;
  const auto places = static_cast<int64_t>(s.targets.size());
  for (int64_t place = 0; place < places; place += s.places_in_band) {
    tile.places = static_cast<int>(std::min(s.places_in_band, places - place));
    tile.windows = s.windows.data() + place * s.pool;
    tile.targets = s.targets.data() + place;
    tile.other_places = s.other_places.data() + place;
    for (const Slices::PackedTile& packed : s.tiles) {
      const Slices::Part& part = s.parts[packed.part];
      tile.taps = part.taps.data();
      tile.tap_count = static_cast<int>(part.taps.size());
      tile.weights = s.weights.data() + packed.weights;
      tile.taps_in_short = packed.taps_in_short;
      tile.outputs = packed.outputs;
      tile.corrections = s.corrections.data() + packed.first;
      tile.scales = s.scales.data() + packed.first;
      tile.offsets = s.offsets.data() + packed.first;
      const int64_t quad = packed.first / 4 * kSliceQuadBytes;
      if (!requantization_.real && !is_fixed_point()) {
        tile.codes = run.output + quad;
        tile.other = run.other == nullptr ? nullptr : run.other + quad;
        s.kernels->run(tile);
        continue;
      }
      workspace.sums.resize(static_cast<size_t>(tile.places * packed.outputs * kSliceImages));
      tile.sums = workspace.sums.data();
      s.kernels->run(tile);
      if (is_fixed_point()) {
        QuadsFromSums(tile, packed.first, run.output + quad);
        continue;
      }
      for (int64_t at = 0; at < tile.places; ++at) {
        for (int64_t o = 0; o < std::min<int64_t>(packed.outputs, out_.channels - packed.first); ++o) {
          const int32_t* sums = tile.sums + (at * packed.outputs + o) * kSliceImages;
          float* reals = run.reals + ((packed.first + o) * places + place + at) * kBlockImages;
          for (int64_t i = 0; i < kSliceImages; ++i) reals[i] = RealOf(sums[i], requantization_, packed.first + o);
        }
      }
    }
  }
}

}  // namespace steadfast::engine
