#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <unordered_map>
#include <variant>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/model/onnx_proto.h"
#include "steadfast/network/float_flow.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/network/onnx_constant.h"

namespace steadfast::network {
namespace {

using model::OnnxAttribute;
using model::OnnxNode;
using model::OnnxSource;

constexpr int kOldestOpset = 9;

using Meaning = std::variant<Constant, Flow>;

class Reader {
 public:
  Reader(onnx::ModelProto& proto, const std::string& file, const std::filesystem::path& folder)
      : proto_(proto), source_{file, 0}, constants_(source_, folder), flows_(file), builder_(flows_.builder()) {}

  FloatGraph Read() {
    model::CheckNodes(proto_, source_.file);
    source_.opset = model::OpsetOf(proto_, source_.file, kOldestOpset);
    for (onnx::TensorProto& tensor : *proto_.mutable_graph()->mutable_initializer())
      meanings_[tensor.name()] = constants_.Read(tensor);
    for (const auto& entry : proto_.metadata_props()) builder_.graph_.metadata[entry.key()] = entry.value();
    ReadInput();
    for (const onnx::NodeProto& node : proto_.graph().node()) {
      if (node.output_size() == 0 || !taken_up_.contains(node.output(0))) ReadNode(OnnxNode(node, source_));
    }
    ReadOutput();
    if (builder_.graph_.metadata.erase(std::string(kUntrained)) > 0) {
      for (const FloatNode& node : builder_.graph_.nodes) ForgetValues(node);
    }
    FoldScales(builder_.graph_);
    Prune(builder_.graph_);
    return std::move(builder_.graph_);
  }

 private:
  using Handler = void (Reader::*)(const OnnxNode&);
  struct Rule {
    std::vector<OnnxAttribute> attributes;
    Handler read;
  };

  static const std::unordered_map<std::string, Rule>& Rules() {
    static const std::vector<OnnxAttribute> window = {{"auto_pad"},     {"dilations"}, {"group"},
                                                      {"kernel_shape"}, {"pads"},      {"strides"}};
    static const std::vector<OnnxAttribute> pool = {{"auto_pad"},         {"ceil_mode", 10}, {"count_include_pad", 7},
                                                    {"dilations", 10},    {"kernel_shape"},  {"pads"},
                                                    {"storage_order", 8}, {"strides"}};
    static const std::unordered_map<std::string, Rule> rules = {
        {"Conv", {window, &Reader::ReadConvolution}},
        {"Gemm", {{{"alpha"}, {"beta"}, {"transA"}, {"transB"}}, &Reader::ReadGemm}},
        {"MatMul", {{}, &Reader::ReadMatMul}},
        {"BatchNormalization",
         {{{"epsilon"}, {"momentum"}, {"spatial", 1, 8}, {"training_mode", 14}}, &Reader::ReadNormalization}},
        {"Relu", {{}, &Reader::ReadRelu}},
        {"Clip", {{{"min", 1, 10}, {"max", 1, 10}}, &Reader::ReadClip}},
        {"LeakyRelu", {{{"alpha"}}, &Reader::ReadFunction}},
        {"HardSigmoid", {{{"alpha"}, {"beta"}}, &Reader::ReadFunction}},
        {"HardSwish", {{}, &Reader::ReadFunction}},
        {"Sigmoid", {{}, &Reader::ReadFunction}},
        {"Tanh", {{}, &Reader::ReadFunction}},
        {"Gelu", {{{"approximate", 20}}, &Reader::ReadFunction}},
        {"MaxPool", {pool, &Reader::ReadMaxPool}},
        {"AveragePool", {pool, &Reader::ReadAveragePool}},
        {"GlobalAveragePool", {{}, &Reader::ReadGlobalAverage}},
        {"ReduceMean", {{{"axes", 1, 17}, {"keepdims"}, {"noop_with_empty_axes", 18}}, &Reader::ReadReduceMean}},
        {"Add", {{}, &Reader::ReadArithmetic}},
        {"Pow", {{}, &Reader::ReadFoldable}},
        {"Sqrt", {{}, &Reader::ReadFoldable}},
        {"Neg", {{}, &Reader::ReadFoldable}},
        {"Floor", {{}, &Reader::ReadFoldable}},
        {"Reciprocal", {{}, &Reader::ReadFoldable}},
        {"Equal", {{}, &Reader::ReadFoldable}},
        {"Where", {{}, &Reader::ReadFoldable}},
        {"ConstantOfShape", {{{"value"}}, &Reader::ReadFoldable}},
        {"Expand", {{}, &Reader::ReadExpand}},
        {"Split", {{{"axis"}, {"split", 1, 12}, {"num_outputs", 18}}, &Reader::ReadSplit}},
        {"Sub", {{}, &Reader::ReadArithmetic}},
        {"Mul", {{}, &Reader::ReadArithmetic}},
        {"Div", {{}, &Reader::ReadArithmetic}},
        {"Concat", {{{"axis"}}, &Reader::ReadConcat}},
        {"Flatten", {{{"axis"}}, &Reader::ReadFlatten}},
        {"Reshape", {{{"allowzero", 14}}, &Reader::ReadReshape}},
        {"Squeeze", {{{"axes", 1, 12}}, &Reader::ReadSqueeze}},
        {"Unsqueeze", {{{"axes", 1, 12}}, &Reader::ReadUnsqueeze}},
        {"Transpose", {{{"perm"}}, &Reader::ReadTranspose}},
        {"Pad", {{{"mode"}, {"pads", 1, 10}, {"value", 1, 10}}, &Reader::ReadPad}},
        {"Identity", {{}, &Reader::ReadIdentity}},
        {"Dropout", {{{"ratio", 1, 11}, {"seed", 12}}, &Reader::ReadDropout}},
        {"Cast", {{{"to"}, {"saturate", 19}}, &Reader::ReadCast}},
        {"Softmax", {{{"axis"}}, &Reader::ReadSoftmax}},
        {"LogSoftmax", {{{"axis"}}, &Reader::ReadSoftmax}},
        {"LayerNormalization", {{{"axis"}, {"epsilon"}, {"stash_type"}}, &Reader::ReadLayerNormalization}},
        {"Shape", {{{"start", 15}, {"end", 15}}, &Reader::ReadShape}},
        {"Gather", {{{"axis"}}, &Reader::ReadGather}},
        {"Slice", {{{"axes", 1, 9}, {"ends", 1, 9}, {"starts", 1, 9}}, &Reader::ReadSlice}},
        {"Constant",
         {{{"value"}, {"value_float", 12}, {"value_floats", 12}, {"value_int", 12}, {"value_ints", 12}},
          &Reader::ReadConstant}}};
    return rules;
  }

  // Of a network that was written before it was trained: to be drawn.
  void ForgetValues(const FloatNode& node) {
    const auto forget = [&](int parameter) {
      if (parameter >= 0) builder_.graph_.parameters[static_cast<size_t>(parameter)].values.clear();
    };
    forget(WeightOf(node));
    if (const auto* convolution = std::get_if<Convolution>(&node.operation)) forget(convolution->bias);
    if (const auto* linear = std::get_if<Linear>(&node.operation)) forget(linear->bias);
  }

  // ---- constants ----

  void ReadConstant(const OnnxNode& node) { Define(node, constants_.Read(node)); }

  // Whether all inputs are constants: then the node is one, if it can be.
  bool Fold(const OnnxNode& node) {
    std::vector<const Constant*> inputs;
    for (int i = 0; i < node.inputs(); ++i) {
      if (!node.HasInput(i)) return false;
      const auto* constant = std::get_if<Constant>(&Lookup(node, i));
      if (constant == nullptr) return false;
      inputs.push_back(constant);
    }
    std::optional<Constant> folded;
    Guarded(node, [&] { folded = Folded(node, inputs); });
    if (!folded) return false;
    Define(node, std::move(*folded));
    return true;
  }
  void ReadFoldable(const OnnxNode& node) {
    if (!Fold(node)) node.Fail("is only taken of constants, or as a part of a normalization or GELU");
  }
  // What goes wrong inside has the node's name.
  template <typename Function>
  void Guarded(const OnnxNode& node, const Function& function) {
    try {
      function();
    } catch (const InputError& error) {
      const std::string what = error.what();
      if (what.starts_with(source_.file)) throw;
      if (what.starts_with("node '")) throw InputError(fmt::format("{}: {}", source_.file, what));
      node.Fail(what);
    }
  }

