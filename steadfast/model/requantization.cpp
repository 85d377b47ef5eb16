#include "steadfast/model/requantization.h"

#include <algorithm>
#include <cmath>

namespace steadfast::model {
namespace {

const Parameter& Find(const QuantizedModel& model, const ChangedParameters* changed, int index) {
  if (changed != nullptr) {
    const auto found = changed->find(index);
    if (found != changed->end()) return found->second;
  }
  return model.parameter(index);
}

// The values of a constant, floats or int32 with a scale: one an output, or one for all.
class Constants {
 public:
  Constants(const QuantizedModel& model, const ChangedParameters* changed, int index)
      : parameter_(Find(model, changed, index)),
        scale_(parameter_.scale < 0 ? nullptr : &Find(model, changed, parameter_.scale)) {}
  double operator[](int64_t output) const {
    const int64_t i = parameter_.elements() == 1 ? 0 : output;
    if (scale_ == nullptr) return double{parameter_.real(i)};
    const float scale = scale_->real(scale_->elements() == 1 ? 0 : output);
    return double{static_cast<float>(parameter_.integer(i)) * scale};
  }

 private:
  const Parameter& parameter_;
  const Parameter* scale_;
};

bool IsPowerOfTwo(double value) {
  int exponent = 0;
  return std::frexp(value, &exponent) == 0.5;
}

// Whether ONNX Runtime has an integer kernel for it: nothing behind the sum but an int32 bias, and codes as its result.
bool HasIntegerKernel(const QuantizedModel& model, const Node& node) {
  const Weighted& weighted = *node.operation.weighted();
  const auto& steps = weighted.steps;
  if (steps.size() > 1 || model.parameter(weighted.weight).format.codes.levels.multiplier != 1) return false;
  if (!steps.empty() && IsAddend(model, steps[0])) return true;
  return (steps.empty() || steps[0].is_fused) && model.value(node.output).coding.has_value();
}

void SetAddend(const QuantizedModel& model, int addend, int64_t outputs, const ChangedParameters* changed,
               Requantization& result) {
  if (addend < 0) return;
  const Parameter& bias = Find(model, changed, addend);
  for (int64_t c = 0; c < outputs; ++c) result.addend.push_back(bias.integer(bias.elements() == 1 ? 0 : c));
}

// Of kernels that take one factor of the sum.
void SetFactors(const QuantizedModel& model, const Node& node, const FactorSource& source,
                const ChangedParameters* changed, Requantization& result) {
  const Parameter& weight = model.parameter(node.operation.weighted()->weight);
  const Parameter& scales = Find(model, changed, weight.scale);
  const float input = model.value(node.input()).coding->real_scale();
  const auto& coding = model.value(node.output).coding;
  const float output = coding ? coding->scale : 1.0f;
  result.rounds_twice = source.kind == FactorSource::Kind::kFixedTwice;
  result.offset.assign(static_cast<size_t>(weight.outputs()), 0.0f);
  for (int64_t c = 0; c < weight.outputs(); ++c) {
    const float of_weight = scales.real(scales.elements() == 1 ? 0 : c);
    const float product = input * of_weight;
    if (source.kind == FactorSource::Kind::kFloat) {
      result.scale.push_back(product / output);
      continue;
    }
    result.scale.push_back(0.0f);
    const double factor = (source.is_product_in_float ? double{product} : double{input} * of_weight) / output;
    result.fixed_point.push_back(FixedPointScaleOf(factor));
  }
}

// The steps, folded.
void SetFoldedFactors(const QuantizedModel& model, const Node& node, const ChangedParameters* changed,
                      Requantization& result) {
  const Affine affine = AffineOf(model, node, changed);
  const Parameter& weight = model.parameter(node.operation.weighted()->weight);
  const Parameter& scales = Find(model, changed, weight.scale);
  const Value& input = model.value(node.input());
  const Value& output = model.value(node.output);
  const double output_scale = output.coding ? output.coding->scale : 1.0;
  const auto level_multiplier = static_cast<float>(weight.format.codes.levels.multiplier);
  for (int64_t c = 0; c < weight.outputs(); ++c) {
    const auto channel = static_cast<size_t>(c);
    const double weight_scale = scales.real(scales.elements() == 1 ? 0 : c) / level_multiplier;
    const double multiplier = affine.multiplier[channel], bias = affine.bias[channel];
    result.scale.push_back(
        static_cast<float>(double{input.coding->real_scale()} * weight_scale * multiplier / output_scale));
    result.offset.push_back(static_cast<float>(bias / output_scale));
  }
}

void SetCodes(const Node& node, const ActivationCoding& coding, Requantization& requantization) {
  const Quantization codes = QuantizationOf(coding, node.activation);
  requantization.lowest = static_cast<float>(codes.lowest - coding.zero_point);
  requantization.highest = static_cast<float>(codes.highest - coding.zero_point);
  requantization.zero_point = coding.zero_point;
  requantization.zero_below = coding.zero_below;
}

}  // namespace

Affine AffineOf(const QuantizedModel& model, const Node& node, const ChangedParameters* changed) {
  const Weighted& weighted = *node.operation.weighted();
  const int64_t outputs = model.parameter(weighted.weight).outputs();
  std::vector<double> multiplier(static_cast<size_t>(outputs), 1.0), bias(static_cast<size_t>(outputs), 0.0);
  for (const AffineStep& step : weighted.steps) {
    if (IsAddend(model, step)) continue;  // a part of the sum
    const Constants first(model, changed, step.parameter);
    if (step.kind == AffineStep::Kind::kNormalize) {
      const Constants beta(model, changed, step.beta), mean(model, changed, step.mean),
          variance(model, changed, step.variance);
      for (int64_t c = 0; c < outputs; ++c) {
        const auto i = static_cast<size_t>(c);
        const double factor = first[c] / std::sqrt(variance[c] + step.epsilon);
        multiplier[i] *= factor;
        bias[i] = (bias[i] - mean[c]) * factor + beta[c];
      }
      continue;
    }
    for (int64_t c = 0; c < outputs; ++c) {
      const auto i = static_cast<size_t>(c);
      if (step.kind == AffineStep::Kind::kAdd) {
        bias[i] += first[c];
      } else {
        multiplier[i] *= first[c];
        bias[i] *= first[c];
      }
    }
  }
  Affine affine;
  for (double value : multiplier) affine.multiplier.push_back(static_cast<float>(value));
  for (double value : bias) affine.bias.push_back(static_cast<float>(value));
  return affine;
}

bool IsAddend(const QuantizedModel& model, const AffineStep& step) {
  if (step.kind != AffineStep::Kind::kAdd) return false;
  const Parameter& parameter = model.parameter(step.parameter);
  return parameter.format.kind == StorageFormat::Kind::kInt32 && parameter.scale < 0;
}

FactorSource FactorSourceOf(const QuantizedModel& model, const Node& node) {
  using Kind = FactorSource::Kind;
  const Weighted& weighted = *node.operation.weighted();
  const Parameter& weight = model.parameter(weighted.weight);
  FactorSource source;
  if (IsOfTflite(model.profile)) {
    // Depthwise convolutions, and everything of uint8, round twice in LiteRT too.
    const bool rounds_twice =
        model.profile == Profile::kTflm || weight.output_axis == 3 || !weight.format.codes.is_signed;
    source.kind = model.profile == Profile::kXnnpack ? Kind::kFloat
                  : rounds_twice                     ? Kind::kFixedTwice
                                                     : Kind::kFixedOnce;
    source.is_product_in_float = weight.shape.size() == 2 && model.parameter(weight.scale).elements() == 1;
    if (!weighted.steps.empty()) source.addend = weighted.steps[0].parameter;
    return source;
  }
  if (IsOfOrtKernels(model, node) && HasIntegerKernel(model, node)) {
    source.kind = Kind::kFloat;
    if (!weighted.steps.empty()) source.addend = weighted.steps[0].parameter;
    return source;
  }
  for (const AffineStep& step : weighted.steps) {
    if (IsAddend(model, step)) source.addend = step.parameter;
  }
  return source;
}

Requantization RequantizationOf(const QuantizedModel& model, const Node& node, const ChangedParameters* changed) {
  const FactorSource source = FactorSourceOf(model, node);
  Requantization result;
  if (source.kind == FactorSource::Kind::kFolded)
    SetFoldedFactors(model, node, changed, result);
  else
    SetFactors(model, node, source, changed, result);
  SetAddend(model, source.addend, model.parameter(node.operation.weighted()->weight).outputs(), changed, result);
  const auto& coding = model.value(node.output).coding;
  result.real = !coding.has_value();
  if (coding) SetCodes(node, *coding, result);
  return result;
}

Requantization RequantizationOfMean(const QuantizedModel& model, const Node& node, int64_t elements) {
  const ActivationCoding& from = *model.value(node.input()).coding;
  const Value& output = model.value(node.output);
  const auto count = static_cast<double>(elements);
  const auto channels = static_cast<size_t>(output.shape.channels);
  if (IsOfOrtKernels(model, node)) {
    Requantization result;
    const float steps = output.coding->scale * static_cast<float>(elements);
    result.scale.assign(channels, from.real_scale() / steps);
    result.offset.assign(channels, 0.0f);
    SetCodes(node, *output.coding, result);
    return result;
  }
  const double ratio = double{from.real_scale()} / output.coding->scale;
  const bool meets_ties = IsPowerOfTwo(ratio) && !IsPowerOfTwo(count);
  Requantization result;
  result.scale.assign(
      channels, static_cast<float>(meets_ties ? ratio : double{from.real_scale()} / count / output.coding->scale));
  result.offset.assign(channels, 0.0f);
  if (meets_ties) result.divisor = static_cast<float>(elements);
  SetCodes(node, *output.coding, result);
  return result;
}

Requantization RequantizationOfProduct(const QuantizedModel& model, const Node& node, float factor) {
  const double a = model.value(node.inputs[0]).coding->real_scale(),
               b = model.value(node.inputs[1]).coding->real_scale();
  const ActivationCoding& output = *model.value(node.output).coding;
  Requantization result;
  const auto channels = static_cast<size_t>(model.value(node.output).shape.channels);
  const float product =
      model.value(node.inputs[0]).coding->real_scale() * model.value(node.inputs[1]).coding->real_scale();
  const bool is_fused = IsOfOrtKernels(model, node) && factor == 1;
  result.scale.assign(channels, is_fused ? product / output.scale : static_cast<float>(a * b * factor / output.scale));
  result.offset.assign(channels, 0.0f);
  SetCodes(node, output, result);
  return result;
}

float RealOf(int32_t accumulator, const Requantization& requantization, int64_t channel) {
  const float product = static_cast<float>(accumulator) * requantization.scale[static_cast<size_t>(channel)];
  return product / requantization.divisor + requantization.offset[static_cast<size_t>(channel)];
}

FixedPointScale FixedPointScaleOf(double factor) {
  if (std::isnan(factor) || factor == 0) return {};
  constexpr int32_t kLargest = 0x7fffffff;
  if (std::isinf(factor)) return {factor > 0 ? kLargest : -kLargest, 30};
  int exponent = 0;
  const double fraction = std::frexp(factor, &exponent);
  auto multiplier = static_cast<int64_t>(std::round(fraction * 0x1p31));
  if (std::abs(multiplier) == int64_t{1} << 31) {
    multiplier /= 2;
    ++exponent;
  }
  if (exponent < -31) return {};
  if (exponent > 30) return {factor > 0 ? kLargest : -kLargest, 30};
  return {static_cast<int32_t>(multiplier), exponent};
}

int32_t RoundedOnce(int32_t number, const FixedPointScale& scale) {
  const int shift = 31 - scale.shift;
  return static_cast<int32_t>((int64_t{number} * scale.multiplier + (int64_t{1} << (shift - 1))) >> shift);
}

int32_t RoundedTwice(int32_t number, const FixedPointScale& scale) {
  const int left = std::max(scale.shift, 0), right = std::max(-scale.shift, 0);
  const auto shifted = static_cast<int32_t>(static_cast<uint32_t>(number) << left);
  const int64_t product = int64_t{shifted} * scale.multiplier;
  constexpr int64_t kHalf = int64_t{1} << 30;
  const int64_t doubled = (product + (product >= 0 ? kHalf : 1 - kHalf)) / (int64_t{1} << 31);
  const auto high = static_cast<int32_t>(std::min<int64_t>(doubled, 0x7fffffff));
  return RoundedShift(high, right);
}

int32_t RoundedShift(int32_t number, int shift) {
  const auto mask = static_cast<int32_t>((int64_t{1} << shift) - 1);
  const int32_t remainder = number & mask;
  return (number >> shift) + (remainder > (mask >> 1) + (number < 0 ? 1 : 0) ? 1 : 0);
}

uint8_t Requantize(int32_t accumulator, const Requantization& requantization, int64_t channel) {
  if (!requantization.fixed_point.empty()) {
    const FixedPointScale& scale = requantization.fixed_point[static_cast<size_t>(channel)];
    const int32_t steps =
        requantization.rounds_twice ? RoundedTwice(accumulator, scale) : RoundedOnce(accumulator, scale);
    return static_cast<uint8_t>(std::clamp<int32_t>(steps, static_cast<int32_t>(requantization.lowest),
                                                    static_cast<int32_t>(requantization.highest)) +
                                requantization.zero_point);
  }
  const float rounded = std::rint(RealOf(accumulator, requantization, channel));
  const float raised = rounded > requantization.lowest ? rounded : requantization.lowest;  // NaN becomes the lowest
  const float clipped = raised < requantization.highest ? raised : requantization.highest;
  const int code = static_cast<int>(clipped) + requantization.zero_point;
  return static_cast<uint8_t>(code < requantization.zero_below ? requantization.lowest_code() : code);
}

bool IsOfOrtKernels(const QuantizedModel& model, const Node& node) {
  if (model.profile != Profile::kOrt) return false;
  const auto& coding = model.value(node.output).coding;
  if (!coding) return true;
  const Quantization range = QuantizationOf(*coding, node.activation);
  return coding->bits == 8 && range.lowest == 0 && range.highest == 255 && range.zero_below == 0;
}

Quantization QuantizationOf(const ActivationCoding& coding, const Activation& activation) {
  const int lowest = std::max(activation.lowest, activation.relu ? coding.zero_point : 0);
  int highest = std::min(coding.highest_code(), activation.highest);
  if (activation.relu6) {
    const float six = std::floor(6.0f / coding.scale + 0.5f);  // a fault may have made the scale anything
    highest = std::min(highest, six < 256.0f ? coding.zero_point + static_cast<int>(std::max(six, -256.0f)) : highest);
  }
  return {coding.scale, coding.zero_point, lowest, std::max(lowest, highest), coding.zero_below};
}

uint8_t CodeOf(float real, const Quantization& q) {
  return CodeOfSteps(real / q.scale, q);
}

namespace {
// A rounded number as an integer, clipped before the conversion so that it is defined for every float.
int Whole(float rounded) {
  const float raised = rounded > -1024.0f ? rounded : -1024.0f;  // NaN becomes the lowest
  return static_cast<int>(raised < 1024.0f ? raised : 1024.0f);
}
uint8_t Clipped(int code, const Quantization& q) {
  code = std::clamp(code, q.lowest, q.highest);
  return static_cast<uint8_t>(code < q.zero_below ? q.lowest : code);
}
}  // namespace

uint8_t CodeOfSteps(float steps, const Quantization& q) {
  return Clipped(Whole(std::rint(steps)) + q.zero_point, q);
}

uint8_t CodeOfStepsAndZero(float steps, const Quantization& q, int stored_offset) {
  return Clipped(Whole(std::rint(steps + static_cast<float>(q.zero_point + stored_offset))) - stored_offset, q);
}

float RealOf(int code, const ActivationCoding& coding) {
  return static_cast<float>(code - coding.zero_point) * coding.real_scale();
}

}  // namespace steadfast::model
