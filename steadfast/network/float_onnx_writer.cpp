#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>

#include "steadfast/base/version.h"
#include "steadfast/network/float_onnx.h"

namespace steadfast::network {
namespace {

constexpr int kOpset = 17, kOpsetOfGelu = 20;
constexpr int kIrVersion = 8;

class Writer {
 public:
  explicit Writer(const FloatGraph& graph) : graph_(graph) {}

  std::string Write() {
    const bool has_gelu = std::any_of(graph_.nodes.begin(), graph_.nodes.end(), [](const FloatNode& node) {
      const auto* function = std::get_if<Function>(&node.operation);
      return function != nullptr && function->name.starts_with("Gelu");
    });
    proto_.set_ir_version(has_gelu ? kIrVersion + 1 : kIrVersion);
    proto_.set_producer_name("steadfast");
    proto_.set_producer_version(Version());
    proto_.add_opset_import()->set_version(has_gelu ? kOpsetOfGelu : kOpset);
    auto metadata = graph_.metadata;
    for (const FloatParameter& parameter : graph_.parameters) {
      if (parameter.values.empty()) metadata[std::string(kUntrained)] = "1";
    }
    for (const auto& [key, value] : metadata) {
      auto* entry = proto_.add_metadata_props();
      entry->set_key(key);
      entry->set_value(value);
    }
    onnx::GraphProto& graph = *proto_.mutable_graph();
    graph.set_name(graph_.name);
    SetShape(graph.add_input(), 0);
    for (const FloatParameter& parameter : graph_.parameters)
      AddTensor(parameter.name, parameter.shape, parameter.values.empty() ? Zeros(parameter) : parameter.values);
    for (const FloatNode& node : graph_.nodes) {
      onnx::NodeProto& proto = *graph.add_node();
      proto.set_name(node.name);
      for (const int input : node.inputs) proto.add_input(NameOf(input));
      proto.add_output(NameOf(node.output));
      node_ = &proto;
      std::visit(*this, node.operation);
    }
    SetShape(graph.add_output(), graph_.output);
    return proto_.SerializeAsString();
  }

  void operator()(const Convolution& op) {
    node_->set_op_type("Conv");
    AddInputs({op.weight, op.bias});
    SetWindow(op.window);
    Set("dilations", {op.window.dilation_h, op.window.dilation_w});
    Set("group", int64_t{op.groups});
  }
  void operator()(const Linear& op) {
    node_->set_op_type("Gemm");
    AddInputs({op.weight, op.bias});
    Set("transB", int64_t{1});
  }
  void operator()(const BatchNormalization& op) {
    node_->set_op_type("BatchNormalization");
    AddInputs({op.gamma, op.beta, op.mean, op.variance});
    Set("epsilon", static_cast<float>(op.epsilon));
  }
  void operator()(const Clip& op) {
    if (op.lowest == 0 && std::isinf(op.highest)) return node_->set_op_type("Relu");
    node_->set_op_type("Clip");
    AddScalar(".lowest", op.lowest);
    if (!std::isinf(op.highest)) AddScalar(".highest", op.highest);
  }
  void operator()(const Function& op) {
    node_->set_op_type(op.name == "GeluTanh" ? "Gelu" : op.name);
    if (op.name == "GeluTanh") {
      auto* attribute = AddAttribute("approximate", onnx::AttributeProto::STRING);
      attribute->set_s("tanh");
    }
    if (op.name == "LeakyRelu" || op.name == "HardSigmoid") Set("alpha", op.alpha);
    if (op.name == "HardSigmoid") Set("beta", op.beta);
  }
  void operator()(const MaxPool& op) {
    node_->set_op_type("MaxPool");
    SetWindow(op.window);
  }
  void operator()(const AveragePool& op) {
    node_->set_op_type("AveragePool");
    SetWindow(op.window);
    Set("count_include_pad", int64_t{1});
  }
  void operator()(const Add&) { node_->set_op_type("Add"); }
  void operator()(const Concatenate&) {
    node_->set_op_type("Concat");
    Set("axis", int64_t{1});
  }
  void operator()(const Flatten&) { node_->set_op_type("Flatten"); }

 private:
  static std::vector<float> Zeros(const FloatParameter& parameter) {
    return std::vector<float>(static_cast<size_t>(parameter.elements()), 0.0f);
  }
  std::string NameOf(int value) const {
    if (value == graph_.output) return "logits";
    return value == 0 ? graph_.values[0].name : graph_.value(value).name + ".value";
  }
  void SetShape(onnx::ValueInfoProto* info, int value) const {
    info->set_name(NameOf(value));
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(onnx::TensorProto::FLOAT);
    tensor->mutable_shape()->add_dim()->set_dim_param("N");
    const ValueShape& shape = graph_.value(value).shape;
    const auto dims = shape.flat ? std::vector<int64_t>{shape.channels}
                                 : std::vector<int64_t>{shape.channels, shape.height, shape.width};
    for (const int64_t size : dims) tensor->mutable_shape()->add_dim()->set_dim_value(size);
  }
  void AddTensor(const std::string& name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    auto* tensor = proto_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t size : shape) tensor->add_dims(size);
    tensor->set_raw_data(values.data(), values.size() * sizeof(float));
  }
  void AddScalar(const std::string& ending, float value) {
    AddTensor(node_->name() + ending, {}, {value});
    node_->add_input(node_->name() + ending);
  }
  void AddInputs(std::initializer_list<int> parameters) {
    for (const int parameter : parameters) {
      if (parameter >= 0) node_->add_input(graph_.parameter(parameter).name);
    }
  }
  onnx::AttributeProto* AddAttribute(const char* name, onnx::AttributeProto::AttributeType type) {
    auto* attribute = node_->add_attribute();
    attribute->set_name(name);
    attribute->set_type(type);
    return attribute;
  }
  void Set(const char* name, int64_t value) { AddAttribute(name, onnx::AttributeProto::INT)->set_i(value); }
  void Set(const char* name, float value) { AddAttribute(name, onnx::AttributeProto::FLOAT)->set_f(value); }
  void Set(const char* name, std::initializer_list<int> values) {
    auto* attribute = AddAttribute(name, onnx::AttributeProto::INTS);
    for (const int value : values) attribute->add_ints(value);
  }
  void SetWindow(const Window& window) {
    Set("kernel_shape", {window.kernel_h, window.kernel_w});
    Set("strides", {window.stride_h, window.stride_w});
    Set("pads", {window.pad_top, window.pad_left, window.pad_bottom, window.pad_right});
  }

  const FloatGraph& graph_;
  onnx::ModelProto proto_;
  onnx::NodeProto* node_ = nullptr;
};

}  // namespace

std::string ToFloatOnnx(const FloatGraph& graph) {
  return Writer(graph).Write();
}

}  // namespace steadfast::network
