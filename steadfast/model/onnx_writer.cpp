#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/version.h"
#include "steadfast/model/onnx_file.h"

namespace steadfast::model {
namespace {

constexpr int kOpset = 17;  // the newest of onnx 1.12
constexpr int kIrVersion = 8;

class Writer {
 public:
  explicit Writer(const QuantizedModel& model) : model_(model) {}

  std::string Write() {
    proto_.set_ir_version(kIrVersion);
    proto_.set_producer_name("steadfast");
    proto_.set_producer_version(Version());
    auto* opset = proto_.add_opset_import();
    opset->set_domain("");
    opset->set_version(kOpset);
    graph_ = proto_.mutable_graph();
    graph_->set_name(model_.name.empty() ? "network" : model_.name);
    WriteInput();
    for (const Node& node : model_.nodes) {
      std::visit([&](const auto& operation) { WriteOperation(node, operation); }, node.operation);
    }
    WriteOutput();
    for (const auto& [key, value] : model_.metadata) AddMetadata(key, value);
    if (!model_.metadata.contains("steadfast.tensors")) AddMetadata("steadfast.tensors", TensorMetadata().dump());
    std::string bytes;
    if (!proto_.SerializeToString(&bytes)) throw Error("the model is too large for one ONNX file (2 GiB)");
    return bytes;
  }

 private:
  const Value& ValueAt(int index) const { return model_.values[static_cast<size_t>(index)]; }
  // The name of the float tensor that stands for a value in the graph.
  std::string RealName(int value) const { return ValueAt(value).name + (value == model_.output ? "" : ".real"); }

  void AddMetadata(const std::string& key, const std::string& value) {
    auto* entry = proto_.add_metadata_props();
    entry->set_key(key);
    entry->set_value(value);
  }

  nlohmann::json TensorMetadata() const {
    nlohmann::json tensors;
    for (const auto& weight : model_.weights) {
      const CodeFormat& format = weight.format;
      tensors[weight.name] = {{"bits", format.bits},
                              {"signed", format.is_signed},
                              {"narrow", format.narrow},
                              {"level", {format.levels.multiplier, format.levels.offset}}};
    }
    for (const auto& value : model_.values) {
      if (!value.coding) continue;
      tensors[value.name] = {{"bits", value.coding->bits}, {"zero_below", value.coding->zero_below}};
    }
    return tensors;
  }

  onnx::TensorProto* AddInitializer(const std::string& name, onnx::TensorProto::DataType type,
                                    const std::vector<int64_t>& shape, const void* data, size_t bytes) {
    auto* tensor = graph_->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(type);
    for (int64_t size : shape) tensor->add_dims(size);
    tensor->set_raw_data(data, bytes);
    return tensor;
  }
  void AddFloats(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    AddInitializer(name, onnx::TensorProto::FLOAT, shape, values.data(), values.size() * sizeof(float));
  }
  void AddBytes(const std::string& name, bool is_signed, const std::vector<int64_t>& shape,
                const std::vector<uint8_t>& values) {
    AddInitializer(name, is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8, shape, values.data(),
                   values.size());
  }

  onnx::NodeProto* AddNode(const std::string& type, const std::vector<std::string>& inputs, const std::string& output) {
    auto* node = graph_->add_node();
    node->set_op_type(type);
    node->set_name(output + "/" + type);
    for (const auto& input : inputs) node->add_input(input);
    node->add_output(output);
    return node;
  }
  static void SetInt(onnx::NodeProto* node, const char* name, int64_t value) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }
  static void SetInts(onnx::NodeProto* node, const char* name, const std::vector<int64_t>& values) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (int64_t value : values) attribute->add_ints(value);
  }
  static void SetWindow(onnx::NodeProto* node, const Window& window) {
    SetInts(node, "kernel_shape", {window.kernel_h, window.kernel_w});
    SetInts(node, "strides", {window.stride_h, window.stride_w});
    SetInts(node, "pads", {window.pad_h, window.pad_w, window.pad_h, window.pad_w});
    SetInts(node, "dilations", {window.dilation_h, window.dilation_w});
  }

