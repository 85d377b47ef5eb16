#include "steadfast/model/model_change.h"

#include <cassert>

namespace steadfast::model {

void Apply(const ModelChange& change, QuantizedModel& model) {
  for (const CodeChange& code : change.codes) {
    int16_t& stored = model.weights[static_cast<size_t>(code.tensor)].codes[static_cast<size_t>(code.index)];
    assert(stored == code.old_code);
    stored = code.new_code;
  }
}

void Undo(const ModelChange& change, QuantizedModel& model) {
  for (const CodeChange& code : change.codes) {
    model.weights[static_cast<size_t>(code.tensor)].codes[static_cast<size_t>(code.index)] = code.old_code;
  }
}

}  // namespace steadfast::model
