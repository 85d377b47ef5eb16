#include "tests/tflite_networks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>

#include "steadfast/model/tflite_generated.h"

namespace steadfast {
namespace {

namespace tflite = model::tflite;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

struct TensorSpec {
  std::string name;
  std::vector<int32_t> shape;
  tflite::TensorType type;
  std::vector<float> scales;
  std::vector<int64_t> zero_points;
  int axis = 0;
  std::vector<uint8_t> data;  // of constants
  int32_t in_buffer_of = -1;  // of another tensor, in place of one of its own
};

struct OperatorSpec {
  int code, version;
  std::vector<int32_t> inputs;
  int32_t output;
  tflite::BuiltinOptions type;
  std::function<Offset<void>(FlatBufferBuilder&)> options;
};

struct Network {
  std::vector<TensorSpec> tensors;
  std::vector<OperatorSpec> operators;

  int32_t Add(TensorSpec tensor) {
    tensors.push_back(std::move(tensor));
    return static_cast<int32_t>(tensors.size()) - 1;
  }

  std::vector<uint8_t> Write() const {
    FlatBufferBuilder builder;
    std::vector<Offset<tflite::Buffer>> buffers = {tflite::CreateBuffer(builder)};
    std::vector<Offset<tflite::Tensor>> written;
    std::vector<uint32_t> buffer_of;  // [tensor]
    for (const TensorSpec& t : tensors) {
      uint32_t& buffer = buffer_of.emplace_back(0);
      if (t.in_buffer_of >= 0) {
        buffer = buffer_of[static_cast<size_t>(t.in_buffer_of)];
      } else if (!t.data.empty()) {
        buffer = static_cast<uint32_t>(buffers.size());
        builder.ForceVectorAlignment(t.data.size(), 1, 16);
        buffers.push_back(tflite::CreateBuffer(builder, builder.CreateVector(t.data)));
      }
      Offset<tflite::QuantizationParameters> quantization = 0;
      if (!t.scales.empty())
        quantization = tflite::CreateQuantizationParametersDirect(builder, nullptr, nullptr, &t.scales, &t.zero_points,
                                                                  0, 0, t.axis);
      written.push_back(tflite::CreateTensorDirect(builder, &t.shape, t.type, buffer, t.name.c_str(), quantization));
    }
    std::vector<Offset<tflite::OperatorCode>> codes;
    std::vector<Offset<tflite::Operator>> ops;
    for (const OperatorSpec& op : operators) {
      codes.push_back(
          tflite::CreateOperatorCode(builder, static_cast<int8_t>(std::min(op.code, 127)), 0, op.version, op.code));
      const Offset<void> options = op.options ? op.options(builder) : Offset<void>(0);
      const std::vector<int32_t> outputs = {op.output};
      ops.push_back(tflite::CreateOperatorDirect(builder, static_cast<uint32_t>(codes.size()) - 1, &op.inputs, &outputs,
                                                 op.type, options));
    }
    const std::vector<int32_t> inputs = {0}, outputs = {operators.back().output};
    const std::vector<Offset<tflite::SubGraph>> graphs = {
        tflite::CreateSubGraphDirect(builder, &written, &inputs, &outputs, &ops, "main")};
    builder.Finish(tflite::CreateModelDirect(builder, 3, &codes, &graphs, "random", &buffers),
                   tflite::ModelIdentifier());
    return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
  }
};

class Maker {
 public:
  explicit Maker(uint64_t seed, bool is_signed = true) : random_(seed), is_signed_(is_signed) {}

  TfliteNetwork MakeWithSharedBiases() {
    constexpr int32_t kWidth = 6;
    const int32_t first = AddFullyConnected(AddActivation({1, kWidth}, 1.0f / 255, -128), kWidth, true);
    const int32_t bias = network_.operators.back().inputs[2];
    AddFullyConnected(first, kWidth, false);
    network_.tensors[static_cast<size_t>(network_.operators.back().inputs[2])].in_buffer_of = bias;
    return {network_.Write(), kWidth};
  }