  // ---- names ----

  void Define(const OnnxNode& node, Meaning meaning) {
    if (!meanings_.emplace(node.output(), std::move(meaning)).second)
      node.Fail(fmt::format("its output '{}' is defined twice", node.output()));
  }
  const Meaning& Lookup(const OnnxNode& node, int input) const {
    const auto found = meanings_.find(node.input(input));
    if (found == meanings_.end()) node.Fail(fmt::format("its input '{}' is not defined before it", node.input(input)));
    return found->second;
  }
  bool IsConstant(const OnnxNode& node, int input) const {
    return std::holds_alternative<Constant>(Lookup(node, input));
  }
  const Flow& AnyFlowOf(const OnnxNode& node, int input) const {
    const auto* flow = std::get_if<Flow>(&Lookup(node, input));
    if (flow == nullptr) node.Fail(fmt::format("its input '{}' is a constant, expected a value", node.input(input)));
    if (flow->is_softmax) node.Fail("takes the result of a Softmax: only one at the end of the network is understood");
    return *flow;
  }
  // A value without padding around it, and without its factor, which becomes a part of it.
  Flow FlowOf(const OnnxNode& node, int input) {
    Flow flow = MovableFlowOf(node, input);
    if (flow.factor == 1) return flow;
    const Flow whole = flows_.Whole(flow);
    const int64_t channels = ShapeOf(whole.value).channels;
    const auto all = [&](float number) { return std::vector<float>(static_cast<size_t>(channels), number); };
    const std::string name = flows_.Unique(NameOfTensor(node.input(input)) + ".scaled");
    return flows_.OfEach(name, AffineOf(name, all(flow.factor), all(0), all(0)), whole);
  }
  // The same, the factor still to come: for what moves values, and for products.
  Flow MovableFlowOf(const OnnxNode& node, int input) {
    const Flow& flow = AnyFlowOf(node, input);
    if (!flow.pads.empty()) node.Fail("takes padded values: a Pad is only understood in front of a convolution");
    return flow;
  }
  static std::string NameOfTensor(std::string name) {
    while (!name.empty() && name.front() == '/') name.erase(0, 1);
    std::replace(name.begin(), name.end(), '/', '.');
    return name;
  }
  // (x - mean) * gamma + beta, of constants.
  BatchNormalization AffineOf(const std::string& name, const std::vector<float>& gamma, const std::vector<float>& beta,
                              const std::vector<float>& mean) {
    const auto channels = static_cast<int64_t>(gamma.size());
    BatchNormalization op{.epsilon = 0, .is_affine = true};
    op.gamma = builder_.AddParameter(name + ".factor", {channels}, gamma);
    op.beta = builder_.AddParameter(name + ".term", {channels}, beta);
    op.mean = builder_.AddParameter(name + ".subtracted", {channels}, mean);
    op.variance = builder_.AddParameter(name + ".one", {channels}, std::vector<float>(gamma.size(), 1.0f));
    return op;
  }
  // [N, C, H, W], [N, C, L] or [N, C].
  int ValueOf(const OnnxNode& node, int input) {
    int value = 0;
    Guarded(node, [&] { value = flows_.Image(FlowOf(node, input)); });
    return value;
  }
  // The same, of a value that may be padded.
  int PaddedAt(const OnnxNode& node, int input) {
    int value = 0;
    Guarded(node, [&] { value = flows_.Image(AnyFlowOf(node, input)); });
    return value;
  }
  const Constant& ConstantAt(const OnnxNode& node, int input, bool is_float) const {
    const auto* constant = std::get_if<Constant>(&Lookup(node, input));
    if (constant == nullptr)
      node.Fail(fmt::format("its input '{}' is computed by the network, expected a constant", node.input(input)));
    if (constant->is_float != is_float)
      node.Fail(fmt::format("its input '{}' must hold {}", node.input(input), is_float ? "float32" : "integers"));
    return *constant;
  }
  float ScalarAt(const OnnxNode& node, int input) const {
    const Constant& constant = ConstantAt(node, input, true);
    if (constant.floats.size() != 1) node.Fail(fmt::format("its input '{}' must be one number", node.input(input)));
    return constant.floats[0];
  }
  const ValueShape& ShapeOf(int value) const { return builder_.graph_.value(value).shape; }

  // The name of a node in the graph: its own, or its output's.
  std::string NameOf(const OnnxNode& node) {
    std::string name = node.proto().name().empty() ? node.output() : node.proto().name();
    while (!name.empty() && name.front() == '/') name.erase(0, 1);
    std::replace(name.begin(), name.end(), '/', '.');
    // "layer1.conv.Conv" is what PyTorch makes of a module layer1.conv.
    const std::string ending = "." + node.type();
    if (name.size() > ending.size() && name.ends_with(ending)) name.erase(name.size() - ending.size());
    return flows_.Unique(name.empty() ? node.type() : name);
  }
  // Weights keep the file's name for them, if it is theirs alone.
  int AddParameter(std::string name, const Constant& constant, std::vector<int64_t> shape, std::vector<float> values) {
    for (const float value : values) {
      if (!std::isfinite(value))
        source_.Fail(fmt::format("tensor '{}'", constant.name.empty() ? name : constant.name),
                     fmt::format("holds {}, which no trained network does", value));
    }
    if (constant.origin.empty()) return builder_.AddParameter(std::move(name), std::move(shape), std::move(values));
    const auto [first, is_first] = parameter_of_.emplace(constant.origin, -1);
    if (is_first && !constant.name.empty() && !constant.name.starts_with("onnx::")) name = constant.name;
    const int index = builder_.AddParameter(std::move(name), std::move(shape), std::move(values));
    if (is_first) {
      first->second = index;
    } else {  // Fuse refuses weights that several nodes share
      builder_.graph_.parameters[static_cast<size_t>(index)].is_shared = true;
      builder_.graph_.parameters[static_cast<size_t>(first->second)].is_shared = true;
    }
    return index;
  }
  void Add(const OnnxNode& node, FloatOperation operation, std::vector<int> inputs) {
    AddNamed(node, NameOf(node), std::move(operation), std::move(inputs));
  }
  void AddNamed(const OnnxNode& node, const std::string& name, FloatOperation operation, std::vector<int> inputs) {
    const int64_t rank = AnyFlowOf(node, 0).view.rank();
    Guarded(node, [&] { Define(node, flows_.Add(name, std::move(operation), std::move(inputs), rank)); });
  }
  void AddOfEach(const OnnxNode& node, FloatOperation operation) {
    Guarded(node, [&] { Define(node, flows_.OfEach(NameOf(node), std::move(operation), FlowOf(node, 0))); });
  }

  // ---- the graph's ends ----

  void ReadInput() {
    const onnx::ValueInfoProto* input = nullptr;
    for (const auto& candidate : proto_.graph().input()) {
      if (meanings_.contains(candidate.name())) continue;  // an initializer, as old files list them
      if (input != nullptr) source_.Fail("graph", "has several inputs; Steadfast takes networks with one");
      input = &candidate;
    }
    if (input == nullptr) source_.Fail("graph", "has no input");
    const auto& type = input->type().tensor_type();
    const std::string where = fmt::format("input '{}'", input->name());
    if (type.elem_type() != onnx::TensorProto::FLOAT) source_.Fail(where, "must be float32");
    if (type.shape().dim_size() > 0 && type.shape().dim(0).has_dim_value() && type.shape().dim(0).dim_value() != 1)
      source_.Fail(where, fmt::format("is a batch of {} images; export the network for one image, or for any number "
                                      "(dynamic_axes)",
                                      type.shape().dim(0).dim_value()));
    std::vector<int64_t> dims;
    for (int d = 1; d < type.shape().dim_size(); ++d) {
      const auto& dim = type.shape().dim(d);
      if (!dim.has_dim_value() || dim.dim_value() < 1 || dim.dim_value() > 65536)
        source_.Fail(where,
                     fmt::format("its dimension {} has no fixed size; export the network for images of one size", d));
      dims.push_back(dim.dim_value());
    }
    ValueShape shape;
    if (dims.size() == 1) {
      shape = {dims[0], 1, 1, true};
    } else if (dims.size() == 2) {
      shape = {dims[0], 1, dims[1]};
    } else if (dims.size() == 3) {
      shape = {dims[0], dims[1], dims[2]};
    } else {
      source_.Fail(where, fmt::format("has {} dimensions; expected [N, channels, rows, columns], [N, channels, length] "
                                      "or [N, features]",
                                      dims.size() + 1));
    }
    builder_.graph_.values[0] = {input->name(), shape};
    meanings_[input->name()] = flows_.Of(0, static_cast<int64_t>(dims.size()) + 1);
  }

