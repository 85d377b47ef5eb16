#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>

#include "steadfast/base/error.h"
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
      source_ = &node;
      std::visit(*this, node.operation);
    }
    SetShape(graph.add_output(), graph_.output);
    return proto_.SerializeAsString();
  }

  void operator()(const Convolution& op) {
    const ValueShape& shape = graph_.value(source_->output).shape;
    if (IsOfPositions(*source_)) {  // an embedding: one image, to be added to all
      if (op.bias >= 0)
        throw InputError(fmt::format("{}: {}: an embedding of positions with a bias has no form in float files",
                                     graph_.name, Describe(*source_)));
      node_->set_op_type("Reshape");
      node_->set_input(0, graph_.parameter(op.weight).name);
      node_->add_input(AddIntegers(source_->name + ".shape", {1, shape.channels, shape.height, shape.width}));
      if (IsJoined(source_->output)) ExpandBehind({shape.channels, shape.height, shape.width});
      return;
    }
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
    if (op.name == "Silu") {
      node_->set_op_type("Sigmoid");
      Behind("Mul", ".gate")->add_input(node_->input(0));
      return;
    }
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
  void operator()(const Multiply&) { node_->set_op_type("Mul"); }
  void operator()(const Product& op) {
    node_->set_op_type("MatMul");
    const FloatNode& node = *source_;
    const ValueShape& output = graph_.value(node.output).shape;
    for (int i = 0; i < 2; ++i) {
      const ValueShape& shape = graph_.value(node.inputs[static_cast<size_t>(i)]).shape;
      Reshape(i, {0, op.groups, shape.channels / op.groups, shape.height * shape.width}, i == 0 ? ".left" : ".right");
    }
    if (op.transposed_left) Transpose(0, {0, 1, 3, 2}, ".transposed");
    if (op.factor != 1) {
      AddTensor(node.name + ".factor", {}, {op.factor});
      Behind("Mul", ".scaled")->add_input(node.name + ".factor");
    }
    ReshapeBehind({0, output.channels, output.height, output.width});
  }
  void operator()(const Softmax& op) {
    node_->set_op_type("Softmax");
    const ValueShape& shape = graph_.value(source_->output).shape;
    if (op.groups > 1) Reshape(0, {0, op.groups, shape.channels / op.groups, shape.height * shape.width}, ".groups");
    Set("axis", int64_t{op.groups > 1 ? 2 : 1});
    if (op.groups > 1) ReshapeBehind({0, shape.channels, shape.height, shape.width});
  }
  void operator()(const LayerNormalization& op) {
    node_->set_op_type("LayerNormalization");
    const ValueShape& shape = graph_.value(source_->output).shape;
    if (!shape.flat) Transpose(0, {0, 2, 3, 1}, ".channels_last");
    AddTensor(source_->name + ".ones", {shape.channels}, std::vector<float>(static_cast<size_t>(shape.channels), 1));
    node_->add_input(source_->name + ".ones");
    Set("axis", int64_t{-1});
    Set("epsilon", op.epsilon);
    if (!shape.flat) SetInts(Behind("Transpose", ".channels_first"), "perm", {0, 3, 1, 2});
  }
  void operator()(const Rearrange& op) {
    Reshape(0, {0, graph_.value(source_->inputs[0]).shape.elements()}, ".elements");
    node_->set_op_type("Gather");
    node_->set_name(source_->name + ".gathered");
    node_->add_input(AddIntegers(source_->name + ".from", {op.from.begin(), op.from.end()}));
    Set("axis", int64_t{1});
    const ValueShape& shape = op.shape;
    const std::string sizes = AddIntegers(
        source_->name + ".shape", shape.flat ? std::vector<int64_t>{0, shape.channels}
                                             : std::vector<int64_t>{0, shape.channels, shape.height, shape.width});
    auto* behind = Behind("Reshape", ".gathered");
    behind->set_name(source_->name);
    behind->add_input(sizes);
  }
  // What stands for its product with weights is the weights themselves: see Convolution.
  void operator()(const Positions&) { proto_.mutable_graph()->mutable_node()->RemoveLast(); }

 private:
  bool IsOfPositions(const FloatNode& node) const {
    return std::any_of(graph_.nodes.begin(), graph_.nodes.end(), [&](const FloatNode& other) {
      return other.output == node.inputs[0] && std::holds_alternative<Positions>(other.operation);
    });
  }
  // Whether a join takes the value, or what is made of it alone: ONNX joins no single image with a batch.
  bool IsJoined(int value) const {
    return std::any_of(graph_.nodes.begin(), graph_.nodes.end(), [&](const FloatNode& node) {
      if (std::find(node.inputs.begin(), node.inputs.end(), value) == node.inputs.end()) return false;
      return std::holds_alternative<Concatenate>(node.operation) || (node.inputs.size() == 1 && IsJoined(node.output));
    });
  }
  // The last node's value, of one image, once for each image of the batch.
  void ExpandBehind(const std::vector<int64_t>& dims) {
    const std::string name = source_->name;
    onnx::GraphProto& graph = *proto_.mutable_graph();
    const std::string output = node_->output(0);
    node_->set_output(0, name + ".one");
    const auto add = [&](const char* type, std::initializer_list<std::string> inputs, const std::string& result) {
      onnx::NodeProto* node = graph.add_node();
      node->set_name(name + "." + type);
      node->set_op_type(type);
      for (const auto& input : inputs) node->add_input(input);
      node->add_output(result);
      return node;
    };
    add("Shape", {NameOf(0)}, name + ".input_shape");
    add("Slice", {name + ".input_shape", AddIntegers(name + ".first", {0}), AddIntegers(name + ".second", {1})},
        name + ".images");
    auto* axis = add("Concat", {name + ".images", AddIntegers(name + ".dims", dims)}, name + ".batch")->add_attribute();
    axis->set_name("axis");
    axis->set_type(onnx::AttributeProto::INT);
    axis->set_i(0);
    add("Expand", {name + ".one", name + ".batch"}, output);
  }
  // ---- moving axes: in front of the node, and behind it ----

  std::string AddIntegers(const std::string& name, const std::vector<int64_t>& values) {
    auto* tensor = proto_.mutable_graph()->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::INT64);
    tensor->add_dims(static_cast<int64_t>(values.size()));
    for (const int64_t value : values) tensor->add_int64_data(value);
    return name;
  }
  // A node of its own between an input of this one and where that comes from. Nodes may move: node_ follows.
  onnx::NodeProto* InFrontOf(int input, const char* type, const std::string& ending) {
    const std::string name = source_->name + ending;
    onnx::NodeProto own = *node_;
    const std::string from = own.input(input);
    own.set_input(input, name);
    onnx::NodeProto& front = *node_;
    front.Clear();
    front.set_name(name);
    front.set_op_type(type);
    front.add_input(from);
    front.add_output(name);
    const int place = proto_.graph().node_size() - 1;
    *proto_.mutable_graph()->add_node() = own;
    node_ = proto_.mutable_graph()->mutable_node(place + 1);
    return proto_.mutable_graph()->mutable_node(place);
  }
  void Reshape(int input, const std::vector<int64_t>& shape, const std::string& ending) {
    const std::string sizes = AddIntegers(source_->name + ending + ".shape", shape);
    InFrontOf(input, "Reshape", ending)->add_input(sizes);
  }
  void Transpose(int input, std::initializer_list<int> permutation, const std::string& ending) {
    SetInts(InFrontOf(input, "Transpose", ending), "perm", permutation);
  }
  // A node of its own behind the last one, which gives the value that that one gave.
  onnx::NodeProto* Behind(const char* type, const std::string& ending) {
    onnx::GraphProto& graph = *proto_.mutable_graph();
    const int place = graph.node_size() - 1;
    onnx::NodeProto* behind = graph.add_node();
    onnx::NodeProto& before = *graph.mutable_node(place);
    behind->set_name(source_->name + ending);
    behind->set_op_type(type);
    behind->add_output(before.output(0));
    behind->add_input(source_->name + ending + ".before");
    before.set_output(0, source_->name + ending + ".before");
    return behind;
  }
  void ReshapeBehind(const std::vector<int64_t>& shape) {
    const std::string sizes = AddIntegers(source_->name + ".ungrouped.shape", shape);
    Behind("Reshape", ".ungrouped")->add_input(sizes);
  }

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
  void Set(const char* name, std::initializer_list<int> values) { SetInts(node_, name, values); }
  static void SetInts(onnx::NodeProto* node, const char* name, std::initializer_list<int> values) {
    auto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INTS);
    for (const int value : values) attribute->add_ints(value);
  }
  void SetWindow(const Window& window) {
    Set("kernel_shape", {window.kernel_h, window.kernel_w});
    Set("strides", {window.stride_h, window.stride_w});
    Set("pads", {window.pad_top, window.pad_left, window.pad_bottom, window.pad_right});
  }

  const FloatGraph& graph_;
  onnx::ModelProto proto_;
  onnx::NodeProto* node_ = nullptr;    // that stands for
  const FloatNode* source_ = nullptr;  // this one
};

}  // namespace

std::string ToFloatOnnx(const FloatGraph& graph) {
  return Writer(graph).Write();
}

}  // namespace steadfast::network