  // A resizing of rows.
  TfliteNetwork MakeResized(int32_t from, int32_t to) {
    int32_t at = AddActivation({1, from, 1, 1}, 1.0f / 255, -128);
    at = AddMove(
        97, at, {1, to, 1, 1}, {AddNumbers({to, 1}, {2})}, tflite::BuiltinOptions_ResizeNearestNeighborOptions,
        [](auto& builder) { return tflite::CreateResizeNearestNeighborOptions(builder, false, false).Union(); });
    AddFullyConnected(AddFlattening(at), 4, false);
    return {network_.Write(), from};
  }
  // Images that trade places with rows.
  TfliteNetwork MakeOfMovedImages() {
    int32_t at = AddActivation({4096, 1, 1, 6}, 1.0f / 255, -128);
    at = AddMove(39, at, {1, 4096, 1, 6}, {AddNumbers({1, 0, 2, 3}, {4})}, tflite::BuiltinOptions_NONE, nullptr);
    AddMean(at, false);
    return {network_.Write(), 6};
  }
  // A sum of int8 and uint8.
  TfliteNetwork MakeMixed() {
    const int32_t input = AddActivation({1, 3, 3, 2}, 1.0f / 255, -128);
    const int32_t branch = AddConvolution(input, false, 2);
    network_.tensors[static_cast<size_t>(branch)].type = tflite::TensorType_UINT8;
    network_.tensors[static_cast<size_t>(branch)].zero_points[0] = 100;
    const int32_t output = AddActivation({1, 3, 3, 2}, 0.02f, 0);
    network_.operators.push_back({0, 2, {input, branch}, output, tflite::BuiltinOptions_AddOptions, [](auto& builder) {
                                    return tflite::CreateAddOptions(builder).Union();
                                  }});
    return {network_.Write(), 18};
  }

  TfliteNetwork MakeOfReals(int32_t inputs) {
    const int32_t reals = network_.Add({NextName(), {1, inputs}, tflite::TensorType_FLOAT32});
    int32_t at = AddActivation({1, inputs}, Scale(0.004), Between(-100, 100));
    network_.operators.push_back({114, 1, {reals}, at, tflite::BuiltinOptions_NONE, nullptr});
    at = AddFullyConnected(at, 5, false);
    const int32_t output = network_.Add({NextName(), {1, 5}, tflite::TensorType_FLOAT32});
    network_.operators.push_back({6, 2, {at}, output, tflite::BuiltinOptions_NONE, nullptr});
    return {network_.Write(), inputs};
  }

  TfliteNetwork Make() {
    const auto side = static_cast<int32_t>(Between(5, 12));
    const int32_t input = AddActivation(
        {1, side, static_cast<int32_t>(Between(4, 10)), static_cast<int32_t>(Between(1, 4))}, 1.0f / 255, -128);
    const auto& shape = network_.tensors[0].shape;
    TfliteNetwork made;
    made.input_elements = int64_t{shape[1]} * shape[2] * shape[3];
    int32_t at = AddConvolution(input, false);
    for (int64_t left = Between(2, 5); left > 0; --left) {
      const int64_t kind = Between(0, 13);
      if (kind == 0) at = AddConvolution(at, true);
      if (kind == 1) at = AddConvolution(at, false);
      if (kind == 2) at = AddSum(at);
      if (kind == 3) at = AddPool(at, false);
      if (kind == 4) at = AddPool(at, true);
      if (kind == 5) at = AddReshape(at);
      if (kind == 6) at = AddFunction(at);
      if (kind == 7) at = AddProduct(at);
      if (kind == 8) at = AddJoined(at);
      if (kind == 9) at = AddPadded(at);
      if (kind == 10) at = AddRequantization(at);
      if (kind == 11) at = AddTransposition(at);
      if (kind == 12) at = AddSlice(at);
      if (kind == 13) at = AddResize(at);
    }
    if (Chance(40))
      at = AddMean(at, false);
    else
      at = AddFlattening(at);
    if (Chance(40)) at = AddFullyConnected(at, static_cast<int32_t>(Between(3, 20)), true);
    at = AddFullyConnected(at, static_cast<int32_t>(Between(3, 12)), false);
    if (Chance(50)) AddSoftmax(at);
    made.bytes = network_.Write();
    return made;
  }

 private:
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int percent) { return Between(1, 100) <= percent; }
  // Now and then a power of two, which meets ties.
  float Scale(double about) {
    const double scale = about * std::exp2(static_cast<double>(Between(-1000, 1000)) / 2000);
    return static_cast<float>(Chance(30) ? std::exp2(std::rint(std::log2(scale))) : scale);
  }
  tflite::ActivationFunctionType RandomFunction() {
    constexpr tflite::ActivationFunctionType kAll[] = {
        tflite::ActivationFunctionType_NONE, tflite::ActivationFunctionType_RELU, tflite::ActivationFunctionType_RELU6};
    return kAll[Between(0, 2)];
  }
  std::string NextName() { return "t" + std::to_string(network_.tensors.size()); }
  const TensorSpec& Tensor(int32_t index) const { return network_.tensors[static_cast<size_t>(index)]; }

