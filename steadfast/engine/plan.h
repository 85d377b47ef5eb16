// A model as the operators that run it, in order. Internal to the engine.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/model_change.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {

struct Step {
  std::shared_ptr<Operator> operation;  // engines of the same network share those with the same parameters
  std::vector<int> inputs;              // values
  int output;
  int weight;  // index of the weight parameter, or -1
  int node;    // index into QuantizedModel::nodes; the first, of several that are one step
  std::string name;

  WeightedOperator* weighted() const { return operation->weighted(); }
  // How many rows of sums the golden run keeps of it.
  int64_t sums_kept() const { return weighted() == nullptr ? 0 : weighted()->SumsKept(); }
};

// The steps of a model; with `fuse`, max-pools are taken into the convolutions before them where that gives the same.
std::vector<Step> MakeSteps(const model::QuantizedModel& model, bool fuse, InstructionSet set);
std::vector<model::Requantization> RequantizationsOf(std::span<const Step> steps,
                                                     const model::QuantizedModel& model);  // empty: without weights

// A change of parameters, step by step: of weights, and of the constants of requantization that other parameters give.
struct StepChanges {
  std::vector<std::vector<WeightDelta>> weights;         // [step], ascending by output
  std::vector<std::vector<ChangedConstants>> constants;  // [step], the same
};
// model: without the change. The change must not change codings.
StepChanges ChangesOfSteps(std::span<const Step> steps, std::span<const model::Requantization> requantizations,
                           const model::QuantizedModel& model, const model::ModelChange& change);

}  // namespace steadfast::engine
