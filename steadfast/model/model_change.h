// What a fault, or anything else, does to a model: the engine's only view of memory errors.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::model {

// One stored element of one parameter holds other bits.
struct Change {
  int parameter;  // index into QuantizedModel::parameters
  int64_t index;  // of the element
  uint32_t old_bits;
  uint32_t new_bits;
  bool operator==(const Change&) const = default;
};

struct ModelChange {
  std::vector<Change> changes;  // sorted by (parameter, index), at most one an element, old_bits != new_bits

  bool empty() const { return changes.empty(); }
};

// Whether the scale of a value is among what changes: then every operator that makes or takes the value changes.
bool ChangesCodings(const QuantizedModel& model, const ModelChange& change);

// Sets the new bits, and what codings say of changed scales. The model must hold the old bits (asserted).
void Apply(const ModelChange& change, QuantizedModel& model);
void Undo(const ModelChange& change, QuantizedModel& model);

}  // namespace steadfast::model
