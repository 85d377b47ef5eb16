// Softmax over channels, at each position, in each of `groups` equal parts of them (the heads of attention, whose
// scores have a channel for each token).
//
// Of integers, so that every machine gives the same codes: 2^20 e^(-d * scale), rounded to an integer once, for the
// distance d of a code to the largest one; an integer sum S; then float(numerator) * r, rounded, are steps of the
// output's scale, where r = 1 / (double(S) * scale of the output), rounded to float once. A fault may make the input's
// scale negative: then d is the distance to the smallest code, whose number is the largest, and |scale| counts; or not
// finite: then all exponentials are 0, and the quotients not numbers.
//
// Under TFLite's profiles, that of its kernel for int8: a float32 table of exponentials, their sum in float32 in
// the order of the channels, and steps of 1/256 above the lowest code.
#pragma once

#include <array>
#include <cstdint>

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Softmax {
  int groups = 1;
  float beta = 1;  // of TFLite's profiles: what numbers are multiplied by
  bool operator==(const Softmax&) const = default;
};
template <>
const OperatorDefinition& Definition<Softmax>();

inline float InverseSum(int32_t sum, float output_scale) {
  return static_cast<float>(1.0 / (static_cast<double>(sum) * output_scale));
}
// [distance to the code of the largest number]
std::array<int32_t, 256> ExponentialsOf(const ActivationCoding& input);
// The float32 ones of TFLite's profiles and of ONNX Runtime's.
std::array<float, 256> FloatExponentialsOf(const QuantizedModel& model, const Node& node);

}  // namespace steadfast::model
