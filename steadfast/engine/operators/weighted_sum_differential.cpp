// The differential rule of weighted sums: from golden sums and changed channels, weights and constants, what differs.
#include <algorithm>
#include <cstring>

#include "steadfast/engine/operators/weighted_sum_parts.h"

namespace steadfast::engine {
namespace {

// Making a base anew costs about as much as using it so many times.
constexpr size_t kWorthOfABase = 4;

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
  int64_t golden_run = -1;
  Buffer<int32_t> base;                                   // [out][position][64]
  std::vector<int32_t> asked_groups, asked_planes, both;  // of one call
};

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
  groups.clear();
  planes.clear();
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
  std::vector<int32_t>&groups = state.asked_groups, &planes = state.asked_planes, &both = state.both;
  PlanesOf(change.inputs[0]->channels(), groups, planes);
  // A set that holds these planes and some more serves as well, and its base may be there already: kept until the work
  // wasted on the others would have paid for a new one.
  both.clear();
  std::set_union(state.planes.begin(), state.planes.end(), planes.begin(), planes.end(), std::back_inserter(both));
  const bool has_planes = groups == state.groups && both.size() == state.planes.size();
  if (has_planes) state.wasted += state.planes.size() - planes.size();
  if (!has_planes || state.wasted > kWorthOfABase * planes.size()) {
    const bool overlap = both.size() < state.planes.size() + planes.size();
    state.planes = !has_planes && overlap && groups == state.groups ? both : planes;
    state.groups = groups;
    state.golden_run = -1;
    state.wasted = 0;
    SelectTaps(state);
  }
  Program program{&differential_, Resized(workspace.changed_quads, differential_).data(), state.offsets,
                  state.weights.data(), state.starts};
  if (state.golden_run != change.golden_run) {
    state.golden_run = change.golden_run;
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
  std::vector<uint32_t> by_tap;
  for (int64_t tap = 0; tap < dense_.taps(); ++tap)
    by_tap.push_back(PackedTap(dense_, tap, [&](int32_t i) { return levels[static_cast<size_t>(i)]; }));
  workspace.weights.clear();
  workspace.kernels->pack(by_tap, static_cast<int>(dense_.taps()), 1, largest_code_, workspace.weights);
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

// Computes `count` outputs from `channel` on, of which neither weights nor constants changed, to codes.
void WeightedSum::RunOutputsOfChangedInput(const BlockChange& change, const Program& program, int64_t channel,
                                           int count, Workspace& workspace) const {
  const Kernels& kernels = *workspace.kernels;
  std::array<uint64_t, kMostOutputsPerCall> lanes;
  std::fill_n(lanes.begin(), count, uint64_t{0});
  const RequantizeConstants range = ConstantsOf(channel);
  for (size_t at = 0; at < window_starts_.size(); ++at) {
    const auto products = [&](size_t p, int32_t* into) {
      return ProductsAt(program, channel, count, window_starts_[at] + window_steps_[p], kernels, into);
    };
    const int32_t* sums = products(0, workspace.pooled.data());
    for (size_t p = 1; p < window_steps_.size(); ++p)
      Pool(channel, count, products(p, workspace.sums.data()), {}, kernels, workspace.pooled.data());
    const auto row = static_cast<int64_t>(at) * kRowBytes;
    kernels.requantize_outputs({sums, count, corrections_.data() + channel, requantization_.scale.data() + channel,
                                requantization_.offset.data() + channel, range, change.output->golden(channel) + row,
                                change.output->Begin(channel) + row, change.output->rows_of_channel() * kRowBytes},
                               lanes.data());
  }
  for (int o = 0; o < count; ++o)
    change.output->FinishCompared(channel + o, lanes[static_cast<size_t>(o)] & change.valid);
}

uint64_t WeightedSum::RequantizedAndCompared(const int32_t* sums, int32_t correction,
                                             const RequantizeConstants& constants, const Kernels& kernels,
                                             const uint8_t* other, uint8_t* row) const {
  RequantizeRow(sums, correction, constants, kernels, row);
  return kernels.difference(row, other);
}

// Computes `count` outputs from `channel` on; `deltas` are those of their weights.
void WeightedSum::RunOutputs(const BlockChange& change, const Program& program, int64_t channel, int count,
                             std::span<const WeightDelta> deltas, Workspace& workspace) const {
  const bool by_kernels = !requantization_.real && !is_fixed_point();
  if (deltas.empty() && change.constants.empty() && by_kernels && program.arrangement != nullptr)
    return RunOutputsOfChangedInput(change, program, channel, count, workspace);
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
        static_cast<int32_t>(static_cast<uint32_t>(CorrectionOf(channel + o, Among(channel + o, change.constants))) -
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
        const auto& of_output = deltas_of[static_cast<size_t>(o)];
        if (of_output.empty()) continue;
        AddDeltas(change, of_output, position, kernels, sums + o * kBlockImages, into + o * kBlockImages);
        sums = into;  // holds all sums: without taps, there is only one output
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
      else if (is_fixed_point())
        lanes[out] |= RequantizedAndCompared(sums, corrections[out], constants[out], kernels,
                                             change.output->golden(channel + o) + at * kRowBytes,
                                             change.output->Begin(channel + o) + at * kRowBytes);
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
    workspace.kernels->prepare();
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
      const auto of_channel = deltas.subspan(i, end - i);
      i = end;
      if (other_constants) ++k;
      const bool grows = !(requantization_.scale[static_cast<size_t>(channel)] < 0);
      if (of_channel.size() == 1 && !other_constants && grows && !requantization_.real && !is_fixed_point()) {
        RunOutputOfOneDelta(change, of_channel[0], workspace);
        continue;
      }
      Program of_output{.initial = change.golden_sums};
      if (static_cast<double>(of_channel.size()) * workspace.costs->row >
          static_cast<double>(dense_.taps()) * workspace.costs->lone_tap) {
        workspace.kernels->prepare();
        expand_all();
        of_output = ProgramOfOutput(channel, of_channel, workspace);
      }
      RunOutputs(change, of_output, channel, 1, of_channel, workspace);
    }
  }
  if (!requantization_.real || change.real_lanes == nullptr) return;
  *change.real_lanes |= input.lanes();
  if (!change.deltas.empty() || !change.constants.empty()) *change.real_lanes |= change.valid;
}

}  // namespace steadfast::engine
