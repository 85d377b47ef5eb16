#include "steadfast/engine/sliced.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {
namespace {

using model::QuantizedModel;

// Before it is known how a network is run: which steps take a value, and which makes it.
struct Flow {
  const QuantizedModel& model;
  const std::vector<Step>& steps;
  std::vector<std::vector<size_t>> users;  // [value]
  std::vector<int> maker;                  // [value]: step, or -1

  Flow(const QuantizedModel& m, const std::vector<Step>& s) : model(m), steps(s) {
    users.resize(m.values.size());
    maker.assign(m.values.size(), -1);
    for (size_t i = 0; i < s.size(); ++i) {
      for (const int input : s[i].inputs) users[static_cast<size_t>(input)].push_back(i);
      maker[static_cast<size_t>(s[i].output)] = static_cast<int>(i);
    }
  }
  template <typename Operation>
  const Operation* Is(size_t step) const {
    return model.nodes[static_cast<size_t>(steps[step].node)].operation.As<Operation>();
  }
  bool OnlyWeightedUse(int value) const {
    const auto& all = users[static_cast<size_t>(value)];
    return std::all_of(all.begin(), all.end(), [&](size_t s) { return steps[s].weighted() != nullptr; });
  }
  // The value that a flattened one is held as, where only weighted sums take it.
  int HeldAs(int value) const {
    const int step = maker[static_cast<size_t>(value)];
    if (step < 0 || Is<model::Flatten>(static_cast<size_t>(step)) == nullptr || !OnlyWeightedUse(value)) return value;
    return HeldAs(steps[static_cast<size_t>(step)].inputs[0]);
  }
};

// The first layer's few channels leave slots to neighbouring pixels.
QuadShape QuadOfInput(const Flow& flow, const model::ValueShape& shape) {
  const auto only_plain_sums = [&](const auto& self, int value) -> bool {
    return std::all_of(flow.users[static_cast<size_t>(value)].begin(), flow.users[static_cast<size_t>(value)].end(),
                       [&](size_t s) {
                         const Step& step = flow.steps[s];
                         if (step.weighted() != nullptr)
                           return step.weighted()->groups() == 1 && step.weighted()->window().dilation_w == 1;
                         return flow.HeldAs(step.output) == value && self(self, step.output);
                       });
  };
  if (shape.channels > 2 || !only_plain_sums(only_plain_sums, 0)) return {4, 1};
  return shape.channels == 1 ? QuadShape{1, 4} : QuadShape{2, 2};
}

SliceLayout LayoutOf(const Flow& flow, int value) {
  SliceLayout layout;
  layout.shape = flow.model.value(value).shape;
  for (const size_t user : flow.users[static_cast<size_t>(value)]) {
    const WeightedOperator* weighted = flow.steps[user].weighted();
    if (weighted == nullptr) continue;
    const model::Window& window = weighted->window();
    layout.top = std::max<int64_t>(layout.top, window.pad_top);
    layout.left = std::max<int64_t>(layout.left, window.pad_left);
    layout.bottom = std::max<int64_t>(layout.bottom, window.pad_bottom);
    layout.right = std::max<int64_t>(layout.right, window.pad_right);
  }
  if (value == 0) layout.quad = QuadOfInput(flow, layout.shape);
  return layout;
}

AddedOperand AdditionOf(const QuantizedModel& model, const model::Node& add, int sum, int other) {
  const QuantizeConstants q = ConstantsOf(model.value(add.output), add);
  AddedOperand result{OperandOf(*model.value(sum).coding), OperandOf(*model.value(other).coding), q};
  if (q.zero_below > q.highest) {  // all codes are below: kernels take thresholds for bytes
    result.constants.highest = q.lowest;
    result.constants.zero_below = 0;
  }
  result.reciprocal = 1 / q.scale;
  int exponent = 0;
  result.is_exact = std::frexp(q.scale, &exponent) == 0.5f && std::abs(exponent) < 100;
  result.can_be_refined = engine::CanBeRefined(result.of_sum, result.of_other, q.scale);
  return result;
}

// The step whose sum an addition can be taken behind, or -1: the later one of its operands, if nothing else needs it.
int SumBeforeAddition(const Flow& flow, size_t add) {
  const Step& step = flow.steps[add];
  if (flow.Is<model::Add>(add) == nullptr || step.inputs[0] == step.inputs[1]) return -1;
  if (flow.model.profile != model::Profile::kOnnx) return -1;  // kernels add in float
  const auto maker = [&](int i) { return flow.maker[static_cast<size_t>(step.inputs[static_cast<size_t>(i)])]; };
  const int later = std::max(maker(0), maker(1));
  if (later < 0) return -1;
  const Step& sum = flow.steps[static_cast<size_t>(later)];
  const bool has_one_use = flow.users[static_cast<size_t>(sum.output)].size() == 1;
  const int other = step.inputs[step.inputs[0] == sum.output ? 1 : 0];
  // Pools between them, and an input of other quads, go their own way.
  const model::Node& node = flow.model.nodes[static_cast<size_t>(sum.node)];
  if (sum.weighted() == nullptr || !has_one_use || node.output != sum.output || other == 0) return -1;
  if (flow.HeldAs(other) != other) return -1;
  const model::ActivationCoding& coding = *flow.model.value(sum.output).coding;
  const bool has_threshold = model::QuantizationOf(coding, node.activation).zero_below > 0;
  return has_threshold ? -1 : later;
}

}  // namespace