  void ReadOutput() {
    if (proto_.graph().output_size() != 1)
      source_.Fail("graph",
                   fmt::format("has {} outputs; Steadfast takes networks with one", proto_.graph().output_size()));
    const std::string& name = proto_.graph().output(0).name();
    const auto found = meanings_.find(name);
    const Flow* flow = found == meanings_.end() ? nullptr : std::get_if<Flow>(&found->second);
    if (flow == nullptr || flow->value == 0)
      source_.Fail("graph", fmt::format("its output '{}' is not computed", name));
    if (ShapeOf(flow->value).height * ShapeOf(flow->value).width != 1)
      source_.Fail("graph", fmt::format("its output '{}' has rows and columns; expected one number a class", name));
    if (flow->view.elements() != ShapeOf(flow->value).elements() || !flow->view.from.empty())
      source_.Fail("graph", fmt::format("its output '{}' is moved about or cut; expected one number a class", name));
    const auto& output_dims = flow->view.dims;
    if (!flow->pads.empty() || flow->factor != 1 || output_dims.empty() ||
        *std::max_element(output_dims.begin(), output_dims.end()) != ShapeOf(flow->value).elements())
      source_.Fail("graph", fmt::format("its output '{}' has the shape [{}] (one image); expected one number a class",
                                        name, fmt::join(output_dims, ", ")));
    builder_.graph_.output = flow->value;
    // One number a class is flat already.
    for (const FloatNode* last = MakerOf(builder_.graph_.output);
         last != nullptr && std::holds_alternative<Flatten>(last->operation) &&
         ShapeOf(last->inputs[0]).height * ShapeOf(last->inputs[0]).width == 1 && last->inputs[0] != 0;
         last = MakerOf(builder_.graph_.output))
      builder_.graph_.output = last->inputs[0];
  }

  const FloatNode* MakerOf(int value) const {
    for (const FloatNode& node : builder_.graph_.nodes) {
      if (node.output == value) return &node;
    }
    return nullptr;
  }

  void ReadNode(const OnnxNode& node) {
    node.output();
    const auto rule = Rules().find(node.type());
    if (rule == Rules().end()) {
      std::vector<std::string> known;
      for (const auto& [type, unused] : Rules()) known.push_back(type);
      std::sort(known.begin(), known.end());
      const bool quantized = node.type() == "QuantizeLinear" || node.type() == "DequantizeLinear";
      node.Fail(quantized ? std::string("belongs to a quantized network, and a float network is expected here")
                          : fmt::format("this operator is not taken over from float networks (known are {})",
                                        fmt::join(known, ", ")));
    }
    node.Check(rule->second.attributes, node.type() == "Split");
    (this->*rule->second.read)(node);
  }

  // ---- weighted sums ----

  void ReadConvolution(const OnnxNode& node) {
    const int value = PaddedAt(node, 0);
    const std::vector<int> pads = AnyFlowOf(node, 0).pads;
    const Constant weight = ConstantAt(node, 1, true);
    std::vector<int64_t> shape = weight.shape;
    Convolution op;
    const int64_t rank = AnyFlowOf(node, 0).view.rank();
    if (rank != static_cast<int64_t>(shape.size()))
      node.Fail(fmt::format("its weights have {} dimensions, and its input {}", shape.size(), rank));
    if (shape.size() == 3) {  // along one dimension
      shape.insert(shape.begin() + 2, 1);
      op.window = WindowOfLine(node, shape[3]);
    } else if (shape.size() == 4) {
      op.window = node.WindowOf(Small(node, shape[2]), Small(node, shape[3]), ShapeOf(value));
    } else {
      node.Fail(fmt::format("its weights have {} dimensions; convolutions along one or two are taken", shape.size()));
    }
    if (!pads.empty()) {
      const std::string auto_pad = node.Text("auto_pad", "NOTSET");
      if (auto_pad != "NOTSET" && auto_pad != "VALID")
        node.Fail(fmt::format("takes padded values and pads them by auto_pad {}, which is not taken", auto_pad));
      op.window.pad_top += pads[0];
      op.window.pad_left += pads[1];
      op.window.pad_bottom += pads[2];
      op.window.pad_right += pads[3];
    }
    op.groups = node.SmallInt("group", node.Int("group", 1));
    const std::string name = NameOf(node);
    op.weight = AddParameter(name + ".weight", weight, shape, weight.floats);
    if (node.HasInput(2)) {
      const Constant& bias = ConstantAt(node, 2, true);
      op.bias = AddParameter(name + ".bias", bias, bias.shape, bias.floats);
    }
    AddNamed(node, name, op, {value});
  }

  static int Small(const OnnxNode& node, int64_t size) { return node.SmallInt("kernel_shape", size); }

  Window WindowOfLine(const OnnxNode& node, int64_t kernel) const {
    const auto one = [&](const char* attribute, int64_t otherwise) {
      const auto values = node.Has(attribute) ? node.Ints(attribute) : std::vector<int64_t>{otherwise};
      if (values.size() != 1)
        node.Fail(fmt::format("attribute {} has {} values, expected 1", attribute, values.size()));
      return node.SmallInt(attribute, values[0]);
    };
    if (node.Text("auto_pad", "NOTSET") != "NOTSET") node.Fail("auto_pad is not taken along one dimension; use pads");
    Window window;
    window.kernel_w = one("kernel_shape", kernel);
    window.stride_w = one("strides", 1);
    window.dilation_w = one("dilations", 1);
    const auto pads = node.Has("pads") ? node.Ints("pads") : std::vector<int64_t>{0, 0};
    if (pads.size() != 2) node.Fail(fmt::format("attribute pads has {} values, expected 2", pads.size()));
    window.pad_left = node.SmallInt("pads", pads[0]);
    window.pad_right = node.SmallInt("pads", pads[1]);
    return window;
  }

  // `outputs_first`: whether the matrix is [outputs, inputs].
  Flow AddLinear(const OnnxNode& node, const Flow& flow, const Constant& weight, bool outputs_first,
                 const Constant* bias) {
    if (weight.shape.size() != 2)
      node.Fail(fmt::format("its weights have {} dimensions, expected 2", weight.shape.size()));
    const int64_t outputs = weight.shape[outputs_first ? 0 : 1], inputs = weight.shape[outputs_first ? 1 : 0];
    if (outputs < 1 || inputs < 1 || weight.elements() != outputs * inputs)
      node.Fail(fmt::format("its weights have the shape [{}]", fmt::join(weight.shape, ", ")));
    std::vector<float> values = weight.floats;
    if (!outputs_first) {
      for (int64_t o = 0; o < outputs; ++o) {
        for (int64_t i = 0; i < inputs; ++i)
          values[static_cast<size_t>(o * inputs + i)] = weight.floats[static_cast<size_t>(i * outputs + o)];
      }
    }
    const std::string name = NameOf(node);
    const int matrix = AddParameter(name + ".weight", weight, {outputs, inputs}, std::move(values));
    int terms = -1;
    if (bias != nullptr) {
      std::vector<float> all = bias->floats;
      const bool is_row = bias->elements() == outputs && (outputs == 1 || bias->shape.back() == outputs);
      if (!is_row && bias->elements() != 1)
        node.Fail(
            fmt::format("its bias has the shape [{}], expected one number an output", fmt::join(bias->shape, ", ")));
      if (all.size() == 1) all.assign(static_cast<size_t>(outputs), all[0]);
      terms = AddParameter(name + ".bias", *bias, {static_cast<int64_t>(all.size())}, all);
    }
    if (flow.view.dims.empty() || flow.view.dims.back() != inputs)
      node.Fail(fmt::format("its weights take {} inputs, and its input has the shape [{}] (one image)", inputs,
                            fmt::join(flow.view.dims, ", ")));
    return flows_.Connect(name, flow, matrix, terms);
  }