  tflite::TensorType Type() const { return is_signed_ ? tflite::TensorType_INT8 : tflite::TensorType_UINT8; }
  // zero_point: of int8; uint8 codes are 128 more.
  int32_t AddActivation(std::vector<int32_t> shape, float scale, int64_t zero_point) {
    return network_.Add({NextName(), std::move(shape), Type(), {scale}, {zero_point + (is_signed_ ? 0 : 128)}});
  }
  int64_t ZeroOf(const TensorSpec& tensor) const { return tensor.zero_points[0] - (is_signed_ ? 0 : 128); }
  int64_t ZeroPoint(tflite::ActivationFunctionType function) {
    return function == tflite::ActivationFunctionType_NONE ? Between(-100, 100) : -128;
  }

  int32_t AddWeights(std::vector<int32_t> shape, int axis, int64_t outputs, bool per_channel) {
    int64_t elements = 1;
    for (const int32_t size : shape) elements *= size;
    per_channel = per_channel && is_signed_;
    TensorSpec weights{NextName(), std::move(shape), Type()};
    for (int64_t i = 0; i < elements; ++i)
      weights.data.push_back(static_cast<uint8_t>(is_signed_ ? Between(-127, 127) : Between(0, 255)));
    for (int64_t o = 0; o < (per_channel ? outputs : 1); ++o) {
      weights.scales.push_back(Scale(0.01));
      weights.zero_points.push_back(is_signed_ ? 0 : Between(60, 190));
    }
    weights.axis = per_channel ? axis : 0;
    return network_.Add(std::move(weights));
  }
  int32_t AddBias(int64_t outputs, int32_t input, int32_t weights, double typical_sum) {
    TensorSpec bias{NextName(), {static_cast<int32_t>(outputs)}, tflite::TensorType_INT32};
    for (int64_t o = 0; o < outputs; ++o) {
      const auto value = static_cast<int32_t>(typical_sum * static_cast<double>(Between(-1000, 1000)) / 1000);
      const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
      bias.data.insert(bias.data.end(), bytes, bytes + sizeof(value));
    }
    for (const float scale : Tensor(weights).scales) {
      bias.scales.push_back(Tensor(input).scales[0] * scale);
      bias.zero_points.push_back(0);
    }
    return network_.Add(std::move(bias));
  }
  // The scale of a sum of products of which a typical one fills half of the codes.
  float ScaleOfSums(int32_t input, int32_t weights, int64_t products) {
    return Scale(Tensor(input).scales[0] * Tensor(weights).scales[0] * 74 * 74 *
                 std::sqrt(static_cast<double>(products)) / 60);
  }

  static int32_t Places(tflite::Padding padding, int32_t size, int32_t kernel, int32_t stride, int32_t dilation) {
    const int32_t covered = padding == tflite::Padding_SAME ? 0 : (kernel - 1) * dilation;
    return (size - covered + stride - 1) / stride;
  }
  int32_t Kernel(int32_t size) { return static_cast<int32_t>(Between(1, std::min(size, 4))); }

