// A model as the operators that run it, in order. Internal to the engine.
#pragma once

#include <memory>
#include <vector>

#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {

struct Step {
  std::unique_ptr<Operator> operation;
  std::vector<int> inputs;  // values
  int output;
  int weight;  // index of the weight tensor, or -1
  std::string name;
};

// The steps of a model; with `fuse`, max-pools are taken into the convolutions before them where that gives the same.
std::vector<Step> MakeSteps(const model::QuantizedModel& model, bool fuse, InstructionSet set);

}  // namespace steadfast::engine
