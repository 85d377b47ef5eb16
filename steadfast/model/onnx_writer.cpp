#include "steadfast/model/onnx_writer.h"

#include <onnx/onnx_pb.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "steadfast/base/error.h"
#include "steadfast/base/version.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

constexpr int kOpset = 17;  // the newest of onnx 1.12
constexpr int kOpsetOfGelu = 20;
constexpr int kIrVersion = 8;

bool NeedsGelu(const QuantizedModel& model) {
  return std::any_of(model.nodes.begin(), model.nodes.end(), [](const Node& node) {
    const auto* function = node.operation.As<Elementwise>();
    return function != nullptr && function->function.starts_with("Gelu");
  });
}

void SetShape(onnx::ValueInfoProto* info, int type, const std::vector<int64_t>& shape) {
  auto* tensor = info->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  tensor->mutable_shape()->add_dim()->set_dim_param("N");
  for (int64_t size : shape) tensor->mutable_shape()->add_dim()->set_dim_value(size);
}

onnx::AttributeProto* AddAttribute(onnx::NodeProto* node, std::string_view name,
                                   onnx::AttributeProto::AttributeType type) {
  auto* attribute = node->add_attribute();
  attribute->set_name(std::string(name));
  attribute->set_type(type);
  return attribute;
}

int DataTypeOf(const StorageFormat& format) {
  switch (format.kind) {
    case StorageFormat::Kind::kCodes:
      return format.codes.is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8;
    case StorageFormat::Kind::kInt32:
      return onnx::TensorProto::INT32;
    case StorageFormat::Kind::kFloat32:
      return onnx::TensorProto::FLOAT;
    case StorageFormat::Kind::kFloat16:
      return onnx::TensorProto::FLOAT16;
    case StorageFormat::Kind::kBfloat16:
      return onnx::TensorProto::BFLOAT16;
  }
  return 0;
}

// The elements as raw bytes, little-endian; codes as int8 or uint8.
std::vector<uint8_t> BytesOf(const Parameter& parameter) {
  std::vector<uint8_t> bytes;
  const bool codes = parameter.format.kind == StorageFormat::Kind::kCodes;
  const int size = codes ? 1 : parameter.format.bits() / 8;
  for (int64_t i = 0; i < parameter.elements(); ++i) {
    const uint32_t value = codes ? static_cast<uint32_t>(parameter.code(i)) : parameter.bits[static_cast<size_t>(i)];
    for (int byte = 0; byte < size; ++byte) bytes.push_back(static_cast<uint8_t>(value >> (8 * byte)));
  }
  return bytes;
}

}  // namespace

OnnxWriter::OnnxWriter(const QuantizedModel& model)
    : model_(model), proto_(std::make_unique<onnx::ModelProto>()), graph_(proto_->mutable_graph()) {}
OnnxWriter::~OnnxWriter() = default;

std::string OnnxWriter::Write() {
  proto_->set_ir_version(NeedsGelu(model_) ? kIrVersion + 1 : kIrVersion);
  proto_->set_producer_name("steadfast");
  proto_->set_producer_version(Version());
  auto* opset = proto_->add_opset_import();
  opset->set_domain("");
  opset->set_version(NeedsGelu(model_) ? kOpsetOfGelu : kOpset);
  graph_->set_name(model_.name.empty() ? "network" : model_.name);
  WriteInput();
  for (const Node& node : model_.nodes) node.operation.definition().write_onnx(*this, node);
  WriteOutput();
  for (const auto& [key, value] : model_.metadata) AddMetadata(key, value);
  if (!model_.metadata.contains("steadfast.tensors")) AddMetadata("steadfast.tensors", TensorMetadata());
  std::string bytes;
  if (!proto_->SerializeToString(&bytes)) throw Error("the model is too large for one ONNX file (2 GiB)");
  return bytes;
}

std::string OnnxWriter::RealName(int value) const {
  return model_.value(value).name + (value == model_.output ? "" : ".real");
}

void OnnxWriter::AddMetadata(const std::string& key, const std::string& value) {
  auto* entry = proto_->add_metadata_props();
  entry->set_key(key);
  entry->set_value(value);
}

