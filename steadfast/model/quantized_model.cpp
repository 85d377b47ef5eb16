#include "steadfast/model/quantized_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

constexpr int64_t kMaximumElements = int64_t{1} << 31;

[[noreturn]] void Fail(std::string_view where, const std::string& what) {
  throw InputError(fmt::format("{}: {}", where, what));
}

void ValidateCodes(const Parameter& tensor) {
  const CodeFormat& format = tensor.format.codes;
  if (format.bits < 1 || format.bits > 8)
    Fail(tensor.name, fmt::format("{} bits a code, expected 1 to 8", format.bits));
  if (format.is_signed && format.bits < 2) Fail(tensor.name, "signed codes of 1 bit have no positive value");
  if (std::abs(format.levels.multiplier) > 2 || std::abs(format.levels.offset) > 255 || format.levels.multiplier == 0) {
    Fail(tensor.name, fmt::format("level = {} code + {} is not a level map that memory tensors have",
                                  format.levels.multiplier, format.levels.offset));
  }
  if (LargestStoredLevel(format) > 255)
    Fail(tensor.name, fmt::format("levels of up to {}", LargestStoredLevel(format)));
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const uint32_t pattern = tensor.bits[static_cast<size_t>(i)];
    const int code = tensor.code(i);
    if (pattern >> format.bits != 0 || code < format.lowest_code()) {
      Fail(tensor.name, fmt::format("code {} at index {}, expected {} to {} ({} bits, {}{})", code, i,
                                    format.lowest_code(), format.highest_code(), format.bits,
                                    format.is_signed ? "signed" : "unsigned", format.narrow ? ", narrow" : ""));
    }
  }
}

void ValidateParameter(const QuantizedModel& model, const Parameter& parameter) {
  int64_t elements = 1;
  for (int64_t size : parameter.shape) {
    if (size < 1 || elements > kMaximumElements / size) Fail(parameter.name, "an impossible shape");
    elements *= size;
  }
  if (elements != parameter.elements()) {
    Fail(parameter.name, fmt::format("{} {}, expected {} from its shape", parameter.elements(),
                                     parameter.role == Role::kWeight ? "codes" : "values", elements));
  }
  // Integer biases without a scale have that of the sum that they are added to.
  const bool is_addend = parameter.format.kind == StorageFormat::Kind::kInt32 && parameter.scale < 0;
  const bool has_scale = !parameter.format.is_float() && !is_addend;
  if (has_scale && (parameter.scale < 0 || parameter.scale >= static_cast<int>(model.parameters.size()) ||
                    !model.parameter(parameter.scale).format.is_float())) {
    Fail(parameter.name, "has no scale");
  }
  if (parameter.format.kind == StorageFormat::Kind::kCodes) ValidateCodes(parameter);
  if (!parameter.format.is_float()) return;
  for (int64_t i = 0; i < elements; ++i) {
    const float value = parameter.real(i);
    const bool is_scale = parameter.role == Role::kScale || parameter.role == Role::kActivationScale;
    if (is_scale && !(std::isfinite(value) && value > 0))
      Fail(parameter.name, fmt::format("scale {}, expected a positive number", value));
    if (!std::isfinite(value)) Fail(parameter.name, fmt::format("{} at index {}, expected a number", value, i));
  }
}

void ValidateWeight(const QuantizedModel& model, const Parameter& weight) {
  if (weight.shape.size() != 2 && weight.shape.size() != 4) {
    Fail(weight.name, fmt::format("{} dimensions, expected 2 (linear) or 4 (convolution)", weight.shape.size()));
  }
  const bool is_depthwise = weight.output_axis == 3 && weight.shape.size() == 4 && weight.shape[0] == 1;
  if (weight.output_axis != 0 && !is_depthwise && (weight.output_axis != 1 || weight.shape.size() != 2))
    Fail(weight.name,
         "its outputs must be along the first dimension, the second of two, or the last of [1, h, w, out]");
  if (weight.channels_last && (weight.shape.size() != 4 || weight.output_axis != 0))
    Fail(weight.name, "only weights [out, h, w, in] have their channels last");
  const int64_t scales = model.parameter(weight.scale).elements();
  if (scales != 1 && scales != weight.outputs())
    Fail(weight.name, fmt::format("{} scales, expected 1 or {}", scales, weight.outputs()));
}