  static void SetShape(onnx::ValueInfoProto* info, onnx::TensorProto::DataType type,
                       const std::vector<int64_t>& shape) {
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(type);
    tensor->mutable_shape()->add_dim()->set_dim_param("N");
    for (int64_t size : shape) tensor->mutable_shape()->add_dim()->set_dim_value(size);
  }

  void WriteInput() {
    const Value& input = ValueAt(0);
    auto* info = graph_->add_input();
    info->set_name(input.name);
    const ValueShape& shape = input.shape;
    SetShape(info, onnx::TensorProto::UINT8,
             shape.flat ? std::vector<int64_t>{shape.channels}
                        : std::vector<int64_t>{shape.channels, shape.height, shape.width});
    WriteDequantize(0, input.name);
  }

  void WriteOutput() {
    auto* info = graph_->add_output();
    info->set_name(RealName(model_.output));
    SetShape(info, onnx::TensorProto::FLOAT, {model_.classes()});
  }

  void WriteDequantize(int value, const std::string& codes) {
    const Value& v = ValueAt(value);
    AddFloats(v.name + ".scale", {}, {v.coding->scale});
    AddBytes(v.name + ".zero_point", false, {}, {static_cast<uint8_t>(v.coding->zero_point)});
    AddNode("DequantizeLinear", {codes, v.name + ".scale", v.name + ".zero_point"}, RealName(value));
  }

  std::string WriteWeights(const WeightTensor& weight) {
    const bool per_channel = weight.scale.size() > 1;
    const CodeFormat& format = weight.format;
    std::vector<uint8_t> codes;
    codes.reserve(weight.codes.size());
    for (int16_t code : weight.codes) codes.push_back(static_cast<uint8_t>(code));
    AddBytes(weight.name, format.is_signed, weight.shape, codes);
    std::vector<float> scale = weight.scale;
    for (float& s : scale) s *= static_cast<float>(format.levels.multiplier);
    const std::vector<int64_t> shape = per_channel ? std::vector<int64_t>{weight.outputs()} : std::vector<int64_t>{};
    AddFloats(weight.name + "_scale", shape, scale);
    AddBytes(weight.name + "_zero_point", format.is_signed, shape, std::vector<uint8_t>(scale.size(), 0));
    const std::string real = weight.name + "_real";
    const std::string dequantized = format.levels.offset == 0 ? real : weight.name + "_unshifted";
    auto* node =
        AddNode("DequantizeLinear", {weight.name, weight.name + "_scale", weight.name + "_zero_point"}, dequantized);
    if (per_channel) SetInt(node, "axis", 0);
    if (format.levels.offset != 0) {
      std::vector<float> shift;
      for (float s : weight.scale) shift.push_back(s * static_cast<float>(format.levels.offset));
      std::vector<int64_t> broadcast = {static_cast<int64_t>(shift.size())};
      broadcast.resize(weight.shape.size(), 1);
      AddFloats(weight.name + "_shift", broadcast, shift);
      AddNode("Add", {dequantized, weight.name + "_shift"}, real);
    }
    return real;
  }

  // Everything after the weighted sum. channel_dims: how many 1s follow the channel in constants.
  void WriteAffine(const Node& node, const Affine& affine, std::string current, int channel_dims) {
    const Value& output = ValueAt(node.output);
    const auto channel_shape = [&](size_t size) {
      std::vector<int64_t> shape = {static_cast<int64_t>(size)};
      shape.resize(1 + static_cast<size_t>(channel_dims), 1);
      return shape;
    };
    // The last node of the network writes the graph's output.
    const auto named = [&](const std::string& name, bool last) { return last ? RealName(node.output) : name; };
    const bool real = !output.coding;
    if (!affine.multiplier.empty()) {
      AddFloats(node.name + ".multiplier", channel_shape(affine.multiplier.size()), affine.multiplier);
      const std::string next = named(node.name + ".multiplied", real && affine.bias.empty());
      AddNode("Mul", {current, node.name + ".multiplier"}, next);
      current = next;
    }
    if (!affine.bias.empty()) {
      AddFloats(node.name + ".bias", channel_shape(affine.bias.size()), affine.bias);
      const std::string next = named(node.name + ".biased", real);
      AddNode("Add", {current, node.name + ".bias"}, next);
      current = next;
    }
    if (real) {
      if (affine.multiplier.empty() && affine.bias.empty()) AddNode("Identity", {current}, RealName(node.output));
      return;
    }
    WriteQuantize(node, std::move(current), affine.relu);
  }

