// The mean over a window, padding counted as level 0: an int32 sum of levels, requantized to a coding of its own. A
// window as large as its input is global average pooling. Under TFLite's profiles: the mean of the codes as the file
// has them, from zero, half rounded away from it; no scale is looked at. Under ONNX Runtime's, over a window: a float32
// sum of real numbers.
#pragma once

#include "steadfast/model/quantized_model.h"
#include "steadfast/model/requantization.h"  // Quantization

namespace steadfast::model {

struct AveragePool {
  Window window;
  // A mean over all rows and columns as such (ONNX's GlobalAveragePool, TFLite's MEAN): runtimes compute it in another
  // way than that over a window.
  bool is_mean = false;
  bool is_general = false;  // one that LiteRT's built-in kernels leave to their general reduction
  int64_t elements() const { return int64_t{window.kernel_h} * window.kernel_w; }
  bool operator==(const AveragePool&) const = default;
};
template <>
const OperatorDefinition& Definition<AveragePool>();

// TFLite's MEAN over rows and columns: what a sum of codes as the file has them becomes, counted as the file has it.
// XNNPACK: rint(float(sum) * factor + offset). LiteRT's built-in kernel: the sum times a fixed-point factor, rounded
// twice, and a bias. Its general reduction, and TFLite Micro: the sum of levels so, by a factor of which the division
// by their number is truncated.
class MeanOfCodes {
 public:
  MeanOfCodes(Profile profile, bool is_general, const ActivationCoding& from, const ActivationCoding& to,
              int64_t count);
  int64_t Of(int32_t sum_of_stored) const;
  bool is_float() const { return is_float_; }
  float factor() const { return factor_; }
  float offset() const { return offset_; }
  const FixedPointScale& scale() const { return scale_; }
  int32_t less() const { return less_; }
  int64_t bias() const { return bias_; }

 private:
  bool is_float_;
  float factor_ = 0, offset_ = 0;
  FixedPointScale scale_;
  int32_t less_ = 0;  // of the sum
  int64_t bias_ = 0;
};

// Under TFLite's profiles: the code that a sum of `count` codes becomes.
uint8_t RoundedMean(int32_t sum_of_codes, int32_t count, int stored_offset, const Quantization& range);

}  // namespace steadfast::model
