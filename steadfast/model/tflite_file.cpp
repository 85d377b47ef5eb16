#include "steadfast/model/tflite_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <new>
#include <numeric>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/concatenate.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/dequantize.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/operators/multiply.h"
#include "steadfast/model/operators/rearrange.h"
#include "steadfast/model/operators/softmax.h"
#include "steadfast/model/tflite_generated.h"
#include "steadfast/model/view.h"

namespace steadfast::model {
namespace {

constexpr int kPlaceholderForGreaterCodes = 127;

std::string NameOfTfliteOperator(int code) {
  const std::string name = tflite::EnumNameBuiltinOperator(static_cast<tflite::BuiltinOperator>(code));
  return name.empty() ? fmt::format("builtin operator {}", code) : name;
}

int64_t SizeOf(tflite::TensorType type) {
  switch (type) {
    case tflite::TensorType_INT8:
    case tflite::TensorType_UINT8:
      return 1;
    case tflite::TensorType_INT32:
    case tflite::TensorType_FLOAT32:
      return 4;
    case tflite::TensorType_INT64:
      return 8;
    default:
      return 0;
  }
}

class TfliteReader {
 public:
  TfliteReader(std::span<const uint8_t> bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  TfliteModel Read() {
    constexpr int kDeepest = 16;
    constexpr uint32_t kMostTables = 1 << 20;
    flatbuffers::Verifier verifier(bytes_.data(), bytes_.size(), kDeepest, kMostTables);
    if (!IsTflite(bytes_) || !tflite::VerifyModelBuffer(verifier))
      Fail("file", fmt::format("is not a TFLite model: {} bytes that do not hold together as one", bytes_.size()));
    const tflite::Model& file = *tflite::GetModel(bytes_.data());
    if (file.version() != 3) Fail("file", fmt::format("has version {} of the format, expected 3", file.version()));
    if (file.subgraphs() == nullptr || file.subgraphs()->size() != 1)
      Fail("file", fmt::format("has {} graphs, expected 1: control flow is not read",
                               file.subgraphs() == nullptr ? 0 : file.subgraphs()->size()));
    graph_ = file.subgraphs()->Get(0);
    buffers_ = file.buffers();
    if (graph_->tensors() == nullptr || graph_->operators() == nullptr || file.operator_codes() == nullptr)
      Fail("file", "has no operators");
    NameTensors();
    model_.profile = Profile::kXnnpack;
    model_.format = fmt::format("TFLite ({})", file.description() == nullptr || file.description()->size() == 0
                                                   ? "no description"
                                                   : file.description()->str());
    model_.name = graph_->name() == nullptr || graph_->name()->size() == 0 ? "main" : graph_->name()->str();
    ReadInput();
    for (const auto* op : *graph_->operators()) {
      if (op == nullptr || op->opcode_index() >= file.operator_codes()->size()) Fail("file", "has a broken operator");
      ReadOperator(*op, *file.operator_codes()->Get(op->opcode_index()));
    }
    ReadOutput();
    try {
      Validate(model_);
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", file_, error.what()));
    }
    return {std::move(model_), std::move(offsets_)};
  }

 private:
  // An operator of the file, in errors by its name and that of its result.
  struct Op {
    const tflite::Operator* proto;
    int code;
    std::string name;
  };

  struct Padded {
    int value;
    int top = 0, bottom = 0, left = 0, right = 0;
  };

  [[noreturn]] void Fail(const std::string& where, const std::string& what) const {
    throw InputError(fmt::format("{}: {}: {}", file_, where, what));
  }
  [[noreturn]] void Fail(const Op& op, const std::string& what) const {
    Fail(fmt::format("{} '{}'", NameOfTfliteOperator(op.code), op.name), what);
  }

  // ---- tensors ----

  const tflite::Tensor& TensorAt(int index) const {
    if (index < 0 || index >= static_cast<int>(graph_->tensors()->size()) ||
        graph_->tensors()->Get(static_cast<uint32_t>(index)) == nullptr)
      Fail("file", fmt::format("names tensor {}, and has {}", index, graph_->tensors()->size()));
    return *graph_->tensors()->Get(static_cast<uint32_t>(index));
  }
  const std::string& NameAt(int index) const { return names_[static_cast<size_t>(index)]; }

  // Names are unique in a model: what has none is called by its number, and what shares one gets it behind.
  void NameTensors() {
    std::set<std::string> taken;
    for (uint32_t i = 0; i < graph_->tensors()->size(); ++i) {
      const tflite::Tensor& tensor = TensorAt(static_cast<int>(i));
      std::string name = tensor.name() == nullptr ? "" : tensor.name()->str();
      if (name.empty()) name = fmt::format("tensor{}", i);
      while (!taken.insert(name).second) name += fmt::format("#{}", i);
      names_.push_back(std::move(name));
    }
  }

  std::vector<int64_t> ShapeOf(int index) const {
    const tflite::Tensor& tensor = TensorAt(index);
    std::vector<int64_t> shape;
    int64_t elements = 1;
    constexpr int64_t kMost = int64_t{1} << 31;
    if (tensor.shape() != nullptr) {
      for (const int32_t size : *tensor.shape()) {
        if (size < 1 || elements > kMost / size)
          Fail(fmt::format("tensor '{}'", NameAt(index)), fmt::format("has a dimension of {}", size));
        elements *= size;
        shape.push_back(size);
      }
    }
    return shape;
  }

  // The bytes of a constant, checked against its shape; empty where it is none.
  std::span<const uint8_t> DataOf(int index) const {
    const tflite::Tensor& tensor = TensorAt(index);
    const std::string where = fmt::format("tensor '{}'", NameAt(index));
    if (buffers_ == nullptr || tensor.buffer() >= buffers_->size() || buffers_->Get(tensor.buffer()) == nullptr)
      Fail(where, fmt::format("lies in buffer {}, and the file has {}", tensor.buffer(),
                              buffers_ == nullptr ? 0 : buffers_->size()));
    const tflite::Buffer& buffer = *buffers_->Get(tensor.buffer());
    if (buffer.offset() > 1) Fail(where, "lies behind the end of the model's tables, which is not read");
    if (buffer.data() == nullptr || buffer.data()->size() == 0) return {};
    int64_t elements = 1;
    for (const int64_t size : ShapeOf(index)) elements *= size;
    const int64_t size = SizeOf(tensor.type());
    if (size == 0) Fail(where, fmt::format("has elements of type {}", tensor.type()));
    if (static_cast<int64_t>(buffer.data()->size()) != elements * size)
      Fail(where, fmt::format("has {} bytes, expected {} from its shape", buffer.data()->size(), elements * size));
    return {buffer.data()->data(), buffer.data()->size()};
  }
  bool IsConstant(int index) const { return index >= 0 && !DataOf(index).empty(); }

  // Where a new parameter of a tensor lies. Bytes that serve two are refused: one fault would break both.
  void AddOffset(int tensor, const void* place) {
    const auto offset = static_cast<uint64_t>(static_cast<const uint8_t*>(place) - bytes_.data());
    const auto [other, is_new] = tensor_at_.emplace(offset, tensor);
    if (!is_new)
      Fail(fmt::format("tensor '{}'", NameAt(tensor)),
           fmt::format("shares its bytes with '{}', and a fault in them would be one in both, which is not read",
                       NameAt(other->second)));
    offsets_.push_back(offset);
  }

  // The scales of a tensor as a parameter, made when first met.
  int ScalesOf(int index, Role role) {
    const auto found = scales_.find(index);
    if (found != scales_.end()) return found->second;
    const auto* quantization = TensorAt(index).quantization();
    const std::string where = fmt::format("tensor '{}'", NameAt(index));
    if (quantization == nullptr || quantization->scale() == nullptr || quantization->scale()->size() == 0)
      Fail(where, "has no scale: it is not quantized");
    if (quantization->details_type() != 0) Fail(where, "has a custom quantization");
    const auto& scales = *quantization->scale();
    std::vector<float> values(scales.begin(), scales.end());
    const auto count = static_cast<int64_t>(values.size());
    const int parameter =
        AddFloats(model_, NameAt(index) + ".scale", role,
                  count > 1 ? std::vector<int64_t>{count} : std::vector<int64_t>{}, std::move(values));
    AddOffset(index, scales.data());
    scales_[index] = parameter;
    return parameter;
  }

  std::vector<int64_t> ZeroPointsOf(int index) const {
    const auto* quantization = TensorAt(index).quantization();
    if (quantization == nullptr || quantization->zero_point() == nullptr) return {};
    const auto& zeros = *quantization->zero_point();
    std::vector<int64_t> values(zeros.size());  // in a damaged file they may lie anywhere
    if (!values.empty()) std::memcpy(values.data(), zeros.Data(), values.size() * sizeof(int64_t));
    return values;
  }

  ActivationCoding CodingOf(int index, int scale) const {
    const std::string where = fmt::format("tensor '{}'", NameAt(index));
    const tflite::TensorType type = TensorAt(index).type();
    if (type != tflite::TensorType_INT8 && type != tflite::TensorType_UINT8)
      Fail(where, fmt::format("has elements of type {}, expected int8 or uint8", type));
    if (model_.parameter(scale).elements() != 1) Fail(where, "has several scales, and activations have one");
    ActivationCoding coding{.scale = model_.parameter(scale).real(0), .is_signed = type == tflite::TensorType_INT8};
    const std::vector<int64_t> zeros = ZeroPointsOf(index);
    if (zeros.size() > 1) Fail(where, "has several zero points, and activations have one");
    const int64_t zero = zeros.empty() ? 0 : zeros[0];
    const int lowest = coding.stored_offset(), highest = lowest + coding.highest_code();
    if (zero < lowest || zero > highest)
      Fail(where, fmt::format("has zero point {}, expected {} to {}", zero, lowest, highest));
    coding.zero_point = static_cast<int>(zero) - lowest;
    return coding;
  }

  // ---- values ----

  // [1, C], [1, L, C] and [1, H, W, C]; the batch is 1 whatever the file says.
  ValueShape ValueShapeOf(int index) const {
    const std::vector<int64_t> shape = ShapeOf(index);
    constexpr int64_t kMostElements = int64_t{1} << 24;
    int64_t elements = 1;
    for (size_t i = 1; i < shape.size(); ++i) elements *= shape[i];
    if (elements > kMostElements)
      Fail(fmt::format("tensor '{}'", NameAt(index)),
           fmt::format("has {} elements, and values of at most {} are read", elements, kMostElements));
    if (shape.size() == 2) return {shape[1], 1, 1, true};
    if (shape.size() == 3) return {shape[2], 1, shape[1]};
    if (shape.size() == 4) return {shape[3], shape[1], shape[2]};
    Fail(fmt::format("tensor '{}'", NameAt(index)),
         fmt::format("has {} dimensions, expected [N, C] or [N, H, W, C]", shape.size()));
  }

  int ValueOf(const Op& op, int input) const {
    const int index = InputOf(op, input);
    const auto found = values_.find(index);
    if (padded_.contains(index))
      Fail(op, fmt::format("takes '{}', and a PAD is only read before convolutions", NameAt(index)));
    if (found == values_.end() && index == input_)
      Fail(op, "takes the network's input as real numbers, and only 8-bit networks are read");
    if (found == values_.end())
      Fail(op, IsConstant(index)
                   ? fmt::format("takes the constant '{}' where a computed value is expected", NameAt(index))
                   : fmt::format("takes '{}', which nothing computes", NameAt(index)));
    return found->second;
  }
  int InputOf(const Op& op, int input) const {
    const auto* inputs = op.proto->inputs();
    if (inputs == nullptr || input >= static_cast<int>(inputs->size()) || inputs->Get(static_cast<uint32_t>(input)) < 0)
      Fail(op, fmt::format("has no input {}", input));
    const int index = inputs->Get(static_cast<uint32_t>(input));
    TensorAt(index);
    return index;
  }
  bool HasInput(const Op& op, int input) const {
    const auto* inputs = op.proto->inputs();
    return inputs != nullptr && input < static_cast<int>(inputs->size()) &&
           inputs->Get(static_cast<uint32_t>(input)) >= 0;
  }
  void ExpectInputs(const Op& op, size_t least, size_t most) const {
    const size_t count = op.proto->inputs() == nullptr ? 0 : op.proto->inputs()->size();
    if (count < least || count > most) Fail(op, fmt::format("has {} inputs", count));
  }
  int OutputOf(const Op& op) const { return op.proto->outputs()->Get(0); }

  template <typename Options>
  const Options& OptionsOf(const Op& op) const {
    const auto* options = op.proto->builtin_options_as<Options>();
    if (options == nullptr) Fail(op, "has no options of its kind");
    return *options;
  }

  // Adds an operator whose result is the operator's output tensor.
  int Add(const Op& op, Operation operation, std::vector<int> inputs, const Activation& activation = {}) {
    return AddTo(op, std::move(operation), std::move(inputs), activation, OutputOf(op), ValueShapeOf(OutputOf(op)));
  }
  int AddTo(const Op& op, Operation operation, std::vector<int> inputs, const Activation& activation, int tensor,
            const ValueShape& shape) {
    if (values_.contains(tensor)) Fail(op, fmt::format("computes '{}' a second time", NameAt(tensor)));
    const int scale = ScalesOf(tensor, Role::kActivationScale);
    Value value{NameAt(tensor), shape, CodingOf(tensor, scale)};
    value.scale = scale;
    const bool keeps = operation.definition().keeps_coding;
    if (keeps && !(*value.coding == *model_.value(inputs[0]).coding))
      Fail(op, "its result has another scale or zero point than its input, which it only moves");
    for (const int input : inputs) {
      if (model_.value(input).coding->is_signed != value.coding->is_signed &&
          op.code != tflite::BuiltinOperator_QUANTIZE)
        Fail(op, "takes and gives int8 and uint8, and only QUANTIZE goes from one to the other");
    }
    const int output = static_cast<int>(model_.values.size());
    model_.values.push_back(std::move(value));
    model_.nodes.push_back({NameAt(tensor), std::move(operation), std::move(inputs), output, activation});
    ValueShape made;
    try {
      made = OutputShape(model_, model_.nodes.back());
    } catch (const InputError& error) {
      Fail(op, error.what());
    }
    if (!(made == shape))
      Fail(op, fmt::format("gives {} x {} x {}, and the file says {} x {} x {} (channels x rows x columns)",
                           made.channels, made.height, made.width, shape.channels, shape.height, shape.width));
    values_[tensor] = output;
    return output;
  }

  Activation ActivationOf(const Op& op, tflite::ActivationFunctionType type) const {
    switch (type) {
      case tflite::ActivationFunctionType_NONE:
        return {};
      case tflite::ActivationFunctionType_RELU:
        return {.relu = true};
      case tflite::ActivationFunctionType_RELU6:
        return {.relu = true, .relu6 = true};
      default:
        Fail(op, fmt::format("its fused activation function {} is not known; NONE, RELU and RELU6 are", type));
    }
  }

  void ReadInput() {
    const auto* inputs = graph_->inputs();
    if (inputs == nullptr || inputs->size() != 1)
      Fail("file", fmt::format("has {} inputs, expected 1", inputs == nullptr ? 0 : inputs->size()));
    input_ = inputs->Get(0);
    if (TensorAt(input_).type() == tflite::TensorType_FLOAT32) return;  // the QUANTIZE behind it is the input
    AddInput(input_);
    const ActivationCoding& coding = *model_.value(0).coding;
    const bool is_byte = coding.scale == 1.0f || std::abs(coding.scale * 255.0f - 1.0f) < 1e-4f;
    model_.real_input = model_.needs_input_scaling = coding.zero_point != 0 || !is_byte;
  }
  void AddInput(int tensor) {
    const int scale = ScalesOf(tensor, Role::kActivationScale);
    Value value{NameAt(tensor), ValueShapeOf(tensor), CodingOf(tensor, scale)};
    value.scale = scale;
    model_.values.push_back(std::move(value));
    values_[tensor] = 0;
  }

  void ReadOutput() {
    const auto* outputs = graph_->outputs();
    if (outputs == nullptr || outputs->size() != 1)
      Fail("file", fmt::format("has {} outputs, expected 1", outputs == nullptr ? 0 : outputs->size()));
    TensorAt(outputs->Get(0));
    const int tensor = real_output_ >= 0 && outputs->Get(0) == real_output_ ? codes_of_output_ : outputs->Get(0);
    const auto found = values_.find(tensor);
    if (found == values_.end()) Fail("file", fmt::format("its output '{}' is not computed", NameAt(outputs->Get(0))));
    const Value last = model_.value(found->second);
    if (last.shape.height * last.shape.width != 1)
      Fail("file", fmt::format("its output '{}' has rows and columns, and one number a class is expected", last.name));
    AddDequantizedOutput(model_, found->second, last.name + ".real");
  }

  // ---- operators ----

  void ReadOperator(const tflite::Operator& proto, const tflite::OperatorCode& code) {
    // Codes up to 127 stand in the old field, larger ones in the new.
    const int builtin = code.deprecated_builtin_code() < kPlaceholderForGreaterCodes
                            ? std::max<int>(code.deprecated_builtin_code(), code.builtin_code())
                            : code.builtin_code();
    Op op{&proto, builtin, ""};
    if (proto.outputs() == nullptr || proto.outputs()->size() != 1)
      Fail(op, fmt::format("has {} outputs, expected 1", proto.outputs() == nullptr ? 0 : proto.outputs()->size()));
    TensorAt(OutputOf(op));
    op.name = NameAt(OutputOf(op));
    if (code.custom_code() != nullptr && code.custom_code()->size() > 0)
      Fail(op, fmt::format("is the custom operator {}, which is not known", code.custom_code()->str()));
    switch (builtin) {
      case tflite::BuiltinOperator_CONV_2D:
        return ReadConvolution<tflite::Conv2DOptions>(op, false);
      case tflite::BuiltinOperator_DEPTHWISE_CONV_2D:
        return ReadConvolution<tflite::DepthwiseConv2DOptions>(op, true);
      case tflite::BuiltinOperator_FULLY_CONNECTED:
        return ReadFullyConnected(op);
      case tflite::BuiltinOperator_ADD:
        return ReadAdd(op);
      case tflite::BuiltinOperator_AVERAGE_POOL_2D:
      case tflite::BuiltinOperator_MAX_POOL_2D:
        return ReadPool(op);
      case tflite::BuiltinOperator_RESHAPE:
      case tflite::BuiltinOperator_SQUEEZE:
        return ReadReshape(op);
      case tflite::BuiltinOperator_SOFTMAX:
        return ReadSoftmax(op);
      case tflite::BuiltinOperator_CONCATENATION:
        return ReadConcatenation(op);
      case tflite::BuiltinOperator_MUL:
        return ReadMul(op);
      case tflite::BuiltinOperator_MEAN:
        return ReadMean(op);
      case tflite::BuiltinOperator_PAD:
        return ReadPad(op);
      case tflite::BuiltinOperator_TRANSPOSE:
        return ReadTranspose(op);
      case tflite::BuiltinOperator_STRIDED_SLICE:
        return ReadStridedSlice(op);
      case tflite::BuiltinOperator_RESIZE_NEAREST_NEIGHBOR:
        return ReadResize(op);
      case tflite::BuiltinOperator_LOGISTIC:
        return ReadFunction(op, "Sigmoid", 1.0f / 256, 0);
      case tflite::BuiltinOperator_TANH:
        return ReadFunction(op, "Tanh", 1.0f / 128, 128);
      case tflite::BuiltinOperator_HARD_SWISH:
        return ReadFunction(op, "HardSwish", 0, 0);
      case tflite::BuiltinOperator_LEAKY_RELU:
        return ReadFunction(op, "LeakyRelu", 0, 0);
      case tflite::BuiltinOperator_QUANTIZE:
        return ReadQuantize(op);
      case tflite::BuiltinOperator_DEQUANTIZE:
        return ReadDequantize(op);
      default:
        Fail(op,
             "this operator is not supported (known are CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD, "
             "MUL, CONCATENATION, AVERAGE_POOL_2D, MAX_POOL_2D, MEAN, PAD, RESHAPE, SQUEEZE, TRANSPOSE, STRIDED_SLICE, "
             "RESIZE_NEAREST_NEIGHBOR, SOFTMAX, LOGISTIC, TANH, "
             "HARD_SWISH, LEAKY_RELU, QUANTIZE, and DEQUANTIZE at the end)");
    }
  }

  // Padding along one axis; SAME puts what is odd behind.
  void Pad(const Op& op, tflite::Padding padding, int64_t size, int kernel, int stride, int dilation, int& before,
           int& behind) const {
    if (padding == tflite::Padding_VALID) return;
    if (padding != tflite::Padding_SAME) Fail(op, fmt::format("has padding {}, expected SAME or VALID", padding));
    const int64_t places = (size + stride - 1) / stride;
    const int64_t total = std::max<int64_t>(0, (places - 1) * stride + int64_t{kernel - 1} * dilation + 1 - size);
    before = static_cast<int>(total / 2);
    behind = static_cast<int>(total - total / 2);
  }

  template <typename Options>
  Window WindowOf(const Op& op, const Options& options, int kernel_h, int kernel_w, int dilation_h, int dilation_w,
                  const ValueShape& input) const {
    Window window{kernel_h, kernel_w, options.stride_h(), options.stride_w()};
    window.dilation_h = dilation_h;
    window.dilation_w = dilation_w;
    for (const int number : {kernel_h, kernel_w, window.stride_h, window.stride_w, dilation_h, dilation_w}) {
      if (number < 1 || number > 65536) Fail(op, fmt::format("has a size, stride or dilation of {}", number));
    }
    Pad(op, options.padding(), input.height, kernel_h, window.stride_h, dilation_h, window.pad_top, window.pad_bottom);
    Pad(op, options.padding(), input.width, kernel_w, window.stride_w, dilation_w, window.pad_left, window.pad_right);
    return window;
  }

  // Weights of 8 bits and their scales, made when first met.
  int WeightsOf(const Op& op, int index, int output_axis, bool channels_last) {
    const tflite::TensorType type = TensorAt(InputOf(op, 0)).type();
    if (TensorAt(index).type() != type)
      Fail(op, fmt::format("its weights '{}' have elements of type {}, and its input of type {}", NameAt(index),
                           TensorAt(index).type(), type));
    const auto found = weights_.find(index);
    if (found != weights_.end()) {
      const Parameter& known = model_.parameter(found->second);
      if (known.output_axis != output_axis || known.channels_last != channels_last)
        Fail(op, fmt::format("shares its weights '{}' with an operator that takes them another way", NameAt(index)));
      return found->second;
    }
    const std::span<const uint8_t> data = DataOf(index);
    if (data.empty()) Fail(op, fmt::format("its weights '{}' are not a constant", NameAt(index)));
    const std::vector<int64_t> zeros = ZeroPointsOf(index);
    const bool is_signed = type == tflite::TensorType_INT8;
    if (is_signed && std::any_of(zeros.begin(), zeros.end(), [](int64_t zero) { return zero != 0; }))
      Fail(op, fmt::format("its weights '{}' have a zero point other than 0", NameAt(index)));
    if (!is_signed && (zeros.size() > 1 || (zeros.size() == 1 && (zeros[0] < 0 || zeros[0] > 255))))
      Fail(op, fmt::format("its weights '{}' have zero points [{}], expected one from 0 to 255", NameAt(index),
                           fmt::join(zeros, ", ")));
    Parameter weight{.name = NameAt(index), .role = Role::kWeight, .shape = ShapeOf(index)};
    weight.format.codes.is_signed = is_signed;
    if (!is_signed && !zeros.empty()) weight.format.codes.levels.offset = -static_cast<int>(zeros[0]);
    weight.output_axis = output_axis;
    weight.channels_last = channels_last;
    for (const uint8_t byte : data) weight.bits.push_back(byte);
    const auto* quantization = TensorAt(index).quantization();
    const bool per_channel =
        quantization != nullptr && quantization->scale() != nullptr && quantization->scale()->size() > 1;
    if (per_channel && !is_signed)
      Fail(op, fmt::format("its weights '{}' are uint8 with {} scales, expected one", NameAt(index),
                           quantization->scale()->size()));
    if (per_channel && quantization->quantized_dimension() != output_axis)
      Fail(op, fmt::format("the scales of its weights '{}' lie along dimension {}, expected {}", NameAt(index),
                           quantization->quantized_dimension(), output_axis));
    const auto parameter = static_cast<int>(model_.parameters.size());
    model_.parameters.push_back(std::move(weight));
    AddOffset(index, data.data());
    const int scale = ScalesOf(index, Role::kScale);
    model_.parameters[static_cast<size_t>(parameter)].scale = scale;
    weights_[index] = parameter;
    return parameter;
  }

  Weighted WeightedOf(const Op& op, int weight) {
    Weighted weighted{weight, {}};
    if (!HasInput(op, 2)) return weighted;
    const int index = InputOf(op, 2);
    const std::span<const uint8_t> data = DataOf(index);
    if (data.empty() || TensorAt(index).type() != tflite::TensorType_INT32)
      Fail(op, fmt::format("its bias '{}' is not a constant of int32", NameAt(index)));
    const auto found = biases_.find(index);
    if (found != biases_.end()) {
      weighted.steps.push_back({AffineStep::Kind::kAdd, found->second});
      return weighted;
    }
    Parameter bias{.name = NameAt(index), .role = Role::kBias, .shape = ShapeOf(index)};
    bias.format.kind = StorageFormat::Kind::kInt32;
    for (size_t i = 0; i < data.size(); i += 4) {
      uint32_t pattern = 0;
      std::memcpy(&pattern, data.data() + i, sizeof(pattern));
      bias.bits.push_back(pattern);
    }
    biases_[index] = static_cast<int>(model_.parameters.size());
    weighted.steps.push_back({AffineStep::Kind::kAdd, biases_[index]});
    model_.parameters.push_back(std::move(bias));
    AddOffset(index, data.data());
    return weighted;
  }

  static int Small(int64_t size) { return static_cast<int>(std::min<int64_t>(size, 1 << 20)); }

  // Of [out, h, w, in / groups] weights, or depthwise: of [1, h, w, out].
  template <typename Options>
  void ReadConvolution(const Op& op, bool is_depthwise) {
    ExpectInputs(op, 2, 3);
    const auto& options = OptionsOf<Options>(op);
    const Padded input = PaddedValueOf(op, 0, options.padding());
    const int weight = WeightsOf(op, InputOf(op, 1), is_depthwise ? 3 : 0, !is_depthwise);
    const std::vector<int64_t> shape = model_.parameter(weight).shape;
    if (shape.size() != 4 || (is_depthwise && shape[0] != 1))
      Fail(op, fmt::format("its weights have shape [{}], expected [{}]", fmt::join(shape, ", "),
                           is_depthwise ? "1, h, w, out" : "out, h, w, in"));
    const ValueShape& in = model_.value(input.value).shape;
    const bool fits = is_depthwise ? shape[3] % in.channels == 0 : in.channels % shape[3] == 0;
    if (!fits)
      Fail(op, fmt::format("its weights of shape [{}] do not fit {} channels", fmt::join(shape, ", "), in.channels));
    Convolution convolution;
    convolution.window = WindowOf(op, options, Small(shape[1]), Small(shape[2]), options.dilation_h_factor(),
                                  options.dilation_w_factor(), in);
    convolution.window.pad_top += input.top;
    convolution.window.pad_bottom += input.bottom;
    convolution.window.pad_left += input.left;
    convolution.window.pad_right += input.right;
    convolution.groups = Small(is_depthwise ? in.channels : in.channels / shape[3]);
    convolution.weighted = WeightedOf(op, weight);
    Add(op, convolution, {input.value}, ActivationOf(op, options.fused_activation_function()));
  }

  void ReadFullyConnected(const Op& op) {
    ExpectInputs(op, 2, 3);
    const auto& options = OptionsOf<tflite::FullyConnectedOptions>(op);
    if (options.weights_format() != 0) Fail(op, "its weights are shuffled, which is not read");
    int input = ValueOf(op, 0);
    if (!model_.value(input).shape.flat) input = Flattened(op, input);
    const int weight = WeightsOf(op, InputOf(op, 1), 0, false);
    if (model_.parameter(weight).shape.size() != 2) Fail(op, "its weights must have 2 dimensions");
    ValueShape shape = ValueShapeOf(OutputOf(op));
    shape.flat = shape.flat || shape.height * shape.width == 1;
    AddTo(op, Linear{WeightedOf(op, weight)}, {input}, ActivationOf(op, options.fused_activation_function()),
          OutputOf(op), shape);
  }

  // The order in which a file has the elements of a value with rows and columns.
  static std::vector<int32_t> ChannelsLastOrder(const ValueShape& shape) {
    std::vector<int32_t> from;
    for (int64_t y = 0; y < shape.height; ++y) {
      for (int64_t x = 0; x < shape.width; ++x) {
        for (int64_t c = 0; c < shape.channels; ++c)
          from.push_back(static_cast<int32_t>((c * shape.height + y) * shape.width + x));
      }
    }
    return from;
  }
  static Operation FlatteningOf(const ValueShape& shape) {
    if (shape.height * shape.width == 1) return Flatten{};
    return Rearrange{{shape.elements(), 1, 1, true}, ChannelsLastOrder(shape)};
  }
  // A value with rows and columns, flattened for an operator that takes it so.
  int Flattened(const Op& op, int input) {
    const Value from = model_.value(input);
    Value value{op.name + ".input", {from.shape.elements(), 1, 1, true}, from.coding, from.scale};
    const int output = static_cast<int>(model_.values.size());
    model_.values.push_back(value);
    model_.nodes.push_back({value.name, FlatteningOf(from.shape), {input}, output});
    return output;
  }

  void ReadAdd(const Op& op) {
    ExpectInputs(op, 2, 2);
    const auto& options = OptionsOf<tflite::AddOptions>(op);
    const int a = ValueOf(op, 0), b = ValueOf(op, 1);
    if (!(model_.value(a).shape == model_.value(b).shape)) Fail(op, "adds values of different shapes");
    Add(op, model::Add{}, {a, b}, ActivationOf(op, options.fused_activation_function()));
    if (!IntegerAddOf(Profile::kXnnpack, *model_.value(a).coding, *model_.value(b).coding,
                      *model_.values.back().coding))
      Fail(op, "its scales are so far apart (beyond 1/1024 to 256 times the result's) that XNNPACK refuses them");
  }

  void ReadPool(const Op& op) {
    ExpectInputs(op, 1, 1);
    const auto& options = OptionsOf<tflite::Pool2DOptions>(op);
    const int input = ValueOf(op, 0);
    const Window window =
        WindowOf(op, options, options.filter_height(), options.filter_width(), 1, 1, model_.value(input).shape);
    const Activation activation = ActivationOf(op, options.fused_activation_function());
    if (op.code == tflite::BuiltinOperator_MAX_POOL_2D && activation.relu)
      Fail(op, "its fused activation function is not read");
    const int output = op.code == tflite::BuiltinOperator_MAX_POOL_2D
                           ? Add(op, MaxPool{window}, {input})
                           : Add(op, AveragePool{window}, {input}, activation);
    if (!(*model_.value(output).coding == *model_.value(input).coding))
      Fail(op, "its result has another scale or zero point than its input");
  }

  void ReadReshape(const Op& op) {
    const int input = ValueOf(op, 0);
    const ValueShape from = model_.value(input).shape, to = ValueShapeOf(OutputOf(op));
    if (from.elements() != to.elements())
      Fail(op, fmt::format("makes {} elements of {}", to.elements(), from.elements()));
    if (to.flat) {
      Add(op, from.flat ? Operation(Flatten{}) : FlatteningOf(from), {input});
      return;
    }
    View view{ShapeOf(OutputOf(op)), {}};
    view.dims[0] = 1;
    Move(op, input, view);
  }

  // ---- codes that are moved ----

  static std::vector<int32_t> OrderOf(const ValueShape& shape) {
    if (!shape.flat) return ChannelsLastOrder(shape);
    std::vector<int32_t> order(static_cast<size_t>(shape.elements()));
    std::iota(order.begin(), order.end(), 0);
    return order;
  }
  // view: of one image's elements in the file's order; its first dimension is the batch, and stays.
  void Move(const Op& op, int input, const View& view) {
    const ValueShape from = model_.value(input).shape, to = ValueShapeOf(OutputOf(op));
    std::vector<int64_t> made = ShapeOf(OutputOf(op));
    if (made.empty() || view.dims.empty() || view.dims[0] != 1 || made[0] != ShapeOf(InputOf(op, 0))[0])
      Fail(op, "moves images, which are taken one by one");
    made[0] = 1;
    if (view.dims != made)
      Fail(op, fmt::format("gives [{}] an image, and the file says [{}]", fmt::join(view.dims, ", "),
                           fmt::join(made, ", ")));
    const std::vector<int32_t> order = OrderOf(from), places = OrderOf(to);
    Rearrange rearrange{to, std::vector<int32_t>(places.size())};
    for (size_t i = 0; i < places.size(); ++i)
      rearrange.from[static_cast<size_t>(places[i])] = order[static_cast<size_t>(view.at(static_cast<int64_t>(i)))];
    Add(op, rearrange, {input});
  }
  // One image of what is to be moved.
  View MovedOf(const Op& op) const {
    View view{ShapeOf(InputOf(op, 0)), {}};
    view.dims[0] = 1;
    return view;
  }
  // What moving gives, or why it cannot.
  template <typename Moving>
  View Viewed(const Op& op, const Moving& moving) const {
    try {
      return moving();
    } catch (const InputError& error) {
      Fail(op, error.what());
    }
  }
  static std::vector<int64_t> Wide(const std::vector<int32_t>& numbers) { return {numbers.begin(), numbers.end()}; }

  void ReadTranspose(const Op& op) {
    ExpectInputs(op, 2, 2);
    const int input = ValueOf(op, 0);
    Move(op, input, Viewed(op, [&] { return Transposed(MovedOf(op), Wide(IntegersOf(op, 1))); }));
  }

  void ReadStridedSlice(const Op& op) {
    ExpectInputs(op, 4, 4);
    const auto& options = OptionsOf<tflite::StridedSliceOptions>(op);
    const int input = ValueOf(op, 0);
    View view = MovedOf(op);
    const std::vector<int32_t> begin = IntegersOf(op, 1), end = IntegersOf(op, 2), strides = IntegersOf(op, 3);
    const auto rank = static_cast<size_t>(view.rank());
    if (begin.size() != rank || end.size() != rank || strides.size() != rank)
      Fail(op,
           fmt::format("has {}, {} and {} numbers, expected {} each", begin.size(), end.size(), strides.size(), rank));
    if (options.ellipsis_mask() != 0 || options.new_axis_mask() != 0 || options.shrink_axis_mask() != 0 ||
        options.offset())
      Fail(op, "has an ellipsis, new or dropped axes, or ends that are lengths, which are not read");
    for (size_t axis = 0; axis < rank; ++axis) {
      if (strides[axis] < 1) Fail(op, fmt::format("has a stride of {}, expected 1 or more", strides[axis]));
      const int64_t size = view.dims[axis];
      const bool from_start = (options.begin_mask() >> axis & 1) != 0, to_end = (options.end_mask() >> axis & 1) != 0;
      view = Viewed(op, [&] {
        return Sliced(view, static_cast<int64_t>(axis), from_start ? 0 : begin[axis], to_end ? size : end[axis],
                      strides[axis]);
      });
    }
    Move(op, input, view);
  }

  // Each place of the result takes the element at (place + half) * ratio of the input, rounded down, or to the nearest
  // where corners are aligned. Without either, LiteRT's kernel has a ratio of 16 bits behind the point, and TFLite
  // Micro the float one: sizes for which they differ are not read.
  void ReadResize(const Op& op) {
    ExpectInputs(op, 2, 2);
    const auto& options = OptionsOf<tflite::ResizeNearestNeighborOptions>(op);
    const int input = ValueOf(op, 0);
    const ValueShape from = model_.value(input).shape, to = ValueShapeOf(OutputOf(op));
    const std::vector<int32_t> sizes = IntegersOf(op, 1);
    if (ShapeOf(InputOf(op, 0)).size() != 4 || ShapeOf(OutputOf(op)).size() != 4 || sizes.size() != 2 ||
        sizes[0] != to.height || sizes[1] != to.width)
      Fail(op, "is only read over rows and columns, to the size of its result");
    const bool is_plain = !options.align_corners() && !options.half_pixel_centers();
    const auto sources = [&](int64_t size, int64_t result) {
      const bool aligned = options.align_corners() && result > 1;
      const float ratio = aligned ? static_cast<float>(size - 1) / static_cast<float>(result - 1)
                                  : static_cast<float>(size) / static_cast<float>(result);
      std::vector<int64_t> places;
      for (int64_t i = 0; i < result; ++i) {
        const float place = (static_cast<float>(i) + (options.half_pixel_centers() ? 0.5f : 0.0f)) * ratio;
        const float whole = options.align_corners() ? std::round(place) : std::floor(place);
        places.push_back(std::clamp<int64_t>(static_cast<int64_t>(whole), 0, size - 1));
        const int64_t fixed = std::min((i * ((size << 16) / result + 1)) >> 16, size - 1);
        if (is_plain && fixed != places.back())
          Fail(op, fmt::format("from {} to {}: here LiteRT and TFLite Micro take other elements, which is not read",
                               size, result));
      }
      return places;
    };
    Move(op, input, Viewed(op, [&] {
           const View rows = Gathered(MovedOf(op), 1, sources(from.height, to.height));
           return Gathered(rows, 2, sources(from.width, to.width));
         }));
  }

  void ReadSoftmax(const Op& op) {
    ExpectInputs(op, 1, 1);
    const auto& options = OptionsOf<tflite::SoftmaxOptions>(op);
    const int input = ValueOf(op, 0);
    const ValueShape& shape = model_.value(input).shape;
    if (shape.height * shape.width != 1) Fail(op, "is taken over the numbers of one vector only");
    if (!(options.beta() > 0) || !std::isfinite(options.beta()))
      Fail(op, fmt::format("has beta {}, expected a positive number", options.beta()));
    const int output = Add(op, Softmax{.beta = options.beta()}, {input});
    const ActivationCoding& coding = *model_.value(output).coding;
    if (coding.scale != 1.0f / 256 || coding.zero_point != 0)
      Fail(op, fmt::format("its result must have scale 1/256 and zero point {}", coding.stored_offset()));
  }

  void ReadQuantize(const Op& op) {
    ExpectInputs(op, 1, 1);
    if (InputOf(op, 0) != input_ || TensorAt(input_).type() != tflite::TensorType_FLOAT32)
      return ReadRequantization(op);
    if (!model_.values.empty()) Fail(op, "quantizes the network's input a second time");
    AddInput(OutputOf(op));
    model_.real_input = model_.needs_input_scaling = model_.quantizes_input = true;
  }

  void ReadRequantization(const Op& op) {
    ReadFunction(op, "", 0, 0);
    const ActivationCoding& to = *model_.values.back().coding;
    const ActivationCoding& from = *model_.value(model_.nodes.back().input()).coding;
    if (from.is_signed != to.is_signed && from.scale != to.scale)
      Fail(op, "goes from int8 to uint8, or back, with another scale, which is not read");
  }

  // A function of each code. scale: that its result must have, where it is not 0, with a zero point (of codes from 0).
  void ReadFunction(const Op& op, const char* function, float scale, int zero_point) {
    ExpectInputs(op, 1, 1);
    Elementwise elementwise{function};
    if (op.code == tflite::BuiltinOperator_LEAKY_RELU)
      elementwise.alpha = OptionsOf<tflite::LeakyReluOptions>(op).alpha();
    const int input = ValueOf(op, 0), output = Add(op, elementwise, {input});
    const ActivationCoding &from = *model_.value(input).coding, &to = *model_.value(output).coding;
    if (scale != 0 && (to.scale != scale || to.zero_point != zero_point))
      Fail(op, fmt::format("its result must have scale {} and zero point {}", scale, zero_point + to.stored_offset()));
    const float ratio = from.scale / to.scale, slope = std::abs(ratio * elementwise.alpha);
    if (op.code == tflite::BuiltinOperator_LEAKY_RELU && !(slope >= 0x1p-8f && slope < 0x1p7f))
      Fail(op, fmt::format("its alpha {} gives a factor below zero that XNNPACK does not take", elementwise.alpha));
    if (op.code == tflite::BuiltinOperator_HARD_SWISH ? ratio > 128.0f
                                                      : scale == 0 && !(ratio >= 0x1p-8f && ratio <= 0x1p7f))
      Fail(op, "the scales of its input and its result are further apart than XNNPACK takes");
  }

  void ReadConcatenation(const Op& op) {
    const auto& options = OptionsOf<tflite::ConcatenationOptions>(op);
    ExpectInputs(op, 1, 1 << 12);
    if (options.fused_activation_function() != tflite::ActivationFunctionType_NONE)
      Fail(op, "its fused activation function is not read");
    std::vector<int> inputs;
    for (int i = 0; HasInput(op, i); ++i) inputs.push_back(ValueOf(op, i));
    const auto rank = static_cast<int>(ShapeOf(OutputOf(op)).size());
    if (options.axis() != rank - 1 && options.axis() != -1)
      Fail(op, fmt::format("joins along axis {}, and only the last, that of the channels, is read", options.axis()));
    const int output = Add(op, Concatenate{}, inputs);
    for (const int input : inputs) {
      if (!(*model_.value(input).coding == *model_.value(output).coding))
        Fail(op, "joins values of other scales or zero points than its result has");
    }
  }

  void ReadMul(const Op& op) {
    ExpectInputs(op, 2, 2);
    int a = ValueOf(op, 0), b = ValueOf(op, 1);
    if (model_.value(a).shape.elements() < model_.value(b).shape.elements()) std::swap(a, b);
    const int output =
        Add(op, Multiply{}, {a, b}, ActivationOf(op, OptionsOf<tflite::MulOptions>(op).fused_activation_function()));
    const float product = model_.value(a).coding->scale * model_.value(b).coding->scale;
    const float factor = product / model_.value(output).coding->scale;
    if (!(factor >= 0x1p-16f && factor < 0x1p8f))
      Fail(op, "its scales are further apart (beyond 2^-16 to 2^8) than XNNPACK takes");
  }

  std::vector<int32_t> IntegersOf(const Op& op, int input) const {
    const int index = InputOf(op, input);
    const std::span<const uint8_t> data = DataOf(index);
    if (data.empty() || TensorAt(index).type() != tflite::TensorType_INT32)
      Fail(op, fmt::format("its input '{}' is not a constant of int32", NameAt(index)));
    std::vector<int32_t> numbers(data.size() / 4);
    std::memcpy(numbers.data(), data.data(), numbers.size() * 4);
    return numbers;
  }

  // Over rows and columns.
  void ReadMean(const Op& op) {
    ExpectInputs(op, 2, 2);
    const bool keeps = OptionsOf<tflite::ReducerOptions>(op).keep_dims();
    const int input = ValueOf(op, 0);
    const ValueShape from = model_.value(input).shape;
    std::vector<int32_t> axes = IntegersOf(op, 1);
    const bool is_general = !keeps || std::any_of(axes.begin(), axes.end(), [](int32_t axis) { return axis < 0; });
    for (int32_t& axis : axes) axis += axis < 0 ? 4 : 0;
    std::sort(axes.begin(), axes.end());
    if (from.flat || axes != std::vector<int32_t>{1, 2} || from.height == 0)
      Fail(op, "is only read over rows and columns (axes 1 and 2)");
    AveragePool mean{.is_mean = true, .is_general = is_general};
    mean.window.kernel_h = mean.window.stride_h = static_cast<int>(from.height);
    mean.window.kernel_w = mean.window.stride_w = static_cast<int>(from.width);
    if (keeps) {
      Add(op, mean, {input});
      return;
    }
    const int tensor = OutputOf(op), scale = ScalesOf(tensor, Role::kActivationScale);
    const int result = static_cast<int>(model_.values.size());
    model_.values.push_back({op.name + ".mean", {from.channels, 1, 1}, CodingOf(tensor, scale), scale});
    model_.nodes.push_back({op.name + ".mean", mean, {input}, result});
    Add(op, Flatten{}, {result});
  }

  // Rows and columns of zero points around a value: a part of the windows of the convolutions behind it.
  void ReadPad(const Op& op) {
    ExpectInputs(op, 2, 2);
    const int input = ValueOf(op, 0);
    const ValueShape from = model_.value(input).shape;
    const std::vector<int32_t> pads = IntegersOf(op, 1);
    if (from.flat || pads.size() != 8 || pads[0] != 0 || pads[1] != 0 || pads[6] != 0 || pads[7] != 0 ||
        std::any_of(pads.begin(), pads.end(), [](int32_t pad) { return pad < 0 || pad > 65536; }))
      Fail(op, fmt::format("pads by [{}], and only rows and columns are padded", fmt::join(pads, ", ")));
    std::vector<int32_t> same(static_cast<size_t>(from.elements()));
    for (size_t i = 0; i < same.size(); ++i) same[i] = static_cast<int32_t>(i);
    const int tensor = OutputOf(op);
    AddTo(op, Rearrange{from, std::move(same)}, {input}, {}, tensor, from);
    values_.erase(tensor);
    padded_[tensor] = {static_cast<int>(model_.values.size()) - 1, pads[2], pads[3], pads[4], pads[5]};
  }
  // What a convolution takes, and how a PAD before it pads it.
  Padded PaddedValueOf(const Op& op, int input, tflite::Padding padding) const {
    const auto found = padded_.find(InputOf(op, input));
    if (found == padded_.end()) return {ValueOf(op, input)};
    if (padding != tflite::Padding_VALID) Fail(op, "pads what a PAD has padded before");
    return found->second;
  }

  void ReadDequantize(const Op& op) {
    ExpectInputs(op, 1, 1);
    ValueOf(op, 0);
    if (graph_->outputs() == nullptr || graph_->outputs()->size() != 1 || graph_->outputs()->Get(0) != OutputOf(op))
      Fail(op, "is only read where its result is that of the network");
    real_output_ = OutputOf(op);
    codes_of_output_ = InputOf(op, 0);
  }

  const std::span<const uint8_t> bytes_;
  const std::string file_;
  const tflite::SubGraph* graph_ = nullptr;
  const flatbuffers::Vector<flatbuffers::Offset<tflite::Buffer>>* buffers_ = nullptr;
  QuantizedModel model_;
  std::vector<uint64_t> offsets_;
  std::map<uint64_t, int> tensor_at_;  // [offset]
  std::vector<std::string> names_;
  std::map<int, Padded> padded_;                           // [tensor]: of PAD
  std::map<int, int> values_, scales_, weights_, biases_;  // [tensor]
  int input_ = -1, real_output_ = -1, codes_of_output_ = -1;
};

}  // namespace

bool IsTflite(std::span<const uint8_t> bytes) {
  return bytes.size() >= 8 && std::memcmp(bytes.data() + 4, "TFL3", 4) == 0;
}

TfliteModel FromTflite(std::span<const uint8_t> bytes, const std::string& name) {
  try {
    return TfliteReader(bytes, name).Read();
  } catch (const std::bad_alloc&) {
    throw InputError(fmt::format("{}: needs more memory than there is", name));
  }
}

}  // namespace steadfast::model