  // Activation function and QuantizeLinear.
  void WriteQuantize(const Node& node, std::string current, bool relu) {
    const Value& output = ValueAt(node.output);
    const ActivationCoding& coding = *output.coding;
    if (relu) {
      AddNode("Relu", {current}, node.name + ".relu");
      current = node.name + ".relu";
    }
    if (coding.zero_below > 0) {
      // Below (threshold - 1/2) steps a value rounds to a code below the threshold.
      auto* threshold = AddNode("ThresholdedRelu", {current}, node.name + ".fatrelu");
      auto* alpha = threshold->add_attribute();
      alpha->set_name("alpha");
      alpha->set_type(onnx::AttributeProto::FLOAT);
      alpha->set_f((static_cast<float>(coding.zero_below) - 0.5f) * coding.scale);
      current = node.name + ".fatrelu";
    }
    if (coding.bits < 8) {
      AddFloats(output.name + ".low", {}, {static_cast<float>(-coding.zero_point) * coding.scale});
      AddFloats(output.name + ".high", {},
                {static_cast<float>(coding.highest_code() - coding.zero_point) * coding.scale});
      AddNode("Clip", {current, output.name + ".low", output.name + ".high"}, node.name + ".clip");
      current = node.name + ".clip";
    }
    AddNode("QuantizeLinear", {current, output.name + ".scale", output.name + ".zero_point"}, output.name);
    WriteDequantize(node.output, output.name);
  }

  void WriteOperation(const Node& node, const Convolution& op) {
    const std::string weight = WriteWeights(model_.weights[static_cast<size_t>(op.weight)]);
    auto* conv = AddNode("Conv", {RealName(node.input()), weight}, node.name + ".sum");
    SetWindow(conv, op.window);
    SetInt(conv, "group", op.groups);
    WriteAffine(node, op.affine, node.name + ".sum", 2);
  }
  void WriteOperation(const Node& node, const Linear& op) {
    const std::string weight = WriteWeights(model_.weights[static_cast<size_t>(op.weight)]);
    SetInt(AddNode("Gemm", {RealName(node.input()), weight}, node.name + ".sum"), "transB", 1);
    WriteAffine(node, op.affine, node.name + ".sum", 0);
  }
  void WriteOperation(const Node& node, const MaxPool& op) {
    SetWindow(AddNode("MaxPool", {RealName(node.input())}, RealName(node.output)), op.window);
  }
  void WriteOperation(const Node& node, const AveragePool& op) {
    auto* pool = AddNode("AveragePool", {RealName(node.input())}, node.name + ".mean");
    SetInts(pool, "kernel_shape", {op.window.kernel_h, op.window.kernel_w});
    SetInts(pool, "strides", {op.window.stride_h, op.window.stride_w});
    SetInts(pool, "pads", {op.window.pad_h, op.window.pad_w, op.window.pad_h, op.window.pad_w});
    SetInt(pool, "count_include_pad", 1);
    WriteQuantize(node, node.name + ".mean", false);
  }
  void WriteOperation(const Node& node, const Add& op) {
    AddNode("Add", {RealName(node.inputs[0]), RealName(node.inputs[1])}, node.name + ".sum");
    WriteQuantize(node, node.name + ".sum", op.relu);
  }
  void WriteOperation(const Node& node, const Concatenate&) {
    std::vector<std::string> inputs;
    for (int input : node.inputs) inputs.push_back(RealName(input));
    SetInt(AddNode("Concat", inputs, node.name + ".joined"), "axis", 1);
    WriteQuantize(node, node.name + ".joined", false);
  }
  void WriteOperation(const Node& node, const Flatten&) {
    SetInt(AddNode("Flatten", {RealName(node.input())}, RealName(node.output)), "axis", 1);
  }

  const QuantizedModel& model_;
  onnx::ModelProto proto_;
  onnx::GraphProto* graph_ = nullptr;
};

}  // namespace

std::string ToOnnx(const QuantizedModel& model) {
  return Writer(model).Write();
}

void WriteModel(const QuantizedModel& model, const std::filesystem::path& path) {
  WriteFileWhole(path, ToOnnx(model));
}

}  // namespace steadfast::model
