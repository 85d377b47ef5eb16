// A quantized network as plain data: a graph of operators on integer codes.
//
// Memory holds codes of b bits (1 to 8). The arithmetic is on integer levels, level = multiplier * code + offset:
// two's complement codes have (1, 0); a quantizer without zero has (2, 1 - 2^b), so its one-bit levels are {-1, +1};
// an activation with zero point z has (1, -z). A real value is scale * level.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace steadfast::model {

struct LevelMap {
  int multiplier = 1;
  int offset = 0;
  bool operator==(const LevelMap&) const = default;
};

struct CodeFormat {
  int bits = 8;  // 1 to 8
  bool is_signed = true;
  bool narrow = false;  // signed codes that leave out -2^(bits-1)
  LevelMap levels = {};

  int lowest_code() const { return is_signed ? -(1 << (bits - 1)) + (narrow ? 1 : 0) : 0; }
  int highest_code() const { return is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1; }
  int level(int code) const { return levels.multiplier * code + levels.offset; }
  bool operator==(const CodeFormat&) const = default;
};

// The largest |level| that a memory cell of this format can hold, faults included: narrow or not, a faulty two's
// complement code can be -2^(bits-1).
int LargestStoredLevel(const CodeFormat& format);

// The format of a quantizer without zero: unsigned codes, levels 2 code + 1 - 2^bits.
CodeFormat FormatWithoutZero(int bits);

struct WeightTensor {
  std::string name;
  std::vector<int64_t> shape;  // convolution: [out, in / groups, kh, kw]; linear: [out, in]
  CodeFormat format;
  std::vector<float> scale;    // 1 (per tensor) or out (per channel) values
  std::vector<int16_t> codes;  // row-major

  int64_t outputs() const { return shape[0]; }
  bool operator==(const WeightTensor&) const = default;
};

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
  float scale = 1.0f;
  int zero_point = 0;
  int zero_below = 0;  // FATReLU over codes: codes below this become zero_point; 0: none
  int highest_code() const { return (1 << bits) - 1; }
  bool operator==(const ActivationCoding&) const = default;
};

// What flows between operators, for one image.
struct Value {
  std::string name;
  ValueShape shape;
  std::optional<ActivationCoding> coding;  // nothing: real numbers (the network's output)
  bool operator==(const Value&) const = default;
};

struct Window {
  int kernel_h = 1, kernel_w = 1;
  int stride_h = 1, stride_w = 1;
  int pad_h = 0, pad_w = 0;  // both sides
  int dilation_h = 1, dilation_w = 1;
  bool operator==(const Window&) const = default;
};

// What follows a weighted sum: real = acc * (s_in * s_w[c]) * multiplier[c] + bias[c], then Relu if set, then coding.
struct Affine {
  std::vector<float> multiplier;  // [out], or empty: 1
  std::vector<float> bias;        // [out], or empty: 0
  bool relu = false;
  bool operator==(const Affine&) const = default;
};

struct Convolution {
  int weight;  // index into QuantizedModel::weights
  Window window;
  int groups = 1;
  Affine affine;
  bool operator==(const Convolution&) const = default;
};

// Fully connected, on a flat input.
struct Linear {
  int weight;
  Affine affine;
  bool operator==(const Linear&) const = default;
};

struct MaxPool {
  Window window;
  bool operator==(const MaxPool&) const = default;
};

// The mean over a window, padding counted as level 0; its output has a coding of its own. A window as large as its
// input is global average pooling.
struct AveragePool {
  Window window;
  bool operator==(const AveragePool&) const = default;
};

// The sum of two values of one shape, each with a scale of its own (a residual connection), then Relu if set.
struct Add {
  bool relu = false;
  bool operator==(const Add&) const = default;
};

// The channels of its inputs, one input after the other, requantized to the output's coding where theirs differs.
struct Concatenate {
  bool operator==(const Concatenate&) const = default;
};

struct Flatten {
  bool operator==(const Flatten&) const = default;
};

using Operation = std::variant<Convolution, Linear, MaxPool, AveragePool, Add, Concatenate, Flatten>;

struct Node {
  std::string name;
  Operation operation;
  std::vector<int> inputs;  // indices into QuantizedModel::values
  int output;               // always greater than the inputs
  int input() const { return inputs.front(); }
  bool operator==(const Node&) const = default;
};

struct QuantizedModel {
  std::string name;
  std::vector<Value> values;                    // values[0]: the input, raw bytes
  std::vector<WeightTensor> weights;            // in the order of the memory arrays
  std::vector<Node> nodes;                      // in the order of execution
  int output = 0;                               // index of the logits
  std::map<std::string, std::string> metadata;  // "steadfast.recipe" and so on

  int64_t classes() const { return values[static_cast<size_t>(output)].shape.elements(); }
};

// The weighted part of a node, or nullptr.
const Affine* AffineOf(const Node& node);
std::optional<int> WeightOf(const Node& node);
std::string_view KindOf(const Node& node);  // "Convolution"

// The output shape of a node. Throws InputError naming the node where it does not fit its input.
ValueShape OutputShape(const QuantizedModel& model, const Node& node);

// One step of requantization: code = clip(rint(float(acc) * scale[c] + offset[c]), lowest, highest), in IEEE float32,
// product and sum each rounded, rint to nearest even; then codes below zero_below become lowest. Where the output is
// real, the value is float(acc) * scale[c] + offset[c].
struct Requantization {
  std::vector<float> scale;   // [out]
  std::vector<float> offset;  // [out]
  bool real = false;
  float lowest = 0, highest = 0;
  int zero_below = 0;
};

// Of a weighted node: scale[c] = s_in * s_w[c] * multiplier[c] / s_out and offset[c] = bias[c] / s_out + zero_point,
// each computed in double from left to right and rounded to float once (s_out = 1 and zero_point = 0 for real outputs).
// Of an AveragePool: scale = s_in / (elements of the window) / s_out and offset = zero_point, for every channel.
Requantization RequantizationOf(const QuantizedModel& model, const Node& node);

// What becomes of real values that are no sums (Add, Concatenate): code = clip(rint(x / s_out) + zero_point, lowest,
// highest), the division in IEEE float32; then codes below zero_below become lowest. A level enters as float(level) *
// s_in, rounded; the two of an Add are added in float32, in the order of the inputs.
struct Quantization {
  float scale = 1;
  int zero_point = 0;
  int lowest = 0, highest = 0;
  int zero_below = 0;
};
Quantization QuantizationOf(const ActivationCoding& coding, bool relu);
uint8_t CodeOf(float real, const Quantization& quantization);
float RealOf(int code, const ActivationCoding& coding);

// The products summed for one output of a weighted node.
int64_t ProductsPerOutput(const QuantizedModel& model, const Node& node);

// Throws InputError, naming tensor or node, for anything the engines rely on: shapes that fit, codes in range, finite
// positive scales, and K * max|a| * max|w| < 2^31 for every code that a faulty memory can hold.
void Validate(const QuantizedModel& model);

}  // namespace steadfast::model