  int32_t AddConvolution(int32_t input, bool depthwise, int32_t outputs = 0, bool is_padded = false) {
    const std::vector<int32_t> shape = Tensor(input).shape;
    const bool keeps_shape = outputs > 0;
    const int32_t kernel_h = Kernel(shape[1]), kernel_w = Kernel(shape[2]);
    const tflite::Padding padding =
        !is_padded && (keeps_shape || Chance(60)) ? tflite::Padding_SAME : tflite::Padding_VALID;
    const int32_t stride = keeps_shape ? 1 : static_cast<int32_t>(Between(1, 2));
    const bool fits = (kernel_h - 1) * 2 < shape[1] && (kernel_w - 1) * 2 < shape[2];
    const int32_t dilation = stride == 1 && fits && Chance(15) ? 2 : 1;
    const int32_t multiplier = Chance(70) ? 1 : 2;
    if (outputs == 0) outputs = depthwise ? shape[3] * multiplier : static_cast<int32_t>(Between(1, 20));
    const int32_t weights = depthwise ? AddWeights({1, kernel_h, kernel_w, outputs}, 3, outputs, true)
                                      : AddWeights({outputs, kernel_h, kernel_w, shape[3]}, 0, outputs, Chance(85));
    const int64_t products = int64_t{kernel_h} * kernel_w * (depthwise ? 1 : shape[3]);
    const int32_t bias = AddBias(outputs, input, weights, 74 * 74 * std::sqrt(static_cast<double>(products)));
    const tflite::ActivationFunctionType function = RandomFunction();
    const int32_t output = AddActivation({1, Places(padding, shape[1], kernel_h, stride, dilation),
                                          Places(padding, shape[2], kernel_w, stride, dilation), outputs},
                                         ScaleOfSums(input, weights, products), ZeroPoint(function));
    if (depthwise)
      network_.operators.push_back(
          {4, 3, {input, weights, bias}, output, tflite::BuiltinOptions_DepthwiseConv2DOptions, [=](auto& builder) {
             return tflite::CreateDepthwiseConv2DOptions(builder, padding, stride, stride, multiplier, function,
                                                         dilation, dilation)
                 .Union();
           }});
    else
      network_.operators.push_back(
          {3, 3, {input, weights, bias}, output, tflite::BuiltinOptions_Conv2DOptions, [=](auto& builder) {
             return tflite::CreateConv2DOptions(builder, padding, stride, stride, function, dilation, dilation).Union();
           }});
    return output;
  }

  // A value and a convolution of it.
  int32_t AddSum(int32_t input) {
    const int32_t branch = AddConvolution(input, false, Tensor(input).shape[3]);
    const tflite::ActivationFunctionType function = RandomFunction();
    const double larger = std::max(Tensor(input).scales[0], Tensor(branch).scales[0]);
    const int32_t output = AddActivation(Tensor(input).shape, Scale(larger), ZeroPoint(function));
    std::vector<int32_t> inputs = {input, branch};
    if (Chance(50)) std::swap(inputs[0], inputs[1]);
    network_.operators.push_back({0, 2, inputs, output, tflite::BuiltinOptions_AddOptions,
                                  [=](auto& builder) { return tflite::CreateAddOptions(builder, function).Union(); }});
    return output;
  }

  int32_t AddPool(int32_t input, bool largest) {
    const TensorSpec from = Tensor(input);
    const bool whole = Chance(30);
    const int32_t kernel_h = whole ? from.shape[1] : Kernel(from.shape[1]),
                  kernel_w = whole ? from.shape[2] : Kernel(from.shape[2]);
    const tflite::Padding padding = !whole && Chance(40) ? tflite::Padding_SAME : tflite::Padding_VALID;
    const auto stride = static_cast<int32_t>(Between(1, 2));
    const int32_t output = AddActivation({1, Places(padding, from.shape[1], kernel_h, stride, 1),
                                          Places(padding, from.shape[2], kernel_w, stride, 1), from.shape[3]},
                                         from.scales[0], ZeroOf(from));
    network_.operators.push_back(
        {largest ? 17 : 1, 2, {input}, output, tflite::BuiltinOptions_Pool2DOptions, [=](auto& builder) {
           return tflite::CreatePool2DOptions(builder, padding, stride, stride, kernel_w, kernel_h).Union();
         }});
    return output;
  }

  // LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU.
  int32_t AddFunction(int32_t input) {
    constexpr int kCodes[] = {14, 28, 117, 98};
    const int code = kCodes[Between(0, 3)];
    const float scale = Tensor(input).scales[0];
    int32_t output = -1;
    if (code == 14) output = AddActivation(Tensor(input).shape, 1.0f / 256, -128);
    if (code == 28) output = AddActivation(Tensor(input).shape, 1.0f / 128, 0);
    if (code == 117 || code == 98) output = AddActivation(Tensor(input).shape, Scale(scale * 0.8), Between(-90, 90));
    const float alpha = static_cast<float>(Between(1, 60)) / 100;
    if (code == 98)
      network_.operators.push_back(
          {code, 2, {input}, output, tflite::BuiltinOptions_LeakyReluOptions, [=](auto& builder) {
             return tflite::CreateLeakyReluOptions(builder, alpha).Union();
           }});
    else
      network_.operators.push_back({code, code == 117 ? 1 : 2, {input}, output, tflite::BuiltinOptions_NONE, nullptr});
    return output;
  }
  int32_t AddRequantization(int32_t input) {
    const int32_t output = AddActivation(Tensor(input).shape, Scale(Tensor(input).scales[0]), Between(-90, 90));
    network_.operators.push_back({114, 2, {input}, output, tflite::BuiltinOptions_NONE, nullptr});
    return output;
  }

