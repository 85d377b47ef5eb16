#include "steadfast/engine/plan.h"

#include <algorithm>

namespace steadfast::engine {
namespace {

int64_t CountUses(const model::QuantizedModel& model, int value) {
  int64_t uses = 0;
  for (const model::Node& node : model.nodes) uses += std::count(node.inputs.begin(), node.inputs.end(), value);
  return uses;
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

}  // namespace steadfast::engine