void ValidateCoding(const QuantizedModel& model, const Value& value) {
  if (!value.coding) return;
  const ActivationCoding& coding = *value.coding;
  for (int index : {value.scale, value.dequantizing_scale}) {
    if (index < 0) continue;
    const bool exists = index < static_cast<int>(model.parameters.size());
    if (!exists || !model.parameter(index).format.is_float() || model.parameter(index).elements() != 1 ||
        model.parameter(index).real(0) != coding.scale)
      Fail(value.name, "the parameter of its scale is another number");
  }
  if (coding.bits < 1 || coding.bits > 8) Fail(value.name, fmt::format("{} bits a code, expected 1 to 8", coding.bits));
  if (!std::isfinite(coding.scale) || coding.scale <= 0) {
    Fail(value.name, fmt::format("scale {}, expected a positive number", coding.scale));
  }
  if (coding.zero_point < 0 || coding.zero_point > coding.highest_code()) {
    Fail(value.name, fmt::format("zero point {}, expected {} to {}", coding.zero_point + coding.stored_offset(),
                                 coding.stored_offset(), coding.highest_code() + coding.stored_offset()));
  }
  if (coding.zero_below < 0 || coding.zero_below > coding.highest_code() + 1) {
    Fail(value.name, fmt::format("threshold {}, expected 0 to {}", coding.zero_below, coding.highest_code() + 1));
  }
}

// Every parameter has a unique name, by which faults are located, and is used by some operator.
void ValidateUses(const QuantizedModel& model) {
  std::set<int> used;
  for (const Node& node : model.nodes) {
    for (int parameter : ParametersOf(model, node)) used.insert(parameter);
  }
  for (const Value& value : model.values) used.insert({value.scale, value.dequantizing_scale});
  std::set<std::string_view> names;
  for (size_t p = 0; p < model.parameters.size(); ++p) {
    const Parameter& parameter = model.parameters[p];
    if (!used.contains(static_cast<int>(p))) Fail(parameter.name, "no operator uses it");
    if (!names.insert(parameter.name).second) Fail(parameter.name, "two parameters have this name");
  }
}

int64_t LargestActivationLevel(const ActivationCoding& coding) {
  return std::max(coding.zero_point, coding.highest_code() - coding.zero_point);
}

