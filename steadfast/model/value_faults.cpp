#include "steadfast/model/value_faults.h"

#include <algorithm>

#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/operators/rearrange.h"

namespace steadfast::model {
namespace {

// Of a weighted sum whose one use is a max-pool, or the addition of something that was there before: its codes are
// never stored by themselves.
bool GoesOn(const QuantizedModel& model, size_t maker) {
  const Node& node = model.nodes[maker];
  if (!WeightOf(node)) return false;
  const Node* user = nullptr;
  for (const Node& other : model.nodes) {
    const auto uses = std::count(other.inputs.begin(), other.inputs.end(), node.output);
    if (uses == 0) continue;
    if (uses > 1 || user != nullptr) return false;
    user = &other;
  }
  if (user == nullptr) return false;
  if (user->operation.As<MaxPool>() != nullptr) return true;
  if (user->operation.As<Add>() == nullptr) return false;
  const int other = user->inputs[user->inputs[0] == node.output ? 1 : 0];
  return std::none_of(model.nodes.begin() + static_cast<std::ptrdiff_t>(maker), model.nodes.end(),
                      [&](const Node& later) { return later.output == other; });
}

}  // namespace

bool ValueFaults::empty() const {
  return std::all_of(values.begin(), values.end(), [](const OfValue& value) { return value.empty(); });
}

std::vector<int> StoredValues(const QuantizedModel& model) {
  std::vector<int> stored;
  if (!model.values.empty() && model.values[0].coding) stored.push_back(0);
  for (size_t n = 0; n < model.nodes.size(); ++n) {
    const Node& node = model.nodes[n];
    if (!model.value(node.output).coding || GoesOn(model, n)) continue;
    if (node.operation.As<Flatten>() != nullptr || node.operation.As<Rearrange>() != nullptr ||
        node.operation.As<Constant>() != nullptr)
      continue;
    stored.push_back(node.output);
  }
  return stored;
}

}  // namespace steadfast::model
