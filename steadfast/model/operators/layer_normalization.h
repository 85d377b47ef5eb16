// Layer normalization over channels, at each position (Ba, Kiros, Hinton, 2016): (x - mean) / sqrt(variance + epsilon).
// Its scale and shift belong to the linear layers behind it, which is the same.
//
// Of C levels l with sum S and sum of squares Q, both integers: float(C l - S) * r, rounded, are steps of the output's
// scale, where r = 1 / (sqrt(double(C Q - S^2) + epsilon C^2 / scale^2) * scale of the output), each operation rounded
// in double, then to float once. Quotients and roots are correctly rounded by IEEE 754, so every machine gives the same
// codes. Where a fault has made the scale negative r is too; where it is not finite nothing is a number.
#pragma once

#include <cmath>
#include <cstdint>

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct LayerNormalization {
  float epsilon = 1e-5f;
  bool operator==(const LayerNormalization&) const = default;
};
template <>
const OperatorDefinition& Definition<LayerNormalization>();

// epsilon C^2 / scale^2; NaN where the scale is not finite
double EpsilonOf(const LayerNormalization& op, int64_t channels, float scale);
// The output's scale, with the sign that the input's has.
inline float SignedOutputScale(float output_scale, float input_scale) {
  return input_scale < 0 ? -output_scale : output_scale;
}
// r, of C Q - S^2 and the signed scale of the output.
inline float InverseDeviation(int64_t spread, double epsilon, float output_scale) {
  return static_cast<float>(1.0 / (std::sqrt(static_cast<double>(spread) + epsilon) * output_scale));
}

}  // namespace steadfast::model
