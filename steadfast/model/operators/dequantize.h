// The end of a network whose result is codes: the numbers that scores are taken from.
//
// Logits: float(level) * scale. Of probabilities (the codes of a Softmax): their logarithm, so that margins and losses
// are those of logits; a code of 0, which says "less than half a step", counts as half a step.
#pragma once

#include <array>
#include <string>

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Dequantize {
  bool of_probabilities = false;
  bool operator==(const Dequantize&) const = default;
};
template <>
const OperatorDefinition& Definition<Dequantize>();

// Makes these numbers the network's output, from a value that is codes. Behind a Softmax, moved about or not, they are
// of probabilities.
void AddDequantizedOutput(QuantizedModel& model, int value, const std::string& name);

// [code]: the number that a code becomes.
std::array<float, 256> RealsOf(const Dequantize& op, const ActivationCoding& coding);

}  // namespace steadfast::model