  // A value times a gate: of its own shape, or of its mean.
  int32_t AddProduct(int32_t input) {
    int32_t gate = Chance(50) ? AddMean(input, true) : input;
    gate = AddConvolution(gate, false, Tensor(input).shape[3]);
    const tflite::ActivationFunctionType function = RandomFunction();
    const int32_t output = AddActivation(
        Tensor(input).shape, Scale(Tensor(input).scales[0] * Tensor(gate).scales[0] * 100), ZeroPoint(function));
    std::vector<int32_t> inputs = {input, gate};
    if (Chance(50)) std::swap(inputs[0], inputs[1]);
    network_.operators.push_back({18, 2, inputs, output, tflite::BuiltinOptions_MulOptions,
                                  [=](auto& builder) { return tflite::CreateMulOptions(builder, function).Union(); }});
    return output;
  }

  // A value and itself, pooled in place: all of one scale.
  int32_t AddJoined(int32_t input) {
    const TensorSpec from = Tensor(input);
    const int32_t pooled = AddActivation(from.shape, from.scales[0], ZeroOf(from));
    network_.operators.push_back(
        {17, 2, {input}, pooled, tflite::BuiltinOptions_Pool2DOptions, [=](auto& builder) {
           return tflite::CreatePool2DOptions(builder, tflite::Padding_SAME, 1, 1, 2, 2).Union();
         }});
    std::vector<int32_t> shape = from.shape;
    shape[3] *= 2;
    const int32_t output = AddActivation(shape, from.scales[0], ZeroOf(from));
    network_.operators.push_back(
        {2, 2, {input, pooled}, output, tflite::BuiltinOptions_ConcatenationOptions, [](auto& builder) {
           return tflite::CreateConcatenationOptions(builder, 3).Union();
         }});
    return output;
  }

  int32_t AddNumbers(const std::vector<int32_t>& numbers, const std::vector<int32_t>& shape) {
    TensorSpec tensor{NextName(), shape, tflite::TensorType_INT32};
    for (const int32_t number : numbers) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(&number);
      tensor.data.insert(tensor.data.end(), bytes, bytes + sizeof(number));
    }
    return network_.Add(std::move(tensor));
  }

  // PAD, and a convolution without padding.
  int32_t AddPadded(int32_t input) {
    const TensorSpec from = Tensor(input);
    std::vector<int32_t> pads(8);
    for (size_t i = 2; i < 6; ++i) pads[i] = static_cast<int32_t>(Between(0, 2));
    const int32_t sizes = AddNumbers(pads, {4, 2});
    const int32_t output =
        AddActivation({1, from.shape[1] + pads[2] + pads[3], from.shape[2] + pads[4] + pads[5], from.shape[3]},
                      from.scales[0], ZeroOf(from));
    network_.operators.push_back({34, 2, {input, sizes}, output, tflite::BuiltinOptions_NONE, nullptr});
    return AddConvolution(output, Chance(40), 0, true);
  }

