// Labelled images in the engine's own order. Shared by all evaluators.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "steadfast/engine/block.h"           // PreparedImages
#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::engine {

struct EvaluationSet {
  PreparedImages images;
  std::vector<uint16_t> labels;  // [n]
};

// Throws InputError where images or labels do not fit the model.
EvaluationSet MakeEvaluationSet(const model::QuantizedModel& model, std::span<const uint8_t> images,
                                std::span<const uint16_t> labels);

}  // namespace steadfast::engine