std::unique_ptr<const SlicedPath> SlicedPath::Make(const QuantizedModel& model, const std::vector<Step>& steps,
                                                   InstructionSet set) {
  const SliceKernels* kernels = SliceKernelsOf(set);
  if (kernels == nullptr) return nullptr;
  const Flow flow(model, steps);
  auto path = std::make_unique<SlicedPath>();
  path->kernels_ = kernels;
  path->values_.resize(model.values.size());
  for (size_t v = 0; v < model.values.size(); ++v) {
    const auto value = static_cast<int>(v);
    path->zero_points_.push_back(model.values[v].coding ? static_cast<uint8_t>(model.values[v].coding->zero_point)
                                                        : uint8_t{0});
    path->held_as_.push_back(flow.HeldAs(value));
    path->values_[v].layout = LayoutOf(flow, flow.HeldAs(value));
  }
  const auto held = [&](int value) -> Held& { return path->values_[static_cast<size_t>(value)]; };
  const auto setting_of = [&](const Step& step, int output) {
    SliceSetting setting;
    for (const int input : step.inputs) setting.inputs.push_back(held(input).layout);
    if (model.value(output).coding) setting.output = held(output).layout;
    return setting;
  };

  // Which steps go slice by slice, and which additions behind a sum.
  std::vector<int> added(steps.size(), -1);  // [step]: the addition behind it
  std::vector<uint8_t> by_slices(steps.size(), 0), is_done(steps.size(), 0);
  for (size_t s = 0; s < steps.size(); ++s) {
    const int sum = SumBeforeAddition(flow, s);
    if (sum >= 0) added[static_cast<size_t>(sum)] = static_cast<int>(s);
  }
  for (size_t s = 0; s < steps.size(); ++s) {
    const Step& step = steps[s];
    if (is_done[s] != 0) continue;
    if (added[s] >= 0) {
      const Step& add = steps[static_cast<size_t>(added[s])];
      const int other = add.inputs[add.inputs[0] == step.output ? 1 : 0];
      SliceSetting setting = setting_of(step, add.output);
      setting.add = AdditionOf(model, model.nodes[static_cast<size_t>(add.node)], step.output, other);
      setting.other = held(other).layout;
      if (step.operation->PrepareSlices(setting)) {
        by_slices[s] = 1;
        is_done[static_cast<size_t>(added[s])] = 1;
        continue;
      }
      added[s] = -1;
    }
    if (flow.HeldAs(step.output) != step.output) {
      is_done[s] = 1;  // flattened: held as it was
      continue;
    }
    by_slices[s] = step.operation->PrepareSlices(setting_of(step, step.output)) ? 1 : 0;
    // What was flattened in passing is there as quads alone.
    const bool needs_quads =
        std::any_of(step.inputs.begin(), step.inputs.end(), [&](int input) { return flow.HeldAs(input) != input; });
    if (by_slices[s] == 0 && needs_quads) return nullptr;
    path->has_row_steps_ |= by_slices[s] == 0 && step.weighted() != nullptr;
  }

  std::vector<size_t> stage_of(model.values.size(), 0);  // [value]: that makes it
  std::vector<uint8_t> in_quads(model.values.size(), 0);
  std::vector<size_t> last_use(model.values.size(), 0);  // [value]: action, counted through all stages
  std::vector<uint8_t> leaves(model.values.size(), 0);   // [value]: its quads are used behind the stage that makes them
  size_t actions = 0;
  const auto use = [&](int value, bool sliced) {
    const auto v = static_cast<size_t>(flow.HeldAs(value));
    Stage& stage = path->stages_.back();
    if (sliced && in_quads[v] == 0) {
      if (std::find(stage.quads_made.begin(), stage.quads_made.end(), static_cast<int>(v)) == stage.quads_made.end())
        stage.quads_made.push_back(static_cast<int>(v));
      held(static_cast<int>(v)).has_rows = v != 0;
    } else if (sliced && stage_of[v] + 1 != path->stages_.size()) {
      leaves[v] = 1;
    } else if (!sliced && in_quads[v] != 0) {
      leaves[v] = 1;
      Held& h = held(static_cast<int>(v));
      if (!h.must_be_split) path->stages_[stage_of[v]].rows_made.push_back(static_cast<int>(v));
      h.must_be_split = h.has_rows = true;
    }
    last_use[v] = actions;
  };
  for (size_t s = 0; s < steps.size(); ++s) {
    if (is_done[s] != 0) continue;
    const bool sliced = by_slices[s] != 0;
    if (path->stages_.empty() || !sliced || !path->stages_.back().by_slices) {
      path->stages_.emplace_back();
      path->stages_.back().by_slices = sliced;
    }
    Action action{s, steps[s].inputs, steps[s].output};
    for (int& input : action.inputs) {
      use(input, sliced);
      input = flow.HeldAs(input);
    }
    if (added[s] >= 0) {
      const Step& add = steps[static_cast<size_t>(added[s])];
      action.other = add.inputs[add.inputs[0] == steps[s].output ? 1 : 0];
      action.output = add.output;
      use(action.other, sliced);
    }
    const auto output = static_cast<size_t>(action.output);
    stage_of[output] = path->stages_.size() - 1;
    in_quads[output] = sliced ? 1 : 0;
    last_use[output] = actions;
    if (!sliced && model.values[output].coding) held(action.output).has_rows = true;
    path->stages_.back().actions.push_back(std::move(action));
    ++actions;
  }

  // Memory: of values that stay within a stage, one slice, which others of the same layout take over.
  std::vector<std::vector<int>> dying(actions);
  for (size_t v = 0; v < model.values.size(); ++v) {
    if (leaves[v] == 0 && actions > 0) dying[std::min(last_use[v], actions - 1)].push_back(static_cast<int>(v));
  }
  std::vector<int> unused;  // memories
  const auto take = [&](int value) {
    Held& h = held(value);
    const auto v = static_cast<size_t>(value);
    if (h.memory >= 0 || !model.values[v].coding) return;
    const int64_t slices = leaves[v] != 0 ? kSlicesOfBlock : 1;
    const auto found = std::find_if(unused.begin(), unused.end(), [&](int m) {
      const Memory& memory = path->memories_[static_cast<size_t>(m)];
      return slices == 1 && memory.layout == h.layout && memory.padding == path->zero_points_[v];
    });
    if (found != unused.end()) {
      h.memory = *found;
      unused.erase(found);
      return;
    }
    h.memory = static_cast<int>(path->memories_.size());
    path->memories_.push_back({h.layout, path->zero_points_[v], slices});
  };
  size_t number = 0;
  for (const Stage& stage : path->stages_) {
    for (const int value : stage.quads_made) take(value);
    for (const Action& action : stage.actions) {
      if (stage.by_slices) take(action.output);
      for (const int value : dying[number]) {
        const int memory = held(value).memory;
        // What was made from rows may be made again in a later stage.
        if (memory >= 0 && in_quads[static_cast<size_t>(value)] != 0) unused.push_back(memory);
      }
      ++number;
    }
  }
  return path;
}