void ValidateWeighted(const QuantizedModel& model, const Node& node, const Weighted& weighted) {
  const auto count = static_cast<int>(model.parameters.size());
  for (int index : ParametersOf(model, node)) {
    if (index < 0 || index >= count) Fail(node.name, "names a parameter that does not exist");
  }
  const Parameter& weight = model.parameter(weighted.weight);
  if (weight.format.kind != StorageFormat::Kind::kCodes) Fail(node.name, "its weights must be codes");
  ValidateWeight(model, weight);
  if (weight.is_fixed) {
    const auto* convolution = node.operation.As<Convolution>();
    const Parameter& scale = model.parameter(weight.scale);
    bool is_alone = convolution != nullptr && convolution->window == Window{} &&
                    convolution->groups == model.value(node.input()).shape.channels &&
                    weight.outputs() == convolution->groups && scale.elements() == 1 && scale.real(0) == 1;
    for (int64_t i = 0; i < weight.elements(); ++i) is_alone = is_alone && weight.level(i) == 1;
    is_alone = is_alone && weight.format.codes.levels.multiplier == 1;
    if (!is_alone) Fail(node.name, "has fixed weights, and is not a normalization that stands alone");
  }
  for (const AffineStep& step : weighted.steps) {
    for (int index : {step.parameter, step.beta, step.mean, step.variance}) {
      if (index < 0) continue;
      const Parameter& constant = model.parameter(index);
      const int64_t scales = constant.scale < 0 ? 1 : model.parameter(constant.scale).elements();
      for (int64_t size : {constant.elements(), scales}) {
        if (size != 1 && size != weight.outputs())
          Fail(node.name, fmt::format("{} has {} values, expected {}", constant.name, size, weight.outputs()));
      }
    }
  }
  if (IsOfTflite(model.profile)) {
    const bool has_bias = weighted.steps.size() == 1 && weighted.steps[0].kind == AffineStep::Kind::kAdd;
    if (!weighted.steps.empty() &&
        (!has_bias || model.parameter(weighted.steps[0].parameter).format.kind != StorageFormat::Kind::kInt32 ||
         model.parameter(weighted.steps[0].parameter).elements() != weight.outputs()))
      Fail(node.name, "its bias must be one int32 an output");
    if (!model.value(node.output).coding) Fail(node.name, "its output must be codes");
    if (weight.format.codes.levels.multiplier != 1) Fail(node.name, "its weights must be codes of whole levels");
  }
  const int64_t products = weight.products();
  const int64_t bound =
      products * LargestActivationLevel(*model.value(node.input()).coding) * LargestStoredLevel(weight.format.codes);
  if (bound >= int64_t{1} << 31) {
    Fail(node.name,
         fmt::format("sums of {} products can reach {} with the codes a faulty memory can hold, and do not fit "
                     "32 bits",
                     products, bound));
  }
  const Requantization requantization = RequantizationOf(model, node);
  for (const auto* values : {&requantization.scale, &requantization.offset}) {
    for (float value : *values) {
      if (!std::isfinite(value)) Fail(node.name, "its scales give requantization constants that are not finite");
    }
  }
}

void ValidateShape(const Value& value) {
  const ValueShape& shape = value.shape;
  if (shape.channels < 1 || shape.height < 1 || shape.width < 1 || shape.channels > kMaximumElements ||
      shape.height > 65536 || shape.width > 65536 || shape.channels > kMaximumElements / (shape.height * shape.width)) {
    Fail(value.name, fmt::format("shape {} x {} x {} is not possible", shape.channels, shape.height, shape.width));
  }
}

void ValidateNode(const QuantizedModel& model, const Node& node, std::vector<bool>& defined) {
  const OperatorDefinition& definition = node.operation.definition();
  const auto count = static_cast<int>(model.values.size());
  if (node.inputs.size() < definition.least_inputs || node.inputs.size() > definition.most_inputs)
    Fail(node.name, "has a wrong number of inputs");
  for (int index : node.inputs) {
    if (index < 0 || index >= count || node.output <= index || node.output >= count)
      Fail(node.name, "names values that do not exist or come later");
    if (!defined[static_cast<size_t>(index)]) Fail(node.name, "uses a value before it is computed");
    const Value& from = model.value(index);
    if (!from.coding) Fail(node.name, fmt::format("its input {} is not quantized", from.name));
  }
  if (defined[static_cast<size_t>(node.output)]) Fail(node.name, "computes a value a second time");
  defined[static_cast<size_t>(node.output)] = true;
  if (node.activation.lowest < 0 || node.activation.highest > 255 || node.activation.lowest > node.activation.highest)
    Fail(node.name, "clips to codes that do not exist");
  const Value& to = model.value(node.output);
  if (!(OutputShape(model, node) == to.shape)) Fail(node.name, "its output has another shape than the operator gives");
  if (const Weighted* weighted = node.operation.weighted()) ValidateWeighted(model, node, *weighted);
  if (!to.coding && !definition.may_be_real) Fail(node.name, "its output must be quantized");
  if (definition.keeps_coding && !(model.value(node.input()).coding == to.coding))
    Fail(node.name, "must keep the coding of its input");
  if (definition.validate != nullptr) definition.validate(model, node);
}

}  // namespace