  void ReadGemm(const OnnxNode& node) {
    if (node.Float("alpha", 1) != 1 || node.Float("beta", 1) != 1 || node.Int("transA", 0) != 0)
      node.Fail("alpha, beta and transA other than 1, 1 and 0 are not taken");
    const Flow flow = FlowOf(node, 0);
    if (flow.view.rank() != 2)
      node.Fail(fmt::format("takes [{}] (one image), expected two dimensions", fmt::join(flow.view.dims, ", ")));
    Guarded(node, [&] {
      Define(node, AddLinear(node, flow, ConstantAt(node, 1, true), node.Int("transB", 0) != 0,
                             node.HasInput(2) ? &ConstantAt(node, 2, true) : nullptr));
    });
  }

  void ReadMatMul(const OnnxNode& node) {
    if (!IsConstant(node, 0) && !IsConstant(node, 1)) return ReadProduct(node);
    Guarded(node, [&] {
      if (IsConstant(node, 1))
        return Define(node, AddLinear(node, FlowOf(node, 0), ConstantAt(node, 1, true), false, nullptr));
      // Of the last axis but one: the same with both turned.
      Flow flow = FlowOf(node, 1);
      std::vector<int64_t> turned(flow.view.dims.size());
      for (size_t d = 0; d < turned.size(); ++d) turned[d] = static_cast<int64_t>(d);
      if (turned.size() < 2) node.Fail("takes a tensor of less than two dimensions");
      std::swap(turned.back(), turned[turned.size() - 2]);
      flow.view = model::Transposed(flow.view, turned);
      Flow result = AddLinear(node, flow, ConstantAt(node, 0, true), true, nullptr);
      result.view = model::Transposed(result.view, turned);
      Define(node, std::move(result));
    });
  }

  void ReadProduct(const OnnxNode& node) {
    Guarded(node, [&] {
      const Flow a = MovableFlowOf(node, 0), b = MovableFlowOf(node, 1);
      Define(node, flows_.Multiplied(NameOf(node), a, b, IsBehindOf(node.output(), "Softmax")));
    });
  }
  // Whether an operator is all that takes a tensor, but for arithmetic with constants between the two.
  bool IsBehindOf(const std::string& tensor, const char* type) const {
    std::string name = tensor;
    for (int steps = 0; steps < 4; ++steps) {
      const onnx::NodeProto* taker = nullptr;
      for (const auto& node : proto_.graph().node()) {
        if (std::find(node.input().begin(), node.input().end(), name) == node.input().end()) continue;
        if (taker != nullptr) return false;
        taker = &node;
      }
      if (taker == nullptr) return false;
      if (taker->op_type() == type) return true;
      if (taker->op_type() != "Mul" && taker->op_type() != "Div" && taker->op_type() != "Add") return false;
      name = taker->output(0);
    }
    return false;
  }
  // Whether products of values are all that takes a tensor, whatever moves it before. (A factor that something else
  // takes after all is not lost: FlowOf.)
  bool IsOnlyMultiplied(const std::string& tensor) const {
    std::set<std::string> seen = {tensor};
    std::vector<std::string> open = {tensor};
    bool is_taken = false;
    while (!open.empty()) {
      const std::string name = open.back();
      open.pop_back();
      for (const auto& output : proto_.graph().output()) {
        if (output.name() == name) return false;
      }
      for (const auto& node : proto_.graph().node()) {
        if (std::find(node.input().begin(), node.input().end(), name) == node.input().end()) continue;
        const std::string& type = node.op_type();
        const bool moves = type == "Transpose" || type == "Reshape" || type == "Squeeze" || type == "Unsqueeze";
        if (type == "MatMul" && IsOfValues(node)) {
          is_taken = true;
        } else if (moves && node.output_size() == 1) {
          if (seen.insert(node.output(0)).second) open.push_back(node.output(0));
        } else {
          return false;
        }
      }
    }
    return is_taken;
  }
  bool IsOfValues(const onnx::NodeProto& node) const {
    return std::none_of(node.input().begin(), node.input().end(), [&](const std::string& input) {
      const auto found = meanings_.find(input);
      return found != meanings_.end() && std::holds_alternative<Constant>(found->second);
    });
  }
  // A factor behind a product of values, or in front of one.
  bool TakeFactor(const OnnxNode& node, const Flow& flow, const Constant& constant) {
    FloatGraph& graph = builder_.graph_;
    if ((node.type() != "Mul" && node.type() != "Div") || constant.elements() != 1) return false;
    const float factor = node.type() == "Mul" ? constant.floats[0] : 1 / constant.floats[0];
    if (!std::isfinite(factor)) node.Fail("divides by 0");
    if (IsOnlyMultiplied(node.output())) {
      Flow scaled = flow;
      scaled.factor *= factor;
      Define(node, scaled);
      return true;
    }
    if (graph.nodes.empty() || graph.nodes.back().output != flow.value) return false;
    auto* product = std::get_if<Product>(&graph.nodes.back().operation);
    if (product == nullptr || UsesOf(flow.value) > 1) return false;
    product->factor =
        node.type() == "Mul" ? product->factor * constant.floats[0] : product->factor / constant.floats[0];
    Define(node, flow);
    return true;
  }