int64_t SlicedMemory::bytes() const {
  size_t bytes = 0;
  for (const auto& of_memory : quads) bytes += of_memory.size();
  for (const auto& of_value : rows) bytes += of_value.size();
  return static_cast<int64_t>(bytes);
}

void SlicedPath::Prepare(SlicedMemory& memory) const {
  if (!memory.quads.empty() || !memory.rows.empty()) return;
  for (const Memory& m : memories_) {
    // Taps that fill up a step are read too.
    const int64_t behind = kernels_->taps_in_step > 1 ? kernels_->taps_in_step * m.layout.row_bytes() : 0;
    memory.quads.emplace_back(static_cast<size_t>(m.slices * m.layout.bytes() + behind), m.padding);
  }
  for (const Held& held : values_)
    memory.rows.emplace_back(held.has_rows ? static_cast<size_t>(held.layout.shape.elements() * kRowBytes) : 0);
}

uint8_t* SlicedPath::QuadsOf(int value, int64_t slice, SlicedMemory& memory) const {
  const int number = values_[static_cast<size_t>(value)].memory;
  if (number < 0) return nullptr;
  const Memory& m = memories_[static_cast<size_t>(number)];
  return memory.quads[static_cast<size_t>(number)].data() + (m.slices == 1 ? 0 : slice * m.layout.bytes());
}

