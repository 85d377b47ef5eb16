// How sums and real values become codes: the rounding rules, and the constants that they take from parameters.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

// The changed parameters, by index, which replace those of a model.
using ChangedParameters = std::map<int, Parameter>;

// What follows a weighted sum, as one multiplication and one addition for each output: the steps of its node worked out
// in double and rounded to float once. An int32 bias counts as its DequantizeLinear says: float(code) * scale.
struct Affine {
  std::vector<float> multiplier;  // [out]
  std::vector<float> bias;        // [out]
};
Affine AffineOf(const QuantizedModel& model, const Node& node, const ChangedParameters* changed = nullptr);

// A factor as TFLite has it: multiplier * 2^(shift - 31), the multiplier of 31 bits (QuantizeMultiplier).
struct FixedPointScale {
  int32_t multiplier = 0;
  int32_t shift = 0;
  bool operator==(const FixedPointScale&) const = default;
};
// Of a factor that a fault may have made anything: negative factors have negative multipliers, NaN is 0, and what is
// too large is the largest.
FixedPointScale FixedPointScaleOf(double factor);
// A number times a factor, rounded once: one product of 64 bits, half added, shifted.
int32_t RoundedOnce(int32_t number, const FixedPointScale& scale);
// The same as gemmlowp has it: the doubled high half of the product, rounded, ties away from zero; then a shift,
// rounded so too. Sums that leave 32 bits are taken modulo 2^32.
int32_t RoundedTwice(int32_t number, const FixedPointScale& scale);
// number / 2^shift, ties away from zero.
int32_t RoundedShift(int32_t number, int shift);

// Where a weighted node's factors come from.
struct FactorSource {
  enum class Kind {
    kFolded,      // ONNX's: the steps folded in double
    kFloat,       // XNNPACK's and ONNX Runtime's: one factor in float32
    kFixedOnce,   // LiteRT's built-in kernels: a fixed-point number that rounds once
    kFixedTwice,  // TFLite Micro's, and LiteRT's of depthwise convolutions and of uint8: one that rounds twice
  };
  Kind kind = Kind::kFolded;
  bool is_product_in_float = false;  // of fixed-point numbers: that of the two scales
  int addend = -1;                   // the parameter of an integer bias, which the sum takes in; -1: none
};
FactorSource FactorSourceOf(const QuantizedModel& model, const Node& node);
// Whether a step adds integers that have no scale but the sum's: it is the addend, and none of the folded steps.
bool IsAddend(const QuantizedModel& model, const AffineStep& step);

// One step of requantization, in the order of ONNX's QuantizeLinear: code = clip(rint(float(acc) * scale[c] +
// offset[c]), lowest, highest) + zero_point, in IEEE float32, product and sum each rounded, rint to nearest even, the
// zero point added as an integer; then codes below zero_below become the lowest code. Where the output is real, the
// value is float(acc) * scale[c] + offset[c]. NaN becomes the lowest code.
struct Requantization {
  std::vector<float> scale;   // [out]
  std::vector<float> offset;  // [out]
  // TFLite's integer kernels: what stands in place of scale and offset. Empty: floats, as above.
  std::vector<FixedPointScale> fixed_point;  // [out]
  bool rounds_twice = false;
  std::vector<int32_t> addend;  // [out]: an integer bias, added to the sum modulo 2^32 before all else; empty: 0
  float divisor = 1;            // of float(acc) * scale[c]; other than 1 of means alone
  bool real = false;
  float lowest = 0, highest = 0;  // whole numbers, in steps from the zero point
  int zero_point = 0;
  int zero_below = 0;
  int lowest_code() const { return static_cast<int>(lowest) + zero_point; }
};

// The sum with its integer bias.
inline int32_t WithAddend(int32_t sum, const Requantization& requantization, int64_t channel) {
  if (requantization.addend.empty()) return sum;
  return static_cast<int32_t>(static_cast<uint32_t>(sum) +
                              static_cast<uint32_t>(requantization.addend[static_cast<size_t>(channel)]));
}

// Of a weighted node: scale[c] = s_in * s_w[c] * multiplier[c] / s_out and offset[c] = bias[c] / s_out, each computed
// in double from left to right and rounded to float once (s_out = 1 for real outputs). Under XNNPACK's profile:
// scale[c] = (s_in * s_w[c]) / s_out, each operation rounded to float; the bias is an addend, and offset[c] = 0. Under
// ONNX Runtime's (where it has an integer kernel; elsewhere ONNX's rule): as XNNPACK's. Under LiteRT's built-in profile
// and TFLite Micro's: the same factor in double (of a fully connected layer, its product in float) as a fixed-point
// number.
Requantization RequantizationOf(const QuantizedModel& model, const Node& node,
                                const ChangedParameters* changed = nullptr);
// Of a mean over `elements`: scale = s_in / elements / s_out for every channel, and no offset; if s_in / s_out is a
// power of two, means can lie midway between two codes; then `elements` stays a divisor, so that these ties are exact.
Requantization RequantizationOfMean(const QuantizedModel& model, const Node& node, int64_t elements);

// Of a product of two values: scale = s_A * s_B * factor / s_out, computed so.
Requantization RequantizationOfProduct(const QuantizedModel& model, const Node& node, float factor);

// The code that an accumulator becomes, and its value where the output is real.
uint8_t Requantize(int32_t accumulator, const Requantization& requantization, int64_t channel);
float RealOf(int32_t accumulator, const Requantization& requantization, int64_t channel);

// Whether ONNX Runtime's integer kernels compute a node: under its profile, where nothing behind the operator cuts
// codes off but their own range. (Otherwise the activation function stands alone, between real numbers.)
bool IsOfOrtKernels(const QuantizedModel& model, const Node& node);

// What becomes of real values that are not sums of products (Add, Concatenate): code = clip(rint(x / s_out) +
// zero_point, lowest, highest), the division in IEEE float32; then codes below zero_below become lowest. A level enters
// as float(level) * s_in, rounded; the two of an Add are added in float32, in the order of the inputs.
struct Quantization {
  float scale = 1;
  int zero_point = 0;
  int lowest = 0, highest = 0;
  int zero_below = 0;
};
Quantization QuantizationOf(const ActivationCoding& coding, const Activation& activation);
uint8_t CodeOf(float real, const Quantization& quantization);
// The same of a real value that was divided by the scale.
uint8_t CodeOfSteps(float steps, const Quantization& quantization);
// The same where the zero point, as the file has it, is added before rounding: ONNX Runtime's additions, products and
// average pools.
uint8_t CodeOfStepsAndZero(float steps, const Quantization& quantization, int stored_offset);
float RealOf(int code, const ActivationCoding& coding);

}  // namespace steadfast::model