int AddFloats(QuantizedModel& model, std::string name, Role role, std::vector<int64_t> shape,
              std::vector<float> values) {
  model.parameters.push_back(FloatParameter(std::move(name), role, std::move(shape), values));
  return static_cast<int>(model.parameters.size()) - 1;
}

int AddWeights(QuantizedModel& model, const std::string& name, std::vector<int64_t> shape, const CodeFormat& format,
               const std::vector<float>& scales, const std::vector<int16_t>& codes) {
  Parameter weight{.name = name, .role = Role::kWeight, .shape = std::move(shape)};
  weight.format.codes = format;
  for (int16_t code : codes) weight.bits.push_back(format.pattern(code));
  model.parameters.push_back(std::move(weight));
  const auto index = model.parameters.size() - 1;
  std::vector<float> stored = scales;  // of a code, as files keep them
  for (float& scale : stored) scale *= static_cast<float>(format.levels.multiplier);
  const auto count = static_cast<int64_t>(scales.size());
  const std::vector<int64_t> scale_shape = count > 1 ? std::vector<int64_t>{count} : std::vector<int64_t>{};
  const int scale = AddFloats(model, name + "_scale", Role::kScale, scale_shape, std::move(stored));
  model.parameters[index].scale = scale;
  return static_cast<int>(index);
}

int AddOnes(QuantizedModel& model, const std::string& name, int64_t channels) {
  const int weight = AddWeights(model, name, {channels, 1, 1, 1}, {.bits = 2}, {1.0f},
                                std::vector<int16_t>(static_cast<size_t>(channels), 1));
  model.parameters[static_cast<size_t>(weight)].is_fixed = true;
  model.parameters[static_cast<size_t>(model.parameter(weight).scale)].is_fixed = true;
  return weight;
}

Weighted AddAffine(QuantizedModel& model, const std::string& name, int weight, const std::vector<float>& multiplier,
                   const std::vector<float>& bias) {
  Weighted weighted{weight, {}};
  const auto add = [&](AffineStep::Kind kind, const char* ending, Role role, const std::vector<float>& values) {
    if (values.empty()) return;
    const int parameter = AddFloats(model, name + ending, role, {static_cast<int64_t>(values.size())}, values);
    weighted.steps.push_back({kind, parameter});
  };
  add(AffineStep::Kind::kMultiply, ".multiplier", Role::kMultiplier, multiplier);
  add(AffineStep::Kind::kAdd, ".bias", Role::kBias, bias);
  return weighted;
}

std::string_view NameOf(Profile profile) {
  switch (profile) {
    case Profile::kOnnx:
      return "onnx";
    case Profile::kOrt:
      return "ort";
    case Profile::kXnnpack:
      return "xnnpack";
    case Profile::kLiteRtBuiltin:
      return "litert-builtin";
    case Profile::kTflm:
      return "tflm";
  }
  return "?";
}

Profile ParseProfile(std::string_view text) {
  for (const Profile profile :
       {Profile::kOnnx, Profile::kOrt, Profile::kXnnpack, Profile::kLiteRtBuiltin, Profile::kTflm}) {
    if (NameOf(profile) == text) return profile;
  }
  throw UsageError(fmt::format("--profile {}: expected onnx, ort, xnnpack, litert-builtin or tflm", text));
}

std::optional<int> WeightOf(const Node& node) {
  const Weighted* weighted = node.operation.weighted();
  return weighted == nullptr ? std::nullopt : std::optional(weighted->weight);
}

std::string_view KindOf(const Node& node) {
  return node.operation.definition().name;
}

