// The definition of the arithmetic: a scalar execution of a QuantizedModel, plain to read and slow.
//
// Levels are integers, sums are int32, requantization is model::Requantization's formula in IEEE float32 (the library
// is compiled without floating-point contraction). Each operator's scalar rule is in its file in model/operators/.
// Every other path of the engine equals this one bit for bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::engine {

// What a run computed on its way.
struct Trace {
  std::vector<std::vector<uint8_t>> codes;  // codes[value][image * elements + i]; empty for real values
};

// images: [n, elements of the input], raw bytes. Gives the logits [n, classes]. The model must be valid.
std::vector<float> RunReference(const model::QuantizedModel& model, std::span<const uint8_t> images,
                                Trace* trace = nullptr);

}  // namespace steadfast::engine