  // Another order and shape of the same codes, by an operator whose further inputs are numbers.
  int32_t AddMove(int code, int32_t input, std::vector<int32_t> shape, const std::vector<int32_t>& numbers,
                  tflite::BuiltinOptions type, std::function<Offset<void>(FlatBufferBuilder&)> options) {
    std::vector<int32_t> inputs = {input};
    inputs.insert(inputs.end(), numbers.begin(), numbers.end());
    const int32_t output = AddActivation(std::move(shape), Tensor(input).scales[0], ZeroOf(Tensor(input)));
    network_.operators.push_back({code, 2, inputs, output, type, std::move(options)});
    return output;
  }
  int32_t AddTransposition(int32_t input) {
    std::vector<int32_t> order = {1, 2, 3};
    std::shuffle(order.begin(), order.end(), random_);
    order.insert(order.begin(), 0);
    std::vector<int32_t> shape;
    for (const int32_t axis : order) shape.push_back(Tensor(input).shape[static_cast<size_t>(axis)]);
    return AddMove(39, input, shape, {AddNumbers(order, {4})}, tflite::BuiltinOptions_NONE, nullptr);
  }
  int32_t AddSlice(int32_t input) {
    std::vector<int32_t> begin = {0}, end = {1}, strides = {1}, shape = {1};
    int32_t begin_mask = 0, end_mask = 0;
    for (size_t axis = 1; axis < 4; ++axis) {
      const int32_t size = Tensor(input).shape[axis], stride = static_cast<int32_t>(Between(1, 2));
      int32_t from = static_cast<int32_t>(Between(0, size / 3)), to = size - static_cast<int32_t>(Between(0, size / 3));
      shape.push_back((to - from + stride - 1) / stride);
      if (from == 0 && Chance(50)) begin_mask |= 1 << axis;
      if (to == size && Chance(50)) end_mask |= 1 << axis;
      begin.push_back(Chance(30) ? from - size : from);  // from the end
      end.push_back(to < size && Chance(30) ? to - size : to);
      strides.push_back(stride);
    }
    return AddMove(45, input, shape, {AddNumbers(begin, {4}), AddNumbers(end, {4}), AddNumbers(strides, {4})},
                   tflite::BuiltinOptions_StridedSliceOptions, [=](auto& builder) {
                     return tflite::CreateStridedSliceOptions(builder, begin_mask, end_mask).Union();
                   });
  }
  int32_t AddResize(int32_t input) {
    const std::vector<int32_t> from = Tensor(input).shape;
    const auto height = static_cast<int32_t>(Between(1, 2 * from[1])),
               width = static_cast<int32_t>(Between(1, 2 * from[2]));
    const bool aligned = Chance(30), half = !aligned && Chance(50);
    return AddMove(97, input, {1, height, width, from[3]}, {AddNumbers({height, width}, {2})},
                   tflite::BuiltinOptions_ResizeNearestNeighborOptions, [=](auto& builder) {
                     return tflite::CreateResizeNearestNeighborOptions(builder, aligned, half).Union();
                   });
  }

  int32_t AddMean(int32_t input, bool keeps) {
    const TensorSpec from = Tensor(input);
    const int32_t axes = AddNumbers(Chance(50) ? std::vector<int32_t>{1, 2} : std::vector<int32_t>{-3, -2}, {2});
    const std::vector<int32_t> shape =
        keeps ? std::vector<int32_t>{1, 1, 1, from.shape[3]} : std::vector<int32_t>{1, from.shape[3]};
    const int32_t output = AddActivation(shape, Scale(from.scales[0] * 0.6), Between(-90, 90));
    network_.operators.push_back(
        {40, 2, {input, axes}, output, tflite::BuiltinOptions_ReducerOptions, [=](auto& builder) {
           return tflite::CreateReducerOptions(builder, keeps).Union();
         }});
    return output;
  }

  int32_t AddReshaping(int32_t input, const std::vector<int32_t>& shape) {
    TensorSpec sizes{NextName(), {static_cast<int32_t>(shape.size())}, tflite::TensorType_INT32};
    for (const int32_t size : shape) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(&size);
      sizes.data.insert(sizes.data.end(), bytes, bytes + sizeof(size));
    }
    const int32_t to = network_.Add(std::move(sizes));
    const TensorSpec from = Tensor(input);
    const int32_t output = AddActivation(shape, from.scales[0], ZeroOf(from));
    network_.operators.push_back({22, 1, {input, to}, output, tflite::BuiltinOptions_NONE, nullptr});
    return output;
  }
  int32_t AddReshape(int32_t input) {
    const std::vector<int32_t> shape = Tensor(input).shape;
    if (shape[1] * shape[2] == 1) return input;
    return AddReshaping(input, {1, shape[2] * shape[1], 1, shape[3]});
  }
  int32_t AddFlattening(int32_t input) {
    const std::vector<int32_t> shape = Tensor(input).shape;
    return AddReshaping(input, {1, shape[1] * shape[2] * shape[3]});
  }

  int32_t AddFullyConnected(int32_t input, int32_t outputs, bool hidden) {
    const int32_t products = Tensor(input).shape[1];
    const int32_t weights = AddWeights({outputs, products}, 0, outputs, false);
    const int32_t bias = AddBias(outputs, input, weights, 74 * 74 * std::sqrt(static_cast<double>(products)));
    const tflite::ActivationFunctionType function = hidden ? RandomFunction() : tflite::ActivationFunctionType_NONE;
    const int32_t output = AddActivation({1, outputs}, ScaleOfSums(input, weights, products), ZeroPoint(function));
    network_.operators.push_back(
        {9, 4, {input, weights, bias}, output, tflite::BuiltinOptions_FullyConnectedOptions, [=](auto& builder) {
           return tflite::CreateFullyConnectedOptions(builder, function).Union();
         }});
    return output;
  }

  void AddSoftmax(int32_t input) {
    const int32_t output = AddActivation(Tensor(input).shape, 1.0f / 256, -128);
    network_.operators.push_back({25, 2, {input}, output, tflite::BuiltinOptions_SoftmaxOptions, [](auto& builder) {
                                    return tflite::CreateSoftmaxOptions(builder, 1.0f).Union();
                                  }});
  }

  std::mt19937_64 random_;
  const bool is_signed_;
  Network network_;
};