  // Over the last axis, without scale and shift.
  Flow Normalized(const std::string& name, const Flow& flow, float epsilon) {
    const Flow tokens = flows_.ChannelsLast(flow);
    return {builder_.AddNode(name, LayerNormalization{epsilon}, {tokens.value}), tokens.view};
  }
  void ReadLayerNormalization(const OnnxNode& node) {
    Guarded(node, [&] {
      const Flow flow = FlowOf(node, 0);
      const int64_t axis = node.Int("axis", -1);
      if (axis != -1 && axis != flow.view.rank() - 1) node.Fail("its axis must be the last");
      const std::string name = NameOf(node);
      Flow result = Normalized(name, flow, static_cast<float>(node.Float("epsilon", 1e-5)));
      const int64_t channels = ShapeOf(result.value).channels;
      const Constant scale = ConstantAt(node, 1, true);
      CheckFinite(node, scale.floats);
      std::vector<float> shift(scale.floats.size(), 0.0f);
      if (node.HasInput(2)) shift = ConstantAt(node, 2, true).floats;
      CheckFinite(node, shift);
      const auto is_all = [](const std::vector<float>& values, float one) {
        return std::all_of(values.begin(), values.end(), [&](float v) { return v == one; });
      };
      if (!is_all(scale.floats, 1) || !is_all(shift, 0)) {  // FoldScales makes it a part of what follows
        BatchNormalization op{.epsilon = 0, .is_affine = true};
        const auto all = [&](float number) { return std::vector<float>(static_cast<size_t>(channels), number); };
        const auto add = [&](const char* ending, std::vector<float> values) {
          const auto size = static_cast<int64_t>(values.size());
          return builder_.AddParameter(name + ending, {size}, std::move(values));
        };
        op.gamma = add(".weight", scale.floats);
        op.beta = add(".bias", shift);
        op.mean = add(".subtracted", all(0));
        op.variance = add(".one", all(1));
        result.value = builder_.AddNode(name + ".scaled", op, {result.value});
      }
      Define(node, std::move(result));
    });
  }
  // (x - mean) / sqrt(mean((x - mean)^2) + epsilon), as exporters wrote it before opset 17.
  bool TakeLayerNormalization(const OnnxNode& node) {
    const std::string& x = node.input(0);
    const auto taker = [&](const std::string& name, const char* type, size_t count) {
      const onnx::NodeProto* found = nullptr;
      size_t takers = 0;
      for (const auto& other : proto_.graph().node()) {
        if (std::find(other.input().begin(), other.input().end(), name) == other.input().end()) continue;
        ++takers;
        if (other.op_type() == type && other.output_size() == 1 && other.input_size() > 0) found = &other;
      }
      return takers == count ? found : nullptr;
    };
    const auto* difference = taker(node.output(), "Sub", 1);
    if (difference == nullptr || difference->input(0) != x) return false;
    const std::string& centred = difference->output(0);
    const auto* square = taker(centred, "Pow", 2);
    if (square == nullptr) square = taker(centred, "Mul", 2);
    const auto* quotient = taker(centred, "Div", 2);
    if (square == nullptr || quotient == nullptr || square->input(0) != centred || quotient->input(0) != centred)
      return false;
    if (square->op_type() == "Pow" ? !HasNumber(*square, centred, 2) : square->input(1) != centred) return false;
    const auto* variance = taker(square->output(0), "ReduceMean", 1);
    const auto* sum = variance == nullptr ? nullptr : taker(variance->output(0), "Add", 1);
    const auto* root = sum == nullptr ? nullptr : taker(sum->output(0), "Sqrt", 1);
    if (root == nullptr || taker(root->output(0), "Div", 1) != quotient || quotient->input(1) != root->output(0))
      return false;
    const auto epsilon = NumberOf(*sum, variance->output(0));
    const OnnxNode second(*variance, source_);
    if (!epsilon || !(*epsilon >= 0) || MeanAxes(node) != MeanAxes(second)) return false;
    if (node.Int("keepdims", 1) != 1 || second.Int("keepdims", 1) != 1) return false;
    const Flow flow = FlowOf(node, 0);
    std::vector<int64_t> axes = MeanAxes(node);
    if (axes.size() != 1 || flow.view.dims.empty() || model::AxisOf(flow.view, axes[0]) != flow.view.rank() - 1)
      return false;
    for (const auto* part : {difference, square, variance, sum, root, quotient}) taken_up_.insert(part->output(0));
    const OnnxNode last(*quotient, source_);
    Define(last, Normalized(NameOf(last), flow, *epsilon));
    return true;
  }

  void ReadNormalization(const OnnxNode& node) {
    if (node.Int("training_mode", 0) != 0) node.Fail("is in training mode; export the network after model.eval()");
    if (node.Int("spatial", 1) != 1) node.Fail("spatial 0 is not taken");
    const std::string name = NameOf(node);
    BatchNormalization op;
    op.epsilon = node.Float("epsilon", 1e-5);
    op.is_affine = op.epsilon == 0;  // as factors and terms are written
    int* const parameters[] = {&op.gamma, &op.beta, &op.mean, &op.variance};
    const char* const endings[] = {".weight", ".bias", ".running_mean", ".running_var"};
    for (int i = 0; i < 4; ++i) {
      const Constant& constant = ConstantAt(node, i + 1, true);
      *parameters[i] = AddParameter(name + endings[i], constant, constant.shape, constant.floats);
    }
    for (const float variance : builder_.graph_.parameter(op.variance).values) {
      if (!(variance >= 0)) node.Fail(fmt::format("has a variance of {}", variance));
    }
    AddNamed(node, name, op, {ValueOf(node, 0)});
  }

  // ---- arithmetic with constants, and additions ----

  // The only node that takes a name, if it is of this type; null otherwise.
  const onnx::NodeProto* OnlyTaker(const std::string& name, const char* type) const {
    const onnx::NodeProto* taker = nullptr;
    for (const auto& node : proto_.graph().node()) {
      if (std::find(node.input().begin(), node.input().end(), name) == node.input().end()) continue;
      if (taker != nullptr || node.op_type() != type || node.output_size() != 1) return nullptr;
      taker = &node;
    }
    return taker;
  }
  // Of a node with two inputs, the one that is not `name`, if that is one number.
  std::optional<float> NumberOf(const onnx::NodeProto& node, const std::string& name) const {
    if (node.input_size() != 2) return {};
    const std::string& other = node.input(node.input(0) == name ? 1 : 0);
    const std::optional<Constant> constant = Peek(other);
    if (!constant || !constant->is_float || constant->elements() != 1) return {};
    return constant->floats[0];
  }
  // A constant of this name, also of a Constant node that is not read yet.
  std::optional<Constant> Peek(const std::string& name) const {
    const auto found = meanings_.find(name);
    if (found != meanings_.end()) {
      const auto* constant = std::get_if<Constant>(&found->second);
      return constant == nullptr ? std::nullopt : std::optional(*constant);
    }
    for (const auto& maker : proto_.graph().node()) {
      if (maker.op_type() == "Constant" && maker.output_size() == 1 && maker.output(0) == name)
        return ConstantReader(constants_).Read(OnnxNode(maker, source_));
    }
    return {};
  }
  bool HasNumber(const onnx::NodeProto& node, const std::string& name, float value) const {
    const auto number = NumberOf(node, name);
    return number && std::abs(*number - value) < 1e-4f;
  }

  // x / sqrt(2), erf of it, plus 1, times x, times 0.5: a GELU, as exporters wrote it before opset 20.
  bool TakeGelu(const OnnxNode& node) {
    if (node.type() != "Div" || !HasNumber(node.proto(), node.input(0), std::sqrt(2.0f))) return false;
    const std::string& x = node.input(0);
    const auto* erf = OnlyTaker(node.output(), "Erf");
    const auto* sum = erf == nullptr ? nullptr : OnlyTaker(erf->output(0), "Add");
    if (sum == nullptr || !HasNumber(*sum, erf->output(0), 1)) return false;
    const auto* product = OnlyTaker(sum->output(0), "Mul");
    if (product == nullptr || product->input_size() != 2) return false;
    if (product->input(product->input(0) == sum->output(0) ? 1 : 0) != x) return false;
    const auto* half = OnlyTaker(product->output(0), "Mul");
    if (half == nullptr || !HasNumber(*half, product->output(0), 0.5f)) return false;
    for (const auto* part : {erf, sum, product, half}) taken_up_.insert(part->output(0));
    const OnnxNode last(*half, source_);
    Define(last, flows_.OfEach(NameOf(last), Function{"Gelu"}, FlowOf(node, 0)));
    return true;
  }

