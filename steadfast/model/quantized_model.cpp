#include "steadfast/model/quantized_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "steadfast/base/error.h"

namespace steadfast::model {
namespace {

constexpr int64_t kMaximumElements = int64_t{1} << 31;

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

[[noreturn]] void Fail(std::string_view where, const std::string& what) {
  throw InputError(fmt::format("{}: {}", where, what));
}

int64_t WindowOutput(std::string_view where, int64_t input, int kernel, int stride, int pad, int dilation) {
  if (kernel < 1 || stride < 1 || pad < 0 || dilation < 1 || kernel > 4096 || stride > 4096 || pad > 4096 ||
      dilation > 4096) {
    Fail(where,
         fmt::format("kernel {}, stride {}, padding {}, dilation {} are not possible", kernel, stride, pad, dilation));
  }
  const int64_t reach = int64_t{dilation} * (kernel - 1) + 1;
  const int64_t room = input + 2 * int64_t{pad} - reach;
  if (room < 0)
    Fail(where, fmt::format("a window of {} does not fit an input of {} with padding {}", reach, input, pad));
  return room / stride + 1;
}

ValueShape WindowShape(std::string_view where, const ValueShape& input, const Window& window, int64_t channels) {
  if (input.flat) Fail(where, "its input has no rows and columns");
  return {channels,
          WindowOutput(where, input.height, window.kernel_h, window.stride_h, window.pad_h, window.dilation_h),
          WindowOutput(where, input.width, window.kernel_w, window.stride_w, window.pad_w, window.dilation_w)};
}

ValueShape PooledShape(std::string_view where, const ValueShape& input, const Window& window) {
  if (window.pad_h >= window.kernel_h || window.pad_w >= window.kernel_w)
    Fail(where, "padding is not smaller than the pooling window");
  return WindowShape(where, input, window, input.channels);
}

const ValueShape& ShapeOfInput(const QuantizedModel& model, const Node& node, size_t input) {
  return model.values[static_cast<size_t>(node.inputs[input])].shape;
}

void ValidateWeights(const WeightTensor& tensor) {
  const CodeFormat& format = tensor.format;
  if (format.bits < 1 || format.bits > 8)
    Fail(tensor.name, fmt::format("{} bits a code, expected 1 to 8", format.bits));
  if (format.is_signed && format.bits < 2) Fail(tensor.name, "signed codes of 1 bit have no positive value");
  if (std::abs(format.levels.multiplier) > 2 || std::abs(format.levels.offset) > 255 || format.levels.multiplier == 0) {
    Fail(tensor.name, fmt::format("level = {} code + {} is not a level map that memory tensors have",
                                  format.levels.multiplier, format.levels.offset));
  }
  if (LargestStoredLevel(format) > 255)
    Fail(tensor.name, fmt::format("levels of up to {}", LargestStoredLevel(format)));
  if (tensor.shape.size() != 2 && tensor.shape.size() != 4) {
    Fail(tensor.name, fmt::format("{} dimensions, expected 2 (linear) or 4 (convolution)", tensor.shape.size()));
  }
  int64_t elements = 1;
  for (int64_t size : tensor.shape) {
    if (size < 1 || elements > kMaximumElements / size) Fail(tensor.name, "an impossible shape");
    elements *= size;
  }
  if (elements != static_cast<int64_t>(tensor.codes.size())) {
    Fail(tensor.name, fmt::format("{} codes, expected {} from its shape", tensor.codes.size(), elements));
  }
  for (size_t i = 0; i < tensor.codes.size(); ++i) {
    if (tensor.codes[i] < format.lowest_code() || tensor.codes[i] > format.highest_code()) {
      Fail(tensor.name, fmt::format("code {} at index {}, expected {} to {} ({} bits, {}{})", tensor.codes[i], i,
                                    format.lowest_code(), format.highest_code(), format.bits,
                                    format.is_signed ? "signed" : "unsigned", format.narrow ? ", narrow" : ""));
    }
  }
  if (tensor.scale.size() != 1 && static_cast<int64_t>(tensor.scale.size()) != tensor.outputs()) {
    Fail(tensor.name, fmt::format("{} scales, expected 1 or {}", tensor.scale.size(), tensor.outputs()));
  }
  for (float scale : tensor.scale) {
    if (!std::isfinite(scale) || scale <= 0)
      Fail(tensor.name, fmt::format("scale {}, expected a positive number", scale));
  }
}

void ValidateCoding(const Value& value) {
  if (!value.coding) return;
  const ActivationCoding& coding = *value.coding;
  if (coding.bits < 1 || coding.bits > 8) Fail(value.name, fmt::format("{} bits a code, expected 1 to 8", coding.bits));
  if (!std::isfinite(coding.scale) || coding.scale <= 0) {
    Fail(value.name, fmt::format("scale {}, expected a positive number", coding.scale));
  }
  if (coding.zero_point < 0 || coding.zero_point > coding.highest_code()) {
    Fail(value.name, fmt::format("zero point {}, expected 0 to {}", coding.zero_point, coding.highest_code()));
  }
  if (coding.zero_below < 0 || coding.zero_below > coding.highest_code() + 1) {
    Fail(value.name, fmt::format("threshold {}, expected 0 to {}", coding.zero_below, coding.highest_code() + 1));
  }
}

// Every weight tensor has a name of its own and belongs to one node: it is what a fault's place is named by.
void ValidateUses(const QuantizedModel& model) {
  std::vector<int> uses(model.weights.size(), 0);
  for (const Node& node : model.nodes) {
    if (const auto weight = WeightOf(node)) ++uses[static_cast<size_t>(*weight)];
  }
  for (size_t w = 0; w < uses.size(); ++w) {
    const std::string& name = model.weights[w].name;
    if (uses[w] != 1) Fail(name, fmt::format("these weights are used by {} operators, expected 1", uses[w]));
    for (size_t other = 0; other < w; ++other) {
      if (model.weights[other].name == name) Fail(name, "two weight tensors have this name");
    }
  }
}

bool KeepsCoding(const Node& node) {
  return std::holds_alternative<MaxPool>(node.operation) || std::holds_alternative<Flatten>(node.operation);
}

int64_t LargestActivationLevel(const ActivationCoding& coding) {
  return std::max(coding.zero_point, coding.highest_code() - coding.zero_point);
}

void ValidateAffine(const QuantizedModel& model, const Node& node, const Affine& affine) {
  const WeightTensor& weight = model.weights[static_cast<size_t>(*WeightOf(node))];
  for (const auto* values : {&affine.multiplier, &affine.bias}) {
    if (!values->empty() && static_cast<int64_t>(values->size()) != weight.outputs()) {
      Fail(node.name, fmt::format("{} per-channel constants, expected {}", values->size(), weight.outputs()));
    }
    for (float value : *values) {
      if (!std::isfinite(value)) Fail(node.name, fmt::format("a constant is {}", value));
    }
  }
  const Value& input = model.values[static_cast<size_t>(node.input())];
  const int64_t products = ProductsPerOutput(model, node);
  const int64_t bound = products * LargestActivationLevel(*input.coding) * LargestStoredLevel(weight.format);
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

Requantization RequantizationOfMean(const QuantizedModel& model, const Node& node, const AveragePool& pool) {
  const ActivationCoding& from = *model.values[static_cast<size_t>(node.input())].coding;
  const Value& output = model.values[static_cast<size_t>(node.output)];
  const double elements = double{static_cast<double>(pool.window.kernel_h)} * pool.window.kernel_w;
  const auto channels = static_cast<size_t>(output.shape.channels);
  Requantization result;
  result.scale.assign(channels, static_cast<float>(double{from.scale} / elements / output.coding->scale));
  result.offset.assign(channels, static_cast<float>(output.coding->zero_point));
  result.highest = static_cast<float>(output.coding->highest_code());
  result.zero_below = output.coding->zero_below;
  return result;
}

}  // namespace

int LargestStoredLevel(const CodeFormat& format) {
  const int lowest = format.is_signed ? -(1 << (format.bits - 1)) : 0;
  return std::max(std::abs(format.level(lowest)), std::abs(format.level(format.highest_code())));
}

CodeFormat FormatWithoutZero(int bits) {
  return {.bits = bits, .is_signed = false, .narrow = false, .levels = {2, 1 - (1 << bits)}};
}

const Affine* AffineOf(const Node& node) {
  return std::visit(Overloaded{[](const Convolution& op) -> const Affine* { return &op.affine; },
                               [](const Linear& op) -> const Affine* { return &op.affine; },
                               [](const auto&) -> const Affine* { return nullptr; }},
                    node.operation);
}

std::optional<int> WeightOf(const Node& node) {
  return std::visit(Overloaded{[](const Convolution& op) -> std::optional<int> { return op.weight; },
                               [](const Linear& op) -> std::optional<int> { return op.weight; },
                               [](const auto&) -> std::optional<int> { return std::nullopt; }},
                    node.operation);
}

std::string_view KindOf(const Node& node) {
  return std::visit(Overloaded{[](const Convolution&) -> std::string_view { return "Convolution"; },
                               [](const Linear&) -> std::string_view { return "Linear"; },
                               [](const MaxPool&) -> std::string_view { return "MaxPool"; },
                               [](const AveragePool&) -> std::string_view { return "AveragePool"; },
                               [](const Add&) -> std::string_view { return "Add"; },
                               [](const Concatenate&) -> std::string_view { return "Concatenate"; },
                               [](const Flatten&) -> std::string_view { return "Flatten"; }},
                    node.operation);
}

ValueShape OutputShape(const QuantizedModel& model, const Node& node) {
  const ValueShape input = model.values[static_cast<size_t>(node.input())].shape;
  const auto weight_of = [&](int index, size_t dimensions) -> const WeightTensor& {
    if (index < 0 || index >= static_cast<int>(model.weights.size()))
      Fail(node.name, "names a weight that does not exist");
    const WeightTensor& weight = model.weights[static_cast<size_t>(index)];
    if (weight.shape.size() != dimensions) {
      Fail(node.name,
           fmt::format("weight {} has {} dimensions, expected {}", weight.name, weight.shape.size(), dimensions));
    }
    return weight;
  };
  return std::visit(
      Overloaded{[&](const Convolution& op) {
                   const WeightTensor& weight = weight_of(op.weight, 4);
                   if (op.groups < 1 || input.channels % op.groups != 0 || weight.outputs() % op.groups != 0 ||
                       weight.shape[1] != input.channels / op.groups || weight.shape[2] != op.window.kernel_h ||
                       weight.shape[3] != op.window.kernel_w) {
                     Fail(node.name,
                          fmt::format("weight {} of shape [{}] with {} groups does not fit an input of {} channels",
                                      weight.name, fmt::join(weight.shape, ", "), op.groups, input.channels));
                   }
                   return WindowShape(node.name, input, op.window, weight.outputs());
                 },
                 [&](const Linear& op) {
                   const WeightTensor& weight = weight_of(op.weight, 2);
                   if (!input.flat) Fail(node.name, "its input must be flattened first");
                   if (weight.shape[1] != input.elements()) {
                     Fail(node.name, fmt::format("weight {} takes {} inputs, and {} arrive", weight.name,
                                                 weight.shape[1], input.elements()));
                   }
                   return ValueShape{weight.outputs(), 1, 1, true};
                 },
                 [&](const MaxPool& op) { return PooledShape(node.name, input, op.window); },
                 [&](const AveragePool& op) {
                   if (op.window.dilation_h != 1 || op.window.dilation_w != 1)
                     Fail(node.name, "average pooling has no dilation");
                   return PooledShape(node.name, input, op.window);
                 },
                 [&](const Add&) {
                   if (node.inputs.size() != 2 || !(ShapeOfInput(model, node, 1) == input))
                     Fail(node.name, "needs two inputs of one shape");
                   return input;
                 },
                 [&](const Concatenate&) {
                   ValueShape joined = input;
                   for (size_t i = 1; i < node.inputs.size(); ++i) {
                     const ValueShape& other = ShapeOfInput(model, node, i);
                     if (other.height != input.height || other.width != input.width || other.flat != input.flat)
                       Fail(node.name, "joins values of different height or width");
                     joined.channels += other.channels;
                   }
                   return joined;
                 },
                 [&](const Flatten&) {
                   return ValueShape{input.elements(), 1, 1, true};
                 }},
      node.operation);
}

Requantization RequantizationOf(const QuantizedModel& model, const Node& node) {
  if (const auto* pool = std::get_if<AveragePool>(&node.operation)) return RequantizationOfMean(model, node, *pool);
  const Affine& affine = *AffineOf(node);
  const WeightTensor& weight = model.weights[static_cast<size_t>(*WeightOf(node))];
  const Value& input = model.values[static_cast<size_t>(node.input())];
  const Value& output = model.values[static_cast<size_t>(node.output)];
  const double output_scale = output.coding ? output.coding->scale : 1.0;
  const double zero_point = output.coding ? output.coding->zero_point : 0.0;
  Requantization result;
  for (int64_t c = 0; c < weight.outputs(); ++c) {
    const auto channel = static_cast<size_t>(c);
    const double weight_scale = weight.scale[weight.scale.size() == 1 ? 0 : channel];
    const double multiplier = affine.multiplier.empty() ? 1.0 : affine.multiplier[channel];
    const double bias = affine.bias.empty() ? 0.0 : affine.bias[channel];
    result.scale.push_back(static_cast<float>(double{input.coding->scale} * weight_scale * multiplier / output_scale));
    result.offset.push_back(static_cast<float>(bias / output_scale + zero_point));
  }
  result.real = !output.coding.has_value();
  if (output.coding) {
    result.lowest = affine.relu ? static_cast<float>(output.coding->zero_point) : 0.0f;
    result.highest = static_cast<float>(output.coding->highest_code());
    result.zero_below = output.coding->zero_below;
  }
  return result;
}

Quantization QuantizationOf(const ActivationCoding& coding, bool relu) {
  return {coding.scale, coding.zero_point, relu ? coding.zero_point : 0, coding.highest_code(), coding.zero_below};
}

uint8_t CodeOf(float real, const Quantization& q) {
  // Clipping before the conversion keeps it defined for every float.
  const float rounded = std::rint(real / q.scale);
  const float clipped = std::min(std::max(rounded, -1024.0f), 1024.0f);
  const int code = std::clamp(static_cast<int>(clipped) + q.zero_point, q.lowest, q.highest);
  return static_cast<uint8_t>(code < q.zero_below ? q.lowest : code);
}

float RealOf(int code, const ActivationCoding& coding) {
  return static_cast<float>(code - coding.zero_point) * coding.scale;
}

int64_t ProductsPerOutput(const QuantizedModel& model, const Node& node) {
  const WeightTensor& weight = model.weights[static_cast<size_t>(*WeightOf(node))];
  return static_cast<int64_t>(weight.codes.size()) / weight.outputs();
}

void Validate(const QuantizedModel& model) {
  const auto count = static_cast<int>(model.values.size());
  if (count < 2 || model.nodes.empty()) Fail("model", "has no operators");
  for (const auto& weight : model.weights) ValidateWeights(weight);
  for (const auto& value : model.values) {
    ValidateCoding(value);
    const ValueShape& shape = value.shape;
    if (shape.channels < 1 || shape.height < 1 || shape.width < 1 || shape.channels > kMaximumElements ||
        shape.height > 65536 || shape.width > 65536 ||
        shape.channels > kMaximumElements / (shape.height * shape.width)) {
      Fail(value.name, fmt::format("shape {} x {} x {} is not possible", shape.channels, shape.height, shape.width));
    }
  }
  const Value& input = model.values[0];
  if (!input.coding || input.coding->bits != 8) Fail(input.name, "the input must be 8-bit codes");
  std::vector<bool> defined(static_cast<size_t>(count), false);
  defined[0] = true;
  for (const auto& node : model.nodes) {
    const auto unary =
        !std::holds_alternative<Add>(node.operation) && !std::holds_alternative<Concatenate>(node.operation);
    if (node.inputs.empty() || (unary && node.inputs.size() != 1)) Fail(node.name, "has a wrong number of inputs");
    for (int index : node.inputs) {
      if (index < 0 || index >= count || node.output <= index || node.output >= count)
        Fail(node.name, "names values that do not exist or come later");
      if (!defined[static_cast<size_t>(index)]) Fail(node.name, "uses a value before it is computed");
      const Value& from = model.values[static_cast<size_t>(index)];
      if (!from.coding) Fail(node.name, fmt::format("its input {} is not quantized", from.name));
    }
    if (defined[static_cast<size_t>(node.output)]) Fail(node.name, "computes a value a second time");
    defined[static_cast<size_t>(node.output)] = true;
    const Value& from = model.values[static_cast<size_t>(node.input())];
    const Value& to = model.values[static_cast<size_t>(node.output)];
    const ValueShape expected = OutputShape(model, node);
    if (!(expected == to.shape)) Fail(node.name, "its output has another shape than the operator gives");
    if (const Affine* affine = AffineOf(node)) {
      ValidateAffine(model, node, *affine);
    } else if (!to.coding) {
      Fail(node.name, "its output must be quantized");
    } else if (KeepsCoding(node) && !(from.coding == to.coding)) {
      Fail(node.name, "must keep the coding of its input");
    }
  }
  ValidateUses(model);
  if (model.output < 1 || model.output >= count || !defined[static_cast<size_t>(model.output)]) {
    Fail("model", "its output is not computed");
  }
  if (model.values[static_cast<size_t>(model.output)].coding) Fail("model", "its output must be real numbers (logits)");
}

}  // namespace steadfast::model
