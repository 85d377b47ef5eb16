#include "steadfast/model/model_change.h"

#include <cassert>

namespace steadfast::model {

void Apply(const ModelChange& change, QuantizedModel& model) {
  for (const Change& one : change.changes) {
    uint32_t& stored = model.parameters[static_cast<size_t>(one.parameter)].bits[static_cast<size_t>(one.index)];
    assert(stored == one.old_bits);
    stored = one.new_bits;
  }
}

void Undo(const ModelChange& change, QuantizedModel& model) {
  for (const Change& one : change.changes)
    model.parameters[static_cast<size_t>(one.parameter)].bits[static_cast<size_t>(one.index)] = one.old_bits;
}

}  // namespace steadfast::model
