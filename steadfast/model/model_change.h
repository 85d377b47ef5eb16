// What a fault, or anything else, does to a model: the engine's only view of memory errors.
//
// Today a set of code changes; other parameters (biases, scales) join here when memory holds them too.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::model {

struct CodeChange {
  int tensor;     // index into QuantizedModel::weights
  int64_t index;  // of the code in the tensor
  int16_t old_code;
  int16_t new_code;
  bool operator==(const CodeChange&) const = default;
};

struct ModelChange {
  std::vector<CodeChange> codes;  // sorted by (tensor, index), at most one a code, old_code != new_code
};

// Sets the new codes. The model must hold the old ones (asserted).
void Apply(const ModelChange& change, QuantizedModel& model);
void Undo(const ModelChange& change, QuantizedModel& model);

}  // namespace steadfast::model
