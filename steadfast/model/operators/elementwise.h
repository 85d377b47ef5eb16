// A function of each code by itself: a table of what each of the up to 256 codes becomes. ReLU6, hard swish, sigmoid
// and GELU of quantized values follow from it, and requantization alone (the identity).
//
// A code enters as its real value, float(level) * scale; the function is worked out in float32 where it is made of +,
// *, minima and maxima, and in double with our own exponential, rounded to float32, elsewhere; then it is quantized.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Elementwise {
  std::string
      function;  // an ONNX operator: "LeakyRelu", "HardSigmoid", "HardSwish", "Sigmoid", "Silu", "Tanh", "Gelu",
                 // "GeluTanh" (its approximation), or empty: the identity, with its activation a ReLU or Clip
  float alpha = 0, beta = 0;  // of LeakyRelu and HardSigmoid
  bool operator==(const Elementwise&) const = default;
};
template <>
const OperatorDefinition& Definition<Elementwise>();

// The function itself, of any number. Throws InputError where there is none of that name.
float FunctionOf(const Elementwise& op, float x);

// What each code becomes; codes that the input's coding does not have become what its highest does.
std::array<uint8_t, 256> TableOf(const QuantizedModel& model, const Node& node);

}  // namespace steadfast::model