  void ReadArithmetic(const OnnxNode& node) {
    Guarded(node, [&] {
      if (!Fold(node) && !TakeGelu(node)) ReadArithmeticOfValues(node);
    });
  }
  static void CheckFinite(const OnnxNode& node, const std::vector<float>& values) {
    for (const float value : values) {
      if (!std::isfinite(value)) node.Fail(fmt::format("has a constant of {}", value));
    }
  }
  void ReadArithmeticOfValues(const OnnxNode& node) {
    const bool first = IsConstant(node, 0), second = IsConstant(node, 1);
    if (!first && !second) {
      if (node.type() == "Mul" && TakeSelfGate(node)) return;
      if (node.type() == "Mul") return Define(node, flows_.Gate(NameOf(node), FlowOf(node, 0), FlowOf(node, 1)));
      if (node.type() != "Add") node.Fail(fmt::format("{} of two computed values is not taken", node.type()));
      return Define(node, flows_.Sum(NameOf(node), FlowOf(node, 0), FlowOf(node, 1)));
    }
    if (first && (node.type() == "Sub" || node.type() == "Div"))
      node.Fail("a constant less or divided by a computed value is not taken");
    const Constant& given = ConstantAt(node, first ? 0 : 1, true);
    CheckFinite(node, given.floats);
    if (TakeFactor(node, MovableFlowOf(node, first ? 1 : 0), given)) return;
    Flow flow = flows_.Whole(FlowOf(node, first ? 1 : 0));
    const auto dims = model::BroadcastDims(flow.view.dims, given.shape);
    if (View{dims, {}}.elements() != flow.view.elements())
      node.Fail(fmt::format("its constant '{}' of shape [{}] is larger than its value", node.input(first ? 0 : 1),
                            fmt::join(given.shape, ", ")));
    flow.view.dims = dims;
    const std::vector<float> elements = flows_.OverElements(flow, given.floats, given.shape);
    const ValueShape shape = ShapeOf(flow.value);
    const auto positions = static_cast<size_t>(shape.height * shape.width);
    std::vector<float> constant;
    bool is_one_a_channel = true;
    for (size_t e = 0; e < elements.size(); ++e) {
      if (e % positions == 0) constant.push_back(elements[e]);
      is_one_a_channel = is_one_a_channel && elements[e] == constant.back();
    }
    if (!is_one_a_channel) {
      if (node.type() != "Add")
        node.Fail(fmt::format("its constant '{}' of shape [{}] is not one number a channel of {}",
                              node.input(first ? 0 : 1), fmt::join(given.shape, ", "), shape.channels));
      return AddEmbedding(node, flow, given, elements);
    }
    if (node.type() == "Add" && TakeBias(node, flow, constant)) return;
    // As a normalization: (x - mean) * gamma + beta.
    const int64_t channels = shape.channels;
    const auto all = [&](float number) { return std::vector<float>(static_cast<size_t>(channels), number); };
    std::vector<float> gamma = all(1), beta = all(0), mean = all(0);
    if (node.type() == "Add") beta = constant;
    if (node.type() == "Sub") mean = constant;
    if (node.type() == "Mul") gamma = constant;
    if (node.type() == "Div") {
      for (size_t c = 0; c < constant.size(); ++c) gamma[c] = 1 / constant[c];
    }
    for (const float factor : gamma) {
      if (!std::isfinite(factor)) node.Fail("divides by 0");
    }
    const std::string name = NameOf(node);
    Define(node, flows_.OfEach(name, AffineOf(name, gamma, beta, mean), flow));
  }

  // One number for each element: an embedding of positions, added.
  void AddEmbedding(const OnnxNode& node, const Flow& flow, const Constant& constant, std::vector<float> elements) {
    const ValueShape shape = ShapeOf(flow.value);
    constexpr int64_t kMostPositions = 16384;
    if (shape.height * shape.width > kMostPositions)
      node.Fail(fmt::format("adds another number at each of {} positions, and at most {} are taken",
                            shape.height * shape.width, kMostPositions));
    const int embedding = Embedded(NameOfEmbedding(node, constant), constant, shape, std::move(elements));
    Define(node, Flow{builder_.AddNode(NameOf(node), network::Add{}, {flow.value, embedding}), flow.view});
  }
  std::string NameOfEmbedding(const OnnxNode& node, const Constant& constant) {
    std::string name = constant.name.empty() ? NameOf(node) + ".embedding" : constant.name;
    if (name.ends_with(".weight")) name.erase(name.size() - 7);
    return flows_.Unique(name);
  }
  int Embedded(const std::string& name, const Constant& constant, const ValueShape& shape,
               std::vector<float> elements) {
    const int embedding = builder_.Embed(name, shape.channels, shape.height, shape.width);
    auto& weight = builder_.graph_.parameters.back();
    weight.name = constant.name.empty() ? weight.name : constant.name;
    weight.values = std::move(elements);
    return embedding;
  }

  // x times the HardSigmoid of x, as exporters wrote a HardSwish before opset 14; x times its Sigmoid.
  bool TakeSelfGate(const OnnxNode& node) {
    FloatGraph& graph = builder_.graph_;
    const int a = FlowOf(node, 0).value, b = FlowOf(node, 1).value;
    if (graph.nodes.empty() || FlowOf(node, 0).view != FlowOf(node, 1).view) return false;
    FloatNode& last = graph.nodes.back();
    auto* function = std::get_if<Function>(&last.operation);
    const bool is_silu = function != nullptr && function->name == "Sigmoid";
    const bool fits = is_silu || (function != nullptr && function->name == "HardSigmoid" &&
                                  std::abs(function->alpha - 1.0f / 6) < 1e-6f && function->beta == 0.5f);
    const int gate = last.output, x = last.inputs[0];
    if (!fits || !((a == x && b == gate) || (a == gate && b == x))) return false;
    if (UsesOf(gate) > 1) return false;
    *function = {is_silu ? "Silu" : "HardSwish"};
    Define(node, Flow{gate, FlowOf(node, 0).view});
    return true;
  }

  // A term behind a weighted sum that has none becomes its bias.
  bool TakeBias(const OnnxNode& node, const Flow& flow, const std::vector<float>& terms) {
    const int value = flow.value;
    FloatGraph& graph = builder_.graph_;
    if (graph.nodes.empty() || graph.nodes.back().output != value) return false;
    FloatOperation& operation = graph.nodes.back().operation;
    int* bias = nullptr;
    if (auto* linear = std::get_if<Linear>(&operation)) bias = &linear->bias;
    if (auto* convolution = std::get_if<Convolution>(&operation)) bias = &convolution->bias;
    if (bias == nullptr || *bias >= 0) return false;
    if (UsesOf(value) > 1) return false;
    *bias = builder_.AddParameter(graph.nodes.back().name + ".bias", {static_cast<int64_t>(terms.size())}, terms);
    Define(node, flow);
    return true;
  }
  // How many nodes, and the graph's output, take a value under any of the names that it has so far, but for those that
  // only gave it another.
  int UsesOf(int value) const {
    std::set<std::string> names;
    for (const auto& [name, meaning] : meanings_) {
      const auto* flow = std::get_if<Flow>(&meaning);
      if (flow != nullptr && flow->value == value) names.insert(name);
    }
    const auto is_one = [&](const std::string& name) { return names.contains(name); };
    int uses = 0;
    for (const auto& node : proto_.graph().node()) {
      uses += static_cast<int>(std::count_if(node.input().begin(), node.input().end(), is_one));
      // That only gave it another name.
      const bool gives = std::any_of(node.output().begin(), node.output().end(), is_one);
      uses -= gives && std::any_of(node.input().begin(), node.input().end(), is_one);
    }
    for (const auto& output : proto_.graph().output()) uses += is_one(output.name());
    return uses;
  }

  // ---- functions ----

  void ReadRelu(const OnnxNode& node) { AddOfEach(node, Clip{}); }

  void ReadClip(const OnnxNode& node) {
    constexpr float kMost = std::numeric_limits<float>::max();
    Clip op{-kMost, kMost};
    if (node.opset() <= 10) {
      op.lowest = static_cast<float>(node.Float("min", -kMost));
      op.highest = static_cast<float>(node.Float("max", kMost));
    } else {
      if (node.HasInput(1)) op.lowest = ScalarAt(node, 1);
      if (node.HasInput(2)) op.highest = ScalarAt(node, 2);
    }
    if (!(op.lowest <= 0) || !(op.highest > 0))
      node.Fail(fmt::format("clips to {} to {}, and only bounds around 0 are taken", op.lowest, op.highest));
    if (op.highest == kMost) op.highest = std::numeric_limits<float>::infinity();
    AddOfEach(node, op);
  }

  void ReadFunction(const OnnxNode& node) {
    Function op{node.type()};
    if (node.type() == "LeakyRelu") op.alpha = static_cast<float>(node.Float("alpha", 0.01));
    if (node.type() == "HardSigmoid") {
      op.alpha = static_cast<float>(node.Float("alpha", 0.2));
      op.beta = static_cast<float>(node.Float("beta", 0.5));
    }
    if (node.type() == "Gelu" && node.Text("approximate", "none") == "tanh") op.name = "GeluTanh";
    AddOfEach(node, op);
  }

