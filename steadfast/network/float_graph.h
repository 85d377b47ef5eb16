// A network of real numbers as plain data: what can be trained or quantized. It comes from a built-in function
// (built_in.h) or a float ONNX file (float_onnx.h); training and quantization interpret it.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "steadfast/model/quantized_model.h"  // ValueShape, Window

namespace steadfast::network {

using model::ValueShape;
using model::Window;

struct FloatParameter {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;  // row-major; empty: to be drawn before training
  bool is_shared = false;     // another node's parameter is a copy of the same tensor
  float scale = 0;            // of the codes that weights had (GraphOf), and their bits; 0: none
  int bits = 0;
  int64_t elements() const;
};

// Operators. Numbers are indices into FloatGraph::parameters; -1: none.
struct Convolution {
  Window window;
  int groups = 1;
  int weight = -1;  // [outputs, inputs / groups, height, width]
  int bias = -1;    // [outputs]
};
struct Linear {
  int weight = -1;  // [outputs, inputs]
  int bias = -1;    // [outputs]
};
// (x - mean) * gamma / sqrt(variance + epsilon) + beta, each of one value a channel (Ioffe and Szegedy, 2015).
struct BatchNormalization {
  int gamma = -1, beta = -1, mean = -1, variance = -1;
  double epsilon = 1e-5f;  // as files hold it
  bool is_affine = false;  // factors and terms of a file: mean and variance are constants, not statistics
};
// ReLU (from 0), ReLU6 (from 0 to 6), or any other bounds.
struct Clip {
  float lowest = 0, highest = std::numeric_limits<float>::infinity();
};
// Another function of each number: model::Elementwise names them.
struct Function {
  std::string name;
  float alpha = 0, beta = 0;
};
struct MaxPool {
  Window window;
};
struct AveragePool {  // padding counts as 0
  Window window;
};
struct Add {};
struct Concatenate {};  // of channels
struct Flatten {};
// The product of two values; the second may have one element a channel.
struct Multiply {};
// Matrix products of two values: model::Product says how.
struct Product {
  bool transposed_left = false;
  int groups = 1;
  float factor = 1;
};
// Over channels, in each of `groups` equal parts of them.
struct Softmax {
  int groups = 1;
};
// Over channels, without scale and shift, which belong to the layers behind it (FoldScales).
struct LayerNormalization {
  float epsilon = 1e-5f;
};
// 1 in channel i at position i, of height * width: a 1 x 1 convolution behind it is an embedding of positions. Takes
// the network's input, and nothing of it.
struct Positions {
  int64_t height = 1, width = 1;
};
// The same elements in another order and shape: model::Rearrange.
struct Rearrange {
  ValueShape shape;
  std::vector<int32_t> from;
};
using FloatOperation =
    std::variant<Convolution, Linear, BatchNormalization, Clip, Function, MaxPool, AveragePool, Add, Concatenate,
                 Flatten, Multiply, Product, Softmax, LayerNormalization, Positions, Rearrange>;

struct FloatNode {
  std::string name;
  FloatOperation operation;
  std::vector<int> inputs;  // values
  int output = -1;          // value, greater than the inputs
};

struct FloatValue {
  std::string name;
  ValueShape shape;
  float scale = 0;  // of the codes that it had (GraphOf), and their bits; 0: none
  int bits = 0;
};

struct FloatGraph {
  std::string name;
  std::vector<FloatValue> values;  // values[0]: the input
  std::vector<FloatParameter> parameters;
  std::vector<FloatNode> nodes;  // in the order of execution
  int output = 0;                // value: the logits
  std::map<std::string, std::string> metadata;

  int64_t classes() const { return value(output).shape.elements(); }
  const FloatValue& value(int index) const { return values[static_cast<size_t>(index)]; }
  const FloatParameter& parameter(int index) const { return parameters[static_cast<size_t>(index)]; }
  std::vector<std::vector<int>> Users() const;  // [value]: nodes
};

std::string KindOf(const FloatNode& node);    // "Convolution"
std::string Describe(const FloatNode& node);  // "node 'layer1.conv' (Convolution)"
// The parameter of a weighted node, or -1.
int WeightOf(const FloatNode& node);

// Makes the scales and shifts (and other normalizations) behind layer normalizations a part of the weights and biases
// of all that follows them, which must be linear. Throws InputError where it is not.
void FoldScales(FloatGraph& graph);

// Takes out what does not lead to the output: nodes, and parameters that no other node has.
void Prune(FloatGraph& graph);

// Metadata of files whose weights are yet to be drawn.
inline constexpr std::string_view kUntrained = "steadfast.untrained";

int64_t ParameterCount(const FloatGraph& graph);
int64_t MacsOf(const FloatGraph& graph);  // of weights, and products of values, for one image

// Builds a graph node by node; shapes follow. Throws InputError naming the node where it does not fit.
class GraphBuilder {
 public:
  GraphBuilder(std::string name, const ValueShape& input);

  // Parameters without values: NAME.weight, NAME.bias.
  int Convolve(int input, const std::string& name, int64_t outputs, const Window& window, int64_t groups = 1,
               bool bias = false);
  int Connect(int input, const std::string& name, int64_t outputs);  // fully, with bias; flattens first where needed
  int Normalize(int input, const std::string& name);
  int Relu(int input, const std::string& name);
  int Embed(const std::string& name, int64_t outputs, int64_t height, int64_t width);  // of positions
  int AveragePoolAll(int input, const std::string& name);

  int AddParameter(std::string name, std::vector<int64_t> shape, std::vector<float> values = {});
  int AddNode(const std::string& name, FloatOperation operation, std::vector<int> inputs);
  const ValueShape& shape(int value) const { return graph_.value(value).shape; }

  FloatGraph graph_;
};

// A square window with the same padding on all sides.
Window Square(int kernel, int stride = 1, int padding = 0);

}  // namespace steadfast::network