void SlicedPath::MakeQuads(int value, int64_t slice, const uint8_t* rows, SlicedMemory& memory) const {
  const SliceLayout& layout = values_[static_cast<size_t>(value)].layout;
  uint8_t* to = QuadsOf(value, slice, memory);
  std::array<uint8_t, kSliceImages> padding;
  padding.fill(zero_points_[static_cast<size_t>(value)]);
  const model::ValueShape& shape = layout.shape;
  // Quads of several pixels reach into the padding.
  const bool all = layout.quad.columns > 1;
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = all ? -layout.left : 0; x < shape.width + (all ? layout.right : 0); ++x) {
      for (int64_t plane = 0; plane < layout.planes(); ++plane) {
        const uint8_t* sources[4];
        for (int slot = 0; slot < 4; ++slot) {
          const int64_t channel = plane * layout.quad.channels + slot / layout.quad.columns;
          const int64_t column = x + slot % layout.quad.columns;
          const bool inside = channel < shape.channels && column >= 0 && column < shape.width;
          const int64_t element = (channel * shape.height + y) * shape.width + column;
          sources[slot] = inside ? rows + element * kRowBytes + slice * kSliceImages : padding.data();
        }
        kernels_->make_quad(sources, to + layout.at(y, x) + plane * kSliceQuadBytes);
      }
    }
  }
}

void SlicedPath::MakeRows(int value, int64_t slice, SlicedMemory& memory) const {
  const SliceLayout& layout = values_[static_cast<size_t>(value)].layout;
  const uint8_t* from = QuadsOf(value, slice, memory);
  uint8_t* to = memory.rows[static_cast<size_t>(value)].data();
  std::array<uint8_t, kSliceImages> unused;
  const model::ValueShape& shape = layout.shape;
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = 0; x < shape.width; ++x) {
      for (int64_t plane = 0; plane < layout.planes(); ++plane) {
        uint8_t* rows[4];
        for (int slot = 0; slot < 4; ++slot) {
          const int64_t channel = plane * 4 + slot;
          const int64_t element = (channel * shape.height + y) * shape.width + x;
          rows[slot] = channel < shape.channels ? to + element * kRowBytes + slice * kSliceImages : unused.data();
        }
        kernels_->split_quad(from + layout.at(y, x) + plane * kSliceQuadBytes, rows);
      }
    }
  }
}

void SlicedPath::RunFrom(const std::vector<Step>& steps, size_t first, int value, const uint8_t* rows, int64_t count,
                         Workspace& workspace, SlicedMemory& memory, float* logits, const BlockFaults& faults) const {
  Prepare(memory);
  workspace.kernels->prepare();
  value = held_as_[static_cast<size_t>(value)];
  const auto rows_of = [&](int v) { return v == value ? rows : memory.rows[static_cast<size_t>(v)].data(); };
  std::vector<const uint8_t*>& inputs = memory.inputs;
  for (const Stage& stage : stages_) {
    if (stage.actions.back().step < first) continue;
    const size_t begin = static_cast<size_t>(std::find_if(stage.actions.begin(), stage.actions.end(),
                                                          [&](const Action& action) { return action.step >= first; }) -
                                             stage.actions.begin());
    if (!stage.by_slices) {
      const Action& action = stage.actions.front();
      inputs.clear();
      for (const int input : action.inputs) inputs.push_back(rows_of(input));
      steps[action.step].operation->RunBlock(
          inputs, workspace, {memory.rows[static_cast<size_t>(action.output)].data(), logits, nullptr, count});
      if (const auto* of_value = faults.Of(action.output))
        ApplyToRows(*of_value, faults.block, memory.rows[static_cast<size_t>(action.output)].data());
      continue;
    }
    const auto is_needed = [&](int v) {
      return std::any_of(
          stage.actions.begin() + static_cast<int64_t>(begin), stage.actions.end(), [&](const Action& action) {
            return action.other == v || std::find(action.inputs.begin(), action.inputs.end(), v) != action.inputs.end();
          });
    };
    std::vector<int> made;  // quads, from rows
    for (const int v : stage.quads_made) {
      if (v != value && is_needed(v)) made.push_back(v);
    }
    if (is_needed(value)) made.push_back(value);
    for (int64_t slice = 0; slice * kSliceImages < count; ++slice) {
      for (const int v : made) MakeQuads(v, slice, rows_of(v), memory);
      for (size_t a = begin; a < stage.actions.size(); ++a) {
        const Action& action = stage.actions[a];
        inputs.clear();
        for (const int input : action.inputs) inputs.push_back(QuadsOf(input, slice, memory));
        steps[action.step].operation->RunSlice(
            {inputs, action.other < 0 ? nullptr : QuadsOf(action.other, slice, memory),
             QuadsOf(action.output, slice, memory), logits + slice * kSliceImages},
            workspace);
        if (const auto* of_value = faults.Of(action.output))
          ApplyToSlice(*of_value, faults.block, slice, values_[static_cast<size_t>(action.output)].layout,
                       QuadsOf(action.output, slice, memory));
      }
      for (const int v : stage.rows_made) {
        if (v != value) MakeRows(v, slice, memory);
      }
    }
  }
}

}  // namespace steadfast::engine