  void ReadSoftmax(const OnnxNode& node) {
    Flow flow = FlowOf(node, 0);
    if (flow.view.dims.empty()) node.Fail("takes a tensor without dimensions");
    int64_t axis = node.Int("axis", node.opset() < 13 ? 1 : -1), size = 1;
    Guarded(node, [&] { axis = model::AxisOf(flow.view, axis); });
    for (int64_t d = axis; d < (node.opset() < 13 ? flow.view.rank() : axis + 1); ++d)
      size *= flow.view.dims[static_cast<size_t>(d)];
    const bool is_taken =
        std::any_of(proto_.graph().node().begin(), proto_.graph().node().end(), [&](const onnx::NodeProto& other) {
          return std::find(other.input().begin(), other.input().end(), node.output()) != other.input().end();
        });
    if (size == flow.view.elements() && !is_taken) {
      flow.is_softmax = true;  // of the classes
      return Define(node, flow);
    }
    if (node.type() != "Softmax") node.Fail("only one at the end of the network is understood");
    Guarded(node, [&] {
      if (node.opset() < 13) {  // over all axes from this one on
        for (int64_t d = axis + 1; d < flow.view.rank(); ++d) {
          if (flow.view.dims[static_cast<size_t>(d)] != 1)
            node.Fail("over several axes at once, as before opset 13, is not taken");
        }
      }
      Define(node, flows_.SoftmaxOver(NameOf(node), flow, axis));
    });
  }

  // ---- pools ----

  Window PoolWindow(const OnnxNode& node, const ValueShape& shape) const {
    const auto kernel = node.Ints("kernel_shape").size();
    if (static_cast<int64_t>(kernel) + 2 != AnyFlowOf(node, 0).view.rank())
      node.Fail(fmt::format("its kernel has {} dimensions, and its input {}", kernel, AnyFlowOf(node, 0).view.rank()));
    if (kernel != 1) return node.WindowOf(1, 1, shape);
    Window window = WindowOfLine(node, 1);
    node.RoundUp(shape, window);
    return window;
  }
  void ReadMaxPool(const OnnxNode& node) {
    const int value = ValueOf(node, 0);
    Add(node, MaxPool{PoolWindow(node, ShapeOf(value))}, {value});
  }
  void ReadAveragePool(const OnnxNode& node) {
    const int value = PaddedAt(node, 0);
    const std::vector<int> pads = AnyFlowOf(node, 0).pads;
    ValueShape shape = ShapeOf(value);
    if (!pads.empty()) shape = {shape.channels, shape.height + pads[0] + pads[2], shape.width + pads[1] + pads[3]};
    Window window = PoolWindow(node, shape);
    if (window.has_padding() && node.Int("count_include_pad", 0) == 0)
      node.Fail("leaves padding out of its means (count_include_pad 0), which is not supported; pad less, or count it");
    if (!pads.empty()) {  // zeros, which count
      if (window.has_padding()) node.Fail("pads values that a Pad has padded, which is not taken");
      window.pad_top = pads[0];
      window.pad_left = pads[1];
      window.pad_bottom = pads[2];
      window.pad_right = pads[3];
    }
    Add(node, AveragePool{window}, {value});
  }
  void ReadGlobalAverage(const OnnxNode& node) {
    const int value = ValueOf(node, 0);
    const ValueShape& shape = ShapeOf(value);
    if (shape.flat) node.Fail("its input has no rows and columns");
    Window window;
    window.kernel_h = window.stride_h = Small(node, shape.height);
    window.kernel_w = window.stride_w = Small(node, shape.width);
    Add(node, AveragePool{window}, {value});
  }
  std::vector<int64_t> MeanAxes(const OnnxNode& node) const {
    if (node.opset() < 18 || !node.HasInput(1)) return node.Ints("axes");
    const std::optional<Constant> axes = Peek(node.input(1));
    if (!axes || axes->is_float) node.Fail(fmt::format("its axes '{}' are not integers", node.input(1)));
    return axes->integers;
  }
  void ReadReduceMean(const OnnxNode& node) {
    Guarded(node, [&] {
      if (TakeLayerNormalization(node)) return;
      const auto axes = MeanAxes(node);
      if (axes.empty() && node.Int("noop_with_empty_axes", 0) != 0) return ReadIdentity(node);
      Define(node, flows_.Mean(NameOf(node), FlowOf(node, 0), axes, node.Int("keepdims", 1) != 0));
    });
  }

  // ---- moving values ----

  void ReadConcat(const OnnxNode& node) {
    if (node.inputs() == 0) node.Fail("has no inputs");
    Guarded(node, [&] {
      if (Fold(node)) return;
      std::vector<Flow> parts;
      for (int i = 0; i < node.inputs(); ++i)
        parts.push_back(IsConstant(node, i) ? ConstantPart(node, i) : FlowOf(node, i));
      Define(node, flows_.Joined(NameOf(node), parts, node.Int("axis", 1)));
    });
  }
  // A constant among what is joined, a class token: a weight for each of its elements.
  Flow ConstantPart(const OnnxNode& node, int input) {
    const Constant& constant = ConstantAt(node, input, true);
    if (constant.elements() < 1) node.Fail(fmt::format("its constant '{}' is empty", node.input(input)));
    const ValueShape shape{constant.elements(), 1, 1};
    const std::string name = NameOfEmbedding(node, constant);
    return {Embedded(name, constant, shape, constant.floats), {constant.shape, {}}};
  }

  // A node that only moves elements about: of a constant at once, of a value as a view. `move` gives the view of the
  // result from the input's.
  template <typename Move>
  void ReadMoving(const OnnxNode& node, const Move& move) {
    Guarded(node, [&] {
      if (const auto* constant = std::get_if<Constant>(&Lookup(node, 0)))
        return Define(node, Moved(*constant, move(View{constant->shape, {}})));
      Flow flow = MovableFlowOf(node, 0);
      const int64_t rank_before = flow.view.rank();
      flow.view = move(flow.view);
      flow.name = NameOf(node);
      const bool is_whole = flow.view.rank() == 4 || flow.view.rank() == 2;
      const bool ends = flow.is_picked && node.type() == "Reshape" && is_whole;
      flow.is_picked = node.type() == "Gather" && rank_before == 2 && flow.view.rank() == 2;
      if (ends) {
        Flow whole = flows_.Of(flows_.Image(flow), flow.view.rank());
        whole.factor = flow.factor;
        return Define(node, std::move(whole));
      }
      Define(node, std::move(flow));
    });
  }
  std::vector<int64_t> IntegersAt(const OnnxNode& node, int input) const {
    return ConstantAt(node, input, false).integers;
  }