std::vector<int> WeightsOf(const QuantizedModel& model) {
  std::vector<int> weights;
  for (size_t p = 0; p < model.parameters.size(); ++p) {
    if (model.parameters[p].role == Role::kWeight && !model.parameters[p].is_fixed)
      weights.push_back(static_cast<int>(p));
  }
  return weights;
}

void AddActivationScales(QuantizedModel& model) {
  std::vector<int> kept_from(model.values.size(), -1);
  for (const Node& node : model.nodes) {
    if (node.operation.definition().keeps_coding) kept_from[static_cast<size_t>(node.output)] = node.input();
  }
  for (size_t v = 0; v < model.values.size(); ++v) {
    Value& value = model.values[v];
    if (!value.coding || value.scale >= 0) continue;
    value.scale = kept_from[v] >= 0
                      ? model.value(kept_from[v]).scale
                      : AddFloats(model, value.name + ".scale", Role::kActivationScale, {}, {value.coding->scale});
  }
}

bool HoldsActivationScale(const QuantizedModel& model, int parameter) {
  return std::any_of(model.values.begin(), model.values.end(), [&](const Value& value) {
    return value.scale == parameter || value.dequantizing_scale == parameter;
  });
}

void UpdateCodings(QuantizedModel& model) {
  for (Value& value : model.values) {
    if (!value.coding || value.scale < 0) continue;
    const uint32_t bits = model.parameter(value.scale).bits[0];
    value.coding->scale = model.parameter(value.scale).real(0);
    value.coding->dequantizing_scale.reset();
    if (value.dequantizing_scale >= 0 && model.parameter(value.dequantizing_scale).bits[0] != bits)
      value.coding->dequantizing_scale = model.parameter(value.dequantizing_scale).real(0);
  }
}

std::vector<int> ParametersOf(const QuantizedModel& model, const Node& node) {
  const Weighted* weighted = node.operation.weighted();
  if (weighted == nullptr) return {};
  std::vector<int> parameters;
  const auto add = [&](int index) {
    parameters.push_back(index);
    const bool exists = index >= 0 && index < static_cast<int>(model.parameters.size());
    if (exists && model.parameter(index).scale >= 0) parameters.push_back(model.parameter(index).scale);
  };
  add(weighted->weight);
  for (const AffineStep& step : weighted->steps) {
    add(step.parameter);
    if (step.kind == AffineStep::Kind::kNormalize) {
      for (int index : {step.beta, step.mean, step.variance}) add(index);
    }
  }
  return parameters;
}

ValueShape OutputShape(const QuantizedModel& model, const Node& node) {
  const OperatorDefinition& definition = node.operation.definition();
  if (node.inputs.size() < definition.least_inputs || node.inputs.size() > definition.most_inputs)
    Fail(node.name, "has a wrong number of inputs");
  return definition.output_shape(model, node);
}

int64_t ProductsPerOutput(const QuantizedModel& model, const Node& node) {
  return model.parameter(*WeightOf(node)).products();
}

void Validate(const QuantizedModel& model) {
  const auto count = static_cast<int>(model.values.size());
  if (count < 2 || model.nodes.empty()) Fail("model", "has no operators");
  for (const auto& parameter : model.parameters) ValidateParameter(model, parameter);
  for (const auto& value : model.values) {
    ValidateCoding(model, value);
    ValidateShape(value);
  }
  const Value& input = model.values[0];
  if (!input.coding || input.coding->bits != 8) Fail(input.name, "the input must be 8-bit codes");
  std::vector<bool> defined(static_cast<size_t>(count), false);
  defined[0] = true;
  for (const auto& node : model.nodes) ValidateNode(model, node, defined);
  ValidateUses(model);
  if (model.output < 1 || model.output >= count || !defined[static_cast<size_t>(model.output)]) {
    Fail("model", "its output is not computed");
  }
  if (model.value(model.output).coding) Fail("model", "its output must be real numbers (logits)");
}

}  // namespace steadfast::model
