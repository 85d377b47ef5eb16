// The sum of two values of one shape, each with a scale of its own (a residual connection): float(level) * scale of
// each, rounded; their sum, rounded; then quantization. Under TFLite's
// profiles: of integers.
#pragma once

#include <optional>

#include "steadfast/model/quantized_model.h"
#include "steadfast/model/requantization.h"  // FixedPointScale

namespace steadfast::model {

struct Add {
  bool operator==(const Add&) const = default;
};
template <>
const OperatorDefinition& Definition<Add>();

// The addition of TFLite's integer kernels: what the levels of two inputs become in steps of the output.
struct IntegerAdd {
  // XNNPACK's qs8-vadd: (level a * factor a + level b * factor b + half) >> shift. The larger factor has 21 bits.
  int32_t a = 0, b = 0;
  int shift = 0;
  // LiteRT's built-in kernel and TFLite Micro's: levels * 2^20 times these, then their sum times that, each rounded
  // twice.
  bool rounds_twice = false;
  FixedPointScale of_a, of_b, of_sum;

  int32_t Of(int level_a, int level_b) const {
    if (!rounds_twice) return (level_a * a + level_b * b + (int32_t{1} << (shift - 1))) >> shift;
    const auto sum = static_cast<uint32_t>(RoundedTwice(level_a * (1 << 20), of_a)) +
                     static_cast<uint32_t>(RoundedTwice(level_b * (1 << 20), of_b));
    return RoundedTwice(static_cast<int32_t>(sum), of_sum);
  }
};
// Nothing where XNNPACK refuses the scales (a ratio to the output's outside 2^-10 to 2^8): then the addition is that of
// the onnx profile. Only a fault leads there.
std::optional<IntegerAdd> IntegerAddOf(Profile profile, const ActivationCoding& a, const ActivationCoding& b,
                                       const ActivationCoding& output);

}  // namespace steadfast::model