  void ReadFlatten(const OnnxNode& node) {
    ReadMoving(node, [&](const View& view) {
      const int64_t axis = node.Int("axis", 1), from_front = axis < 0 ? axis + view.rank() : axis;
      if (from_front < 0 || from_front > view.rank()) node.Fail(fmt::format("its axis {} is outside", axis));
      int64_t before = 1;
      for (int64_t d = 0; d < from_front; ++d) before *= view.dims[static_cast<size_t>(d)];
      return model::Reshaped(view, {before, -1});
    });
  }
  void ReadReshape(const OnnxNode& node) {
    const auto sizes = IntegersAt(node, 1);
    ReadMoving(node, [&](const View& view) { return model::Reshaped(view, sizes, node.Int("allowzero", 0) == 0); });
  }
  std::vector<int64_t> AxesOf(const OnnxNode& node) const {
    return node.HasInput(1) ? IntegersAt(node, 1) : node.Ints("axes");
  }
  void ReadSqueeze(const OnnxNode& node) {
    ReadMoving(node, [&](const View& view) { return model::WithoutAxes(view, AxesOf(node)); });
  }
  void ReadUnsqueeze(const OnnxNode& node) {
    ReadMoving(node, [&](const View& view) { return model::WithAxes(view, AxesOf(node)); });
  }
  void ReadTranspose(const OnnxNode& node) {
    ReadMoving(node, [&](const View& view) { return model::Transposed(view, node.Ints("perm")); });
  }
  void ReadExpand(const OnnxNode& node) {
    const auto sizes = IntegersAt(node, 1);
    ReadMoving(node, [&](const View& view) { return model::Broadcast(view, model::BroadcastDims(view.dims, sizes)); });
  }
  void ReadGather(const OnnxNode& node) {
    const Constant& indices = ConstantAt(node, 1, false);
    if (indices.shape.size() > 1) node.Fail("its indices have more than one dimension");
    const int64_t axis = node.Int("axis", 0);
    ReadMoving(node, [&](const View& view) {
      const View chosen = model::Gathered(view, axis, indices.integers);
      return indices.shape.empty() ? model::WithoutAxes(chosen, {model::AxisOf(view, axis)}) : chosen;
    });
  }
  void ReadSlice(const OnnxNode& node) {
    const bool has_inputs = node.opset() >= 10;
    const auto starts = has_inputs ? IntegersAt(node, 1) : node.Ints("starts");
    const auto ends = has_inputs ? IntegersAt(node, 2) : node.Ints("ends");
    std::vector<int64_t> axes = has_inputs && node.HasInput(3) ? IntegersAt(node, 3) : node.Ints("axes");
    std::vector<int64_t> steps(starts.size(), 1);
    if (has_inputs && node.HasInput(4)) steps = IntegersAt(node, 4);
    for (size_t i = 0; axes.empty() && i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
    if (axes.size() < starts.size() || ends.size() != starts.size() || steps.size() != starts.size())
      node.Fail("its starts, ends, axes and steps are not as many");
    ReadMoving(node, [&](View view) {
      for (size_t i = 0; i < starts.size(); ++i) view = model::Sliced(view, axes[i], starts[i], ends[i], steps[i]);
      return view;
    });
  }
  // Several outputs, each a part.
  void ReadSplit(const OnnxNode& node) {
    Guarded(node, [&] {
      const Flow flow = MovableFlowOf(node, 0);
      const int64_t axis = model::AxisOf(flow.view, node.Int("axis", 0)), outputs = node.proto().output_size();
      const int64_t size = flow.view.dims[static_cast<size_t>(axis)];
      std::vector<int64_t> sizes = node.HasInput(1) ? IntegersAt(node, 1) : node.Ints("split");
      if (sizes.empty()) {  // equal, the last one smaller
        const int64_t each = (size + outputs - 1) / outputs;
        for (int64_t left = size; static_cast<int64_t>(sizes.size()) < outputs; left -= each)
          sizes.push_back(std::min(each, left));
      }
      if (static_cast<int64_t>(sizes.size()) != outputs) node.Fail("its outputs are not as many as its parts");
      if (std::any_of(sizes.begin(), sizes.end(), [](int64_t part) { return part < 1; }))
        node.Fail(fmt::format("its parts have the sizes [{}]", fmt::join(sizes, ", ")));
      int64_t first = 0;
      for (int64_t i = 0; i < outputs; ++i) {
        Flow part = flow;
        part.view = model::Sliced(flow.view, axis, first, first + sizes[static_cast<size_t>(i)], 1);
        part.name = NameOf(node);
        first += sizes[static_cast<size_t>(i)];
        if (!meanings_.emplace(node.proto().output(static_cast<int>(i)), std::move(part)).second)
          node.Fail("one of its outputs is defined twice");
      }
      if (first != size) node.Fail(fmt::format("its parts are {} long together, and its axis {}", first, size));
    });
  }

  void ReadPad(const OnnxNode& node) {
    if (node.Text("mode", "constant") != "constant") node.Fail("only padding with zeros is taken");
    const float value = node.opset() <= 10 ? static_cast<float>(node.Float("value", 0))
                        : node.HasInput(2) ? ScalarAt(node, 2)
                                           : 0.0f;
    if (value != 0) node.Fail("only padding with zeros is taken");
    if (node.HasInput(3)) node.Fail("its axes are not taken; pad all dimensions");
    const auto pads = node.opset() <= 10 ? node.Ints("pads") : ConstantAt(node, 1, false).integers;
    const int64_t rank = AnyFlowOf(node, 0).view.rank();
    Flow flow = flows_.Of(PaddedAt(node, 0), rank);
    flow.pads = AnyFlowOf(node, 0).pads;
    std::vector<int64_t> around;  // top, left, bottom, right
    if (pads.size() == 8 && pads[0] == 0 && pads[1] == 0 && pads[4] == 0 && pads[5] == 0) {
      around = {pads[2], pads[3], pads[6], pads[7]};
    } else if (pads.size() == 6 && rank == 3 && pads[0] == 0 && pads[1] == 0 && pads[3] == 0 && pads[4] == 0) {
      around = {0, pads[2], 0, pads[5]};
    } else {
      node.Fail("only rows and columns are padded");
    }
    for (size_t side = 0; side < 4; ++side) {
      const int pad = node.SmallInt("pads", around[side]);
      if (flow.pads.empty() && pad > 0) flow.pads.assign(4, 0);
      if (!flow.pads.empty()) flow.pads[side] += pad;
    }
    Define(node, flow);
  }

  void ReadDropout(const OnnxNode& node) {
    if (node.HasInput(2)) {
      const Constant& training = ConstantAt(node, 2, false);
      if (training.elements() != 1 || training.integers[0] != 0)
        node.Fail("is in training mode; export the network after model.eval()");
    }
    ReadIdentity(node);
  }
  void ReadIdentity(const OnnxNode& node) { Define(node, Meaning(Lookup(node, 0))); }

  void ReadCast(const OnnxNode& node) {
    if (Fold(node)) return;
    if (node.Int("to", 0) != onnx::TensorProto::FLOAT) node.Fail("of values to anything but float32 is not taken");
    ReadIdentity(node);
  }

  // Sizes of values, which exporters put together to a target of Reshape. There is one image.
  void ReadShape(const OnnxNode& node) {
    if (!IsConstant(node, 0)) MovableFlowOf(node, 0);  // not padded
    std::vector<int64_t> sizes =
        IsConstant(node, 0) ? std::get<Constant>(Lookup(node, 0)).shape : AnyFlowOf(node, 0).view.dims;
    const auto count = static_cast<int64_t>(sizes.size());
    const auto within = [&](int64_t at) { return std::clamp(at < 0 ? at + count : at, int64_t{0}, count); };
    const int64_t first = within(node.Int("start", 0)), end = std::max(first, within(node.Int("end", count)));
    Constant constant{.name = node.output(), .shape = {end - first}, .is_float = false};
    constant.integers.assign(sizes.begin() + first, sizes.begin() + end);
    Define(node, std::move(constant));
  }

  onnx::ModelProto& proto_;
  OnnxSource source_;
  ConstantReader constants_;
  FlowBuilder flows_;
  GraphBuilder& builder_;
  std::unordered_map<std::string, Meaning> meanings_;
  std::unordered_map<std::string, int> parameter_of_;
  std::set<std::string> taken_up_;  // outputs of nodes that another one has read with itself
};

bool Parse(std::span<const uint8_t> bytes, onnx::ModelProto& proto) {
  return bytes.size() <= static_cast<size_t>(std::numeric_limits<int>::max()) &&
         proto.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) && proto.has_graph();
}

}  // namespace

bool IsFloatOnnx(std::span<const uint8_t> bytes) {
  onnx::ModelProto proto;
  if (!Parse(bytes, proto)) return false;
  return !model::HasQuantizers(proto);
}

FloatGraph FloatGraphOf(std::span<const uint8_t> bytes, const std::string& name, const std::filesystem::path& folder) {
  onnx::ModelProto proto;
  if (!Parse(bytes, proto))
    throw InputError(fmt::format("{}: is not an ONNX model ({} bytes that do not parse as one)", name, bytes.size()));
  return Reader(proto, name, folder).Read();
}

std::string HashOfFile(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  std::string hash = Sha256(bytes);
  onnx::ModelProto proto;
  if (!Parse(bytes, proto)) return hash;
  std::set<std::string> files;
  for (const auto& tensor : proto.graph().initializer()) {
    if (tensor.data_location() != onnx::TensorProto::EXTERNAL) continue;
    for (const auto& entry : tensor.external_data()) {
      if (entry.key() == "location") files.insert(entry.value());
    }
  }
  for (const std::string& file : files) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(path.parent_path() / file, ignored))
      hash = Sha256(hash + Sha256(ReadFile(path.parent_path() / file, uint64_t{1} << 32)));
  }
  return hash;
}

FloatGraph ReadFloatOnnx(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  return FloatGraphOf(bytes, path.string(), path.parent_path());
}

}  // namespace steadfast::network
