// A quantized network as plain data: a graph of operators on integer codes.
//
// Memory holds parameters (parameter.h): codes of b bits (1 to 8), and the constants beside them. The arithmetic is on
// integer levels, level = multiplier * code + offset: two's complement codes have (1, 0); a quantizer without zero has
// (2, 1 - 2^b), so its one-bit levels are {-1, +1}; an activation with zero point z has (1, -z). A real value is scale
// * level.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "steadfast/model/operation.h"  // Operation
#include "steadfast/model/parameter.h"  // Parameter

namespace steadfast::model {

// Whose arithmetic a network runs under (docs/runtimes.md): ONNX's standard text, or ONNX Runtime's integer kernels;
// for int8 TFLite files XNNPACK's kernels, LiteRT's built-in ones, or TFLite Micro's.
enum class Profile : uint8_t { kOnnx, kOrt, kXnnpack, kLiteRtBuiltin, kTflm };
std::string_view NameOf(Profile profile);     // "onnx", "ort", "xnnpack", "litert-builtin", "tflm"
Profile ParseProfile(std::string_view text);  // throws UsageError
inline bool IsOfTflite(Profile profile) {
  return profile != Profile::kOnnx && profile != Profile::kOrt;
}

struct ValueShape {
  int64_t channels = 0;
  int64_t height = 1;
  int64_t width = 1;
  bool flat = false;  // behind Flatten or Linear: [channels], no rows and columns any more
  int64_t elements() const { return channels * height * width; }
  bool operator==(const ValueShape&) const = default;
};

// How a value is coded. Codes are unsigned; level = code - zero_point.
struct ActivationCoding {
  int bits = 8;
  float scale = 1.0f;  // what real numbers are divided by where they become codes
  int zero_point = 0;
  int zero_below = 0;      // FATReLU over codes: codes below this become zero_point; 0: none
  bool is_signed = false;  // files and memories hold code - 2^(bits-1), in two's complement
  // What levels are multiplied by where they become real numbers again: the scale, unless files store another one for
  // it and a fault has made the two differ.
  std::optional<float> dequantizing_scale = {};
  float real_scale() const { return dequantizing_scale.value_or(scale); }
  int highest_code() const { return (1 << bits) - 1; }
  int stored_offset() const { return is_signed ? -(1 << (bits - 1)) : 0; }  // stored = code + this
  bool operator==(const ActivationCoding&) const = default;
};

// What flows between operators, for one image.
struct Value {
  std::string name;
  ValueShape shape;
  std::optional<ActivationCoding> coding;  // nothing: real numbers (the network's output)
  int scale = -1;                          // the parameter that holds the scale of the coding; -1: it is not stored
  int dequantizing_scale = -1;             // where another parameter holds what levels are multiplied by
  bool operator==(const Value&) const = default;
};

struct Window {
  int kernel_h = 1, kernel_w = 1;
  int stride_h = 1, stride_w = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  int dilation_h = 1, dilation_w = 1;