std::string OnnxWriter::TensorMetadata() const {
  nlohmann::json tensors;
  for (const auto& parameter : model_.parameters) {
    if (parameter.format.kind != StorageFormat::Kind::kCodes) continue;
    const CodeFormat& format = parameter.format.codes;
    tensors[parameter.name] = {{"bits", format.bits},
                               {"signed", format.is_signed},
                               {"narrow", format.narrow},
                               {"level", {format.levels.multiplier, format.levels.offset}}};
    if (parameter.is_fixed) tensors[parameter.name]["fixed"] = true;
  }
  for (const auto& value : model_.values) {
    if (!value.coding) continue;
    tensors[value.name] = {{"bits", value.coding->bits}, {"zero_below", value.coding->zero_below}};
  }
  return tensors.dump();
}

void OnnxWriter::AddInitializer(const std::string& name, int type, const std::vector<int64_t>& shape, const void* data,
                                size_t bytes) {
  auto* tensor = graph_->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(type);
  for (int64_t size : shape) tensor->add_dims(size);
  tensor->set_raw_data(data, bytes);
}
void OnnxWriter::AddFloats(const std::string& name, const std::vector<int64_t>& shape,
                           const std::vector<float>& values) {
  AddInitializer(name, onnx::TensorProto::FLOAT, shape, values.data(), values.size() * sizeof(float));
}
void OnnxWriter::AddIntegers(const std::string& name, const std::vector<int64_t>& values) {
  AddInitializer(name, onnx::TensorProto::INT64, {static_cast<int64_t>(values.size())}, values.data(),
                 values.size() * sizeof(int64_t));
}
void OnnxWriter::AddBytes(const std::string& name, bool is_signed, const std::vector<int64_t>& shape,
                          const std::vector<uint8_t>& values) {
  AddInitializer(name, is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8, shape, values.data(),
                 values.size());
}
void OnnxWriter::AddParameter(int index, const std::vector<int64_t>& shape) {
  const Parameter& parameter = model_.parameter(index);
  if (!written_.insert(parameter.name).second) return;
  const auto bytes = BytesOf(parameter);
  AddInitializer(parameter.name, DataTypeOf(parameter.format), shape, bytes.data(), bytes.size());
}

onnx::NodeProto* OnnxWriter::AddNode(const std::string& type, const std::vector<std::string>& inputs,
                                     const std::string& output) {
  auto* node = graph_->add_node();
  node->set_op_type(type);
  node->set_name(output + "/" + type);
  for (const auto& input : inputs) node->add_input(input);
  node->add_output(output);
  return node;
}
std::string OnnxWriter::AddReshape(const std::string& input, const std::vector<int64_t>& shape,
                                   const std::string& output) {
  AddIntegers(output + ".shape", shape);
  AddNode("Reshape", {input, output + ".shape"}, output);
  return output;
}
std::string OnnxWriter::AddForEachImage(const std::string& constant, const std::vector<int64_t>& dims) {
  AddNode("Shape", {model_.value(0).name}, constant + ".input_shape");
  AddIntegers(constant + ".first", {0});
  AddIntegers(constant + ".second", {1});
  AddNode("Slice", {constant + ".input_shape", constant + ".first", constant + ".second"}, constant + ".images");
  AddIntegers(constant + ".dims", {dims.begin() + 1, dims.end()});
  SetInt(AddNode("Concat", {constant + ".images", constant + ".dims"}, constant + ".shape"), "axis", 0);
  AddNode("Expand", {constant, constant + ".shape"}, constant + ".expanded");
  return constant + ".expanded";
}
void OnnxWriter::SetInt(onnx::NodeProto* node, std::string_view name, int64_t value) {
  AddAttribute(node, name, onnx::AttributeProto::INT)->set_i(value);
}
void OnnxWriter::SetInts(onnx::NodeProto* node, std::string_view name, const std::vector<int64_t>& values) {
  auto* attribute = AddAttribute(node, name, onnx::AttributeProto::INTS);
  for (int64_t value : values) attribute->add_ints(value);
}
void OnnxWriter::SetFloat(onnx::NodeProto* node, std::string_view name, float value) {
  AddAttribute(node, name, onnx::AttributeProto::FLOAT)->set_f(value);
}
void OnnxWriter::SetText(onnx::NodeProto* node, std::string_view name, const std::string& value) {
  AddAttribute(node, name, onnx::AttributeProto::STRING)->set_s(value);
}
void OnnxWriter::SetWindow(onnx::NodeProto* node, const Window& window) {
  SetInts(node, "kernel_shape", {window.kernel_h, window.kernel_w});
  SetInts(node, "strides", {window.stride_h, window.stride_w});
  SetInts(node, "pads", {window.pad_top, window.pad_left, window.pad_bottom, window.pad_right});
  SetInts(node, "dilations", {window.dilation_h, window.dilation_w});
}

