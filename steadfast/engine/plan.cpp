#include "steadfast/engine/plan.h"

#include <algorithm>
#include <bit>

namespace steadfast::engine {
namespace {

int64_t CountUses(const model::QuantizedModel& model, int value) {
  int64_t uses = 0;
  for (const model::Node& node : model.nodes) uses += std::count(node.inputs.begin(), node.inputs.end(), value);
  return uses;
}

// A changed weight in every step that it serves.
void AddWeightDelta(std::span<const Step> steps, const model::Parameter& weight, const model::Change& change,
                    StepChanges& changes) {
  const model::CodeFormat& format = weight.format.codes;
  const int delta = format.level(format.code(change.new_bits)) - format.level(format.code(change.old_bits));
  for (size_t s = 0; s < steps.size(); ++s) {
    if (steps[s].weight != change.parameter) continue;
    changes.weights[s].push_back({static_cast<int32_t>(weight.OutputOf(change.index)),
                                  static_cast<int32_t>(weight.ProductOf(change.index)), delta});
  }
}

// Adds the outputs whose requantization constants are different with the changed parameters.
void AddConstants(std::span<const Step> steps, std::span<const model::Requantization> requantizations,
                  const model::QuantizedModel& model, const model::ChangedParameters& changed, StepChanges& changes) {
  for (size_t s = 0; s < steps.size(); ++s) {
    if (steps[s].weight < 0) continue;
    const model::Node& node = model.nodes[static_cast<size_t>(steps[s].node)];
    const auto used = model::ParametersOf(model, node);
    if (std::none_of(used.begin(), used.end(), [&](int p) { return changed.contains(p); })) continue;
    const model::Requantization before = requantizations[s], now = model::RequantizationOf(model, node, &changed);
    for (size_t o = 0; o < now.scale.size(); ++o) {
      const auto differs = [](float a, float b) { return std::bit_cast<uint32_t>(a) != std::bit_cast<uint32_t>(b); };
      const bool has_addend = !now.addend.empty(), is_fixed_point = !now.fixed_point.empty();
      if (differs(now.scale[o], before.scale[o]) || differs(now.offset[o], before.offset[o]) ||
          (has_addend && now.addend[o] != before.addend[o]) ||
          (is_fixed_point && now.fixed_point[o] != before.fixed_point[o]))
        changes.constants[s].push_back({static_cast<int32_t>(o), now.scale[o], now.offset[o],
                                        has_addend ? now.addend[o] : 0,
                                        is_fixed_point ? now.fixed_point[o] : model::FixedPointScale{}});
    }
  }
}

}  // namespace

std::vector<Step> MakeSteps(const model::QuantizedModel& model, bool fuse, InstructionSet set) {
  std::vector<Step> steps;
  for (size_t n = 0; n < model.nodes.size(); ++n) {
    const model::Node& node = model.nodes[n];
    Step step{MakeOperator(model, node, set),     node.inputs,         node.output,
              model::WeightOf(node).value_or(-1), static_cast<int>(n), node.name};
    if (fuse && n + 1 < model.nodes.size()) {
      const model::Node& next = model.nodes[n + 1];
      const auto* pool = next.operation.As<model::MaxPool>();
      if (pool != nullptr && step.weighted() != nullptr && next.input() == node.output &&
          CountUses(model, node.output) == 1 && step.weighted()->Fuse(*pool)) {
        step.output = next.output;
        ++n;
      }
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

std::vector<model::Requantization> RequantizationsOf(std::span<const Step> steps, const model::QuantizedModel& model) {
  std::vector<model::Requantization> requantizations;
  for (const Step& step : steps)
    requantizations.push_back(step.weighted() == nullptr
                                  ? model::Requantization{}
                                  : model::RequantizationOf(model, model.nodes[static_cast<size_t>(step.node)]));
  return requantizations;
}

StepChanges ChangesOfSteps(std::span<const Step> steps, std::span<const model::Requantization> requantizations,
                           const model::QuantizedModel& model, const model::ModelChange& change) {
  StepChanges changes;
  changes.weights.resize(steps.size());
  changes.constants.resize(steps.size());
  model::ChangedParameters changed;
  bool out_of_order = false;
  for (const model::Change& one : change.changes) {
    const model::Parameter& parameter = model.parameter(one.parameter);
    if (parameter.role == model::Role::kWeight) {
      AddWeightDelta(steps, parameter, one, changes);
      out_of_order |= parameter.output_axis != 0;
    } else {
      const auto copy = changed.emplace(one.parameter, parameter).first;
      copy->second.bits[static_cast<size_t>(one.index)] = one.new_bits;
    }
  }
  if (out_of_order) {
    for (auto& deltas : changes.weights) {
      std::stable_sort(deltas.begin(), deltas.end(),
                       [](const WeightDelta& a, const WeightDelta& b) { return a.output < b.output; });
    }
  }
  if (!changed.empty()) AddConstants(steps, requantizations, model, changed, changes);
  return changes;
}

}  // namespace steadfast::engine
