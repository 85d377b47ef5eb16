#include "steadfast/model/model_change.h"

#include <cassert>

namespace steadfast::model {

bool ChangesCodings(const QuantizedModel& model, const ModelChange& change) {
  int last = -1;
  for (const Change& one : change.changes) {
    if (one.parameter == last) continue;
    last = one.parameter;
    if (HoldsActivationScale(model, last)) return true;
  }
  return false;
}

void Apply(const ModelChange& change, QuantizedModel& model) {
  for (const Change& one : change.changes) {
    uint32_t& stored = model.parameters[static_cast<size_t>(one.parameter)].bits[static_cast<size_t>(one.index)];
    assert(stored == one.old_bits);
    stored = one.new_bits;
  }
  if (ChangesCodings(model, change)) UpdateCodings(model);
}

void Undo(const ModelChange& change, QuantizedModel& model) {
  for (const Change& one : change.changes)
    model.parameters[static_cast<size_t>(one.parameter)].bits[static_cast<size_t>(one.index)] = one.old_bits;
  if (ChangesCodings(model, change)) UpdateCodings(model);
}

}  // namespace steadfast::model