void OnnxWriter::WriteInput() {
  const Value& input = model_.value(0);
  auto* info = graph_->add_input();
  info->set_name(input.name);
  const ValueShape& shape = input.shape;
  SetShape(info, model_.real_input ? onnx::TensorProto::FLOAT : onnx::TensorProto::UINT8,
           shape.flat ? std::vector<int64_t>{shape.channels}
                      : std::vector<int64_t>{shape.channels, shape.height, shape.width});
  WriteQuantizer(0);
  std::string codes = input.name;
  if (model_.real_input) {
    codes += ".codes";
    AddNode("QuantizeLinear", {input.name, ScaleName(0), input.name + ".zero_point"}, codes);
  }
  WriteDequantize(0, codes);
}

void OnnxWriter::WriteOutput() {
  auto* info = graph_->add_output();
  info->set_name(RealName(model_.output));
  SetShape(info, onnx::TensorProto::FLOAT, {model_.classes()});
}

void OnnxWriter::WriteQuantizer(int value) {
  const Value& v = model_.value(value);
  const std::string name = ScaleName(value);
  if (v.scale < 0 && written_.insert(name).second) AddFloats(name, {}, {v.coding->scale});
  for (const int index : {v.scale, v.dequantizing_scale}) {
    if (index >= 0) WriteFloats(index, model_.parameter(index).shape);
  }
  AddBytes(v.name + ".zero_point", v.coding->is_signed, {},
           {static_cast<uint8_t>(v.coding->zero_point + v.coding->stored_offset())});
}

std::string OnnxWriter::ScaleName(int value) const {
  const Value& v = model_.value(value);
  if (v.scale >= 0) return FloatsName(v.scale);
  for (const Node& node : model_.nodes) {
    if (node.output == value && node.operation.definition().keeps_coding) return ScaleName(node.input());
  }
  return v.name + ".scale";
}

void OnnxWriter::WriteDequantize(int value, const std::string& codes) {
  const Value& v = model_.value(value);
  const std::string scale = v.dequantizing_scale < 0 ? ScaleName(value) : FloatsName(v.dequantizing_scale);
  AddNode("DequantizeLinear", {codes, scale, v.name + ".zero_point"}, RealName(value));
}

std::string OnnxWriter::FloatsName(int index) const {
  const Parameter& parameter = model_.parameter(index);
  return parameter.name + (parameter.format.bits() == 32 ? "" : "_real");
}

std::string OnnxWriter::WriteFloats(int index, const std::vector<int64_t>& shape) {
  AddParameter(index, shape);
  const std::string &stored = model_.parameter(index).name, name = FloatsName(index);
  if (name != stored && written_.insert(name).second)
    SetInt(AddNode("Cast", {stored}, name), "to", onnx::TensorProto::FLOAT);
  return name;
}

std::string OnnxWriter::WriteWeights(int index) {
  const Parameter& weight = model_.parameter(index);
  const Parameter& scales = model_.parameter(weight.scale);
  const std::string real = weight.name + "_real";
  if (!written_.insert(real).second) return real;
  const bool per_channel = scales.elements() > 1;
  const LevelMap& map = weight.format.codes.levels;
  AddParameter(index, weight.shape);
  const std::vector<int64_t> shape = per_channel ? std::vector<int64_t>{weight.outputs()} : std::vector<int64_t>{};
  const std::string scale = WriteFloats(weight.scale, shape);
  AddBytes(weight.name + "_zero_point", weight.format.codes.is_signed, shape,
           std::vector<uint8_t>(static_cast<size_t>(scales.elements()), 0));
  const std::string dequantized = map.offset == 0 ? real : weight.name + "_unshifted";
  auto* node = AddNode("DequantizeLinear", {weight.name, scale, weight.name + "_zero_point"}, dequantized);
  if (per_channel) SetInt(node, "axis", weight.output_axis);
  if (map.offset != 0) {
    std::vector<float> shift;
    for (int64_t i = 0; i < scales.elements(); ++i)
      shift.push_back(scales.real(i) / static_cast<float>(map.multiplier) * static_cast<float>(map.offset));
    std::vector<int64_t> broadcast = {static_cast<int64_t>(shift.size())};
    if (weight.output_axis == 0) broadcast.resize(weight.shape.size(), 1);
    AddFloats(weight.name + "_shift", broadcast, shift);
    AddNode("Add", {dequantized, weight.name + "_shift"}, real);
  }
  return real;
}