  bool has_padding() const { return pad_top > 0 || pad_left > 0 || pad_bottom > 0 || pad_right > 0; }
  bool operator==(const Window&) const = default;
};

// One step from a weighted sum's real value to what is quantized, by constants of one value an output, or one for all.
struct AffineStep {
  enum class Kind { kMultiply, kAdd, kNormalize };
  Kind kind = Kind::kAdd;
  int parameter = -1;  // the factor, the term (float or int32), or gamma
  // Of kNormalize: x becomes (x - mean) * gamma / sqrt(variance + epsilon) + beta.
  int beta = -1, mean = -1, variance = -1;
  double epsilon = 0;
  // Of kAdd: under ONNX Runtime's profile an int32 bias is a part of the integer sum, whatever its scale.
  bool is_fused = false;
  bool operator==(const AffineStep&) const = default;
};

// What operators with weights share: real = acc * (s_in * s_w[c]), then the steps.
struct Weighted {
  int weight = -1;  // index into QuantizedModel::parameters
  std::vector<AffineStep> steps;
  bool operator==(const Weighted&) const = default;
};

// What clips a result to codes.
struct Activation {
  bool relu = false;              // no code below the zero point
  bool relu6 = false;             // none above that of 6 either, whatever the scale is
  int lowest = 0, highest = 255;  // codes, as a Clip leaves them
  bool operator==(const Activation&) const = default;
};

struct Node {
  std::string name;
  Operation operation;
  std::vector<int> inputs;  // indices into QuantizedModel::values
  int output;               // always greater than the inputs
  Activation activation = {};
  int input() const { return inputs.front(); }
  bool operator==(const Node&) const = default;
};

struct QuantizedModel {
  std::string name;
  std::vector<Value> values;          // values[0]: the input
  std::vector<Parameter> parameters;  // all that is stored
  std::vector<Node> nodes;            // in the order of execution
  int output = 0;                     // index of the logits
  bool real_input = false;            // the file takes real numbers, which values[0].coding quantizes
  bool needs_input_scaling = false;   // and says nothing of bytes: a user must (--input-scale)
  bool quantizes_input = false;       // of TFLite files: by an operator of their own
  // What a changed file would not do as the changed model does: scales by which the graph also quantizes constants, and
  // weights that it clips to narrow codes. By name.
  std::vector<std::string> constant_scales = {}, clipped_weights = {};
  int reading = 1;  // 2, 3: earlier versions read this file differently (docs/formats.md)
  Profile profile = Profile::kOnnx;
  std::string format = "ONNX";                  // of the file, with what wrote it
  std::vector<std::string> notes;               // what reading assumed, or left out
  std::map<std::string, std::string> metadata;  // "steadfast.recipe" and so on

  int64_t classes() const { return values[static_cast<size_t>(output)].shape.elements(); }
  const Value& value(int index) const { return values[static_cast<size_t>(index)]; }
  const Parameter& parameter(int index) const { return parameters[static_cast<size_t>(index)]; }
};

// Adds a float parameter; gives its index.
int AddFloats(QuantizedModel& model, std::string name, Role role, std::vector<int64_t> shape,
              std::vector<float> values);
// Adds weights and, as NAME_scale, their scales: 1 or one an output, of a level.
int AddWeights(QuantizedModel& model, const std::string& name, std::vector<int64_t> shape, const CodeFormat& format,
               const std::vector<float>& scales, const std::vector<int16_t>& codes);
// Of a normalization that stands alone: a convolution of 1 x 1 with one group a channel, whose weights are 1 and fixed.
int AddOnes(QuantizedModel& model, const std::string& name, int64_t channels);
// A weighted part whose sums are multiplied and biased by one float an output; empty: not at all. Adds the parameters
// NAME.multiplier and NAME.bias.
Weighted AddAffine(QuantizedModel& model, const std::string& name, int weight, const std::vector<float>& multiplier,
                   const std::vector<float>& bias);

// The weight parameter of a node, or nothing.
std::optional<int> WeightOf(const Node& node);
std::string_view KindOf(const Node& node);  // "Convolution"
// The weight parameters, in their order: the arrays of the weight memory.
std::vector<int> WeightsOf(const QuantizedModel& model);  // without fixed ones
// Scales of values as parameters NAME.scale, for models that were not read from a file. Operators that keep their
// input's coding keep its scale.
void AddActivationScales(QuantizedModel& model);
// Whether a parameter holds the scale of values, and the values' codings made to say what the parameters hold.
bool HoldsActivationScale(const QuantizedModel& model, int parameter);
void UpdateCodings(QuantizedModel& model);
// All parameters that a node refers to: its weights, their scales, and the constants of its steps.
std::vector<int> ParametersOf(const QuantizedModel& model, const Node& node);

// The output shape of a node. Throws InputError naming the node where it does not fit its input.
ValueShape OutputShape(const QuantizedModel& model, const Node& node);

// The products summed for one output of a weighted node.
int64_t ProductsPerOutput(const QuantizedModel& model, const Node& node);

// Throws InputError, naming tensor or node, for anything the engines rely on: shapes that fit, codes in range, finite
// positive scales, and K * max|a| * max|w| < 2^31 for every code that a faulty memory can hold.
void Validate(const QuantizedModel& model);

}  // namespace steadfast::model