const tflite::SubGraph& GraphOf(std::span<const uint8_t> bytes) {
  return *tflite::GetModel(bytes.data())->subgraphs()->Get(0);
}

}  // namespace

TfliteNetwork RandomTflite(uint64_t seed) {
  return Maker(seed).Make();
}

TfliteNetwork RandomUnsignedTflite(uint64_t seed) {
  return Maker(seed, false).Make();
}

TfliteNetwork TfliteResized(int32_t from, int32_t to) {
  return Maker(1).MakeResized(from, to);
}
TfliteNetwork TfliteOfMovedImages() {
  return Maker(1).MakeOfMovedImages();
}
TfliteNetwork TfliteOfMixedTypes() {
  return Maker(1).MakeMixed();
}

TfliteNetwork TfliteOfReals(uint64_t seed, int32_t inputs) {
  return Maker(seed).MakeOfReals(inputs);
}

TfliteNetwork TfliteWithSharedBiases(uint64_t seed) {
  return Maker(seed).MakeWithSharedBiases();
}

std::vector<ComputedTensor> ComputedTensors(std::span<const uint8_t> bytes) {
  std::vector<ComputedTensor> computed;
  const tflite::SubGraph& graph = GraphOf(bytes);
  for (const auto* op : *graph.operators()) {
    const auto& tensor = *graph.tensors()->Get(static_cast<uint32_t>(op->outputs()->Get(0)));
    int64_t elements = 1;
    for (const int32_t size : *tensor.shape()) elements *= size;
    computed.push_back({tensor.name()->str(), elements});
  }
  return computed;
}

// A vector of outputs is put behind the file, and the graph's field points there; signatures, which name outputs of
// their own, are dropped.
std::vector<uint8_t> WithAllOutputs(std::span<const uint8_t> bytes) {
  std::vector<uint8_t> result(bytes.begin(), bytes.end());
  const auto place_of = [&](const uint8_t* field) { return static_cast<size_t>(field - bytes.data()); };
  const auto append = [&](size_t field, const std::vector<int32_t>& values) {
    while (result.size() % 16 != 0) result.push_back(0);
    const auto offset = static_cast<uint32_t>(result.size() - field);
    std::memcpy(result.data() + field, &offset, sizeof(offset));
    const auto count = static_cast<uint32_t>(values.size());
    const auto* first = reinterpret_cast<const uint8_t*>(&count);
    result.insert(result.end(), first, first + sizeof(count));
    const auto* numbers = reinterpret_cast<const uint8_t*>(values.data());
    result.insert(result.end(), numbers, numbers + values.size() * sizeof(int32_t));
  };
  const tflite::SubGraph& graph = GraphOf(bytes);
  std::vector<int32_t> outputs;
  for (const auto* op : *graph.operators()) outputs.push_back(op->outputs()->Get(0));
  const auto* of_graph = reinterpret_cast<const flatbuffers::Table*>(&graph);
  append(place_of(of_graph->GetAddressOf(tflite::SubGraph::VT_OUTPUTS)), outputs);
  constexpr flatbuffers::voffset_t kSignatures = 4 + 2 * 7;
  const auto* of_model = reinterpret_cast<const flatbuffers::Table*>(tflite::GetModel(bytes.data()));
  if (const uint8_t* signatures = of_model->GetAddressOf(kSignatures)) append(place_of(signatures), {});
  return result;
}

}  // namespace steadfast