std::string OnnxWriter::WriteConstant(int index, int channel_dims) {
  const Parameter& constant = model_.parameter(index);
  std::vector<int64_t> shape = {constant.elements()};
  shape.resize(1 + static_cast<size_t>(channel_dims), 1);
  if (constant.scale < 0) return WriteFloats(index, shape);
  AddParameter(index, shape);
  const std::string real = constant.name + "_real";
  if (!written_.insert(real).second) return real;
  const Parameter& scales = model_.parameter(constant.scale);
  const bool per_channel = scales.elements() > 1;
  const std::string scale =
      WriteFloats(constant.scale, per_channel ? std::vector<int64_t>{scales.elements()} : std::vector<int64_t>{});
  auto* node = AddNode("DequantizeLinear", {constant.name, scale}, real);
  if (per_channel) SetInt(node, "axis", 0);
  return real;
}

void OnnxWriter::WriteSteps(const Node& node, std::string current, int channel_dims) {
  const bool real = !model_.value(node.output).coding;
  const auto& steps = node.operation.weighted()->steps;
  size_t number = 0;
  for (const AffineStep& step : steps) {
    const char* ending = step.kind == AffineStep::Kind::kMultiply ? ".multiplied"
                         : step.kind == AffineStep::Kind::kAdd    ? ".biased"
                                                                  : ".normalized";
    ++number;
    // The last node of the network writes the graph's output.
    std::string next = real && number == steps.size() ? RealName(node.output) : node.name + ending;
    if (!written_.insert(next).second) {
      next += '.';
      next += std::to_string(number);
    }
    if (step.kind == AffineStep::Kind::kNormalize) {
      std::vector<std::string> inputs = {current};
      for (int constant : {step.parameter, step.beta, step.mean, step.variance})
        inputs.push_back(WriteConstant(constant, 0));
      SetFloat(AddNode("BatchNormalization", inputs, next), "epsilon", static_cast<float>(step.epsilon));
    } else {
      const char* type = step.kind == AffineStep::Kind::kMultiply ? "Mul" : "Add";
      const std::string constant = WriteConstant(step.parameter, channel_dims);
      AddNode(type, {current, constant}, next);
    }
    current = next;
  }
  if (!real) return WriteQuantize(node, std::move(current));
  if (steps.empty()) AddNode("Identity", {current}, RealName(node.output));
}

void OnnxWriter::WriteQuantize(const Node& node, std::string current) {
  const Value& output = model_.value(node.output);
  const ActivationCoding& coding = *output.coding;
  if (node.activation.relu) {
    AddNode("Relu", {current}, node.name + ".relu");
    current = node.name + ".relu";
  }
  if (coding.zero_below > coding.zero_point) {
    // Below (threshold - 1/2) steps from zero a value rounds to a code below the threshold.
    auto* threshold = AddNode("ThresholdedRelu", {current}, node.name + ".fatrelu");
    SetFloat(threshold, "alpha", (static_cast<float>(coding.zero_below - coding.zero_point) - 0.5f) * coding.scale);
    current = node.name + ".fatrelu";
  }
  const int lowest = node.activation.lowest, highest = std::min(node.activation.highest, coding.highest_code());
  if (lowest > 0 || highest < 255) {
    AddFloats(output.name + ".low", {}, {RealOf(lowest, coding)});
    AddFloats(output.name + ".high", {}, {RealOf(highest, coding)});
    AddNode("Clip", {current, output.name + ".low", output.name + ".high"}, node.name + ".clip");
    current = node.name + ".clip";
  }
  WriteQuantizeAgain(node, current);
}

void OnnxWriter::WriteQuantizeAgain(const Node& node, const std::string& current) {
  const Value& output = model_.value(node.output);
  WriteQuantizer(node.output);
  AddNode("QuantizeLinear", {current, ScaleName(node.output), output.name + ".zero_point"}, output.name);
  WriteDequantize(node.output, output.name);
}

}  // namespace steadfast::model
