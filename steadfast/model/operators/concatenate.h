// The channels of its inputs, one input after the other, requantized to the output's coding where theirs differs.
#pragma once

#include <array>

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Concatenate {
  bool operator==(const Concatenate&) const = default;
};
template <>
const OperatorDefinition& Definition<Concatenate>();

// What each code of input `input` becomes.
std::array<uint8_t, 256> TranslationOf(const QuantizedModel& model, const Node& node, size_t input);

}  // namespace steadfast::model
