#include "steadfast/model/onnx_forms.h"

#include <fmt/format.h>
#include <onnx/onnx_pb.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <map>

#include "steadfast/base/error.h"
#include "steadfast/model/onnx_proto.h"

namespace steadfast::model {
namespace {

bool IsQonnxDomain(const std::string& domain) {
  return domain == "qonnx.custom_op.general" || domain == "onnx.brevitas" || domain == "finn.custom_op.general";
}

// QONNX's rounding modes, of numbers that are far from the bounds of integers.
double Rounded(const std::string& mode, double x, const OnnxNode& node) {
  const double away = x < 0 ? std::ceil(x - 0.5) : std::floor(x + 0.5);  // half away from zero
  if (mode == "ROUND" || mode == "HALF_EVEN") return std::nearbyint(x);
  if (mode == "CEIL") return std::ceil(x);
  if (mode == "FLOOR") return std::floor(x);
  if (mode == "ROUND_TO_ZERO" || mode == "DOWN") return std::trunc(x);
  if (mode == "UP") return x < 0 ? std::floor(x) : std::ceil(x);
  if (mode == "HALF_UP") return away;
  if (mode == "HALF_DOWN") return x < 0 ? std::floor(x + 0.5) : std::ceil(x - 0.5);
  node.Fail(fmt::format("rounding mode '{}' is not known", mode));
}

class Rewriter {
 public:
  Rewriter(onnx::ModelProto& model, const std::string& file)
      : source_{file, 0}, opset_(OpsetOf(model, file)), graph_(*model.mutable_graph()) {}

  OnnxForms Rewrite() {
    const auto& all = graph_.node();
    if (std::none_of(all.begin(), all.end(), [](const onnx::NodeProto& node) { return IsToBeRewritten(node); }))
      return std::move(forms_);
    for (const auto& tensor : graph_.initializer()) constants_[tensor.name()] = &tensor;
    for (const auto& node : graph_.node()) {
      if (node.op_type() != "Constant" || node.output_size() != 1) continue;
      for (const auto& attribute : node.attribute()) {
        if (attribute.name() == "value" && attribute.has_t()) constants_[node.output(0)] = &attribute.t();
      }
    }
    google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
    for (const auto& node : graph_.node()) Take(node);
    for (onnx::NodeProto& node : made_) *nodes.Add() = std::move(node);
    graph_.mutable_node()->Swap(&nodes);
    for (onnx::TensorProto& tensor : tensors_) *graph_.add_initializer() = std::move(tensor);
    return std::move(forms_);
  }

 private:
  static bool IsToBeRewritten(const onnx::NodeProto& node) {
    const std::string& type = node.op_type();
    return IsQonnxDomain(node.domain()) || node.domain() == "com.microsoft" || type.starts_with("QLinear") ||
           type == "DynamicQuantizeLinear" || type.ends_with("Integer");
  }

  void Take(const onnx::NodeProto& proto) {
    const OnnxNode node(proto, source_);
    const std::string& type = proto.op_type();
    const auto& domain = proto.domain();
    const bool is_standard = domain.empty() || domain == "ai.onnx";
    if (IsQonnxDomain(domain)) {
      forms_.format = "ONNX (QONNX)";
      if (type == "Quant") return TakeQuant(node);
      if (type == "BipolarQuant") return TakeBipolarQuant(node);
      if (type == "Trunc") node.Fail("cuts off low bits, which no coding here does; export without it");
      node.Fail(fmt::format("operators of the domain {} are not read, but Quant and BipolarQuant", domain));
    }
    if (is_standard && (type == "DynamicQuantizeLinear" || type == "ConvInteger" || type == "MatMulInteger"))
      node.Fail(
          "quantizes dynamically: its scale comes from each image, and what is stored is not known beforehand; "
          "quantize "
          "statically (onnxruntime.quantization.quantize_static)");
    const bool is_contrib = domain == "com.microsoft";
    const auto& forms = QOperators();
    const auto form = std::find_if(forms.begin(), forms.end(), [&](const QOperator& one) {
      return type == one.type && (one.is_standard ? is_standard || is_contrib : is_contrib);
    });
    if (form == forms.end()) {
      made_.push_back(proto);
      // ONNX Runtime has some operators of later opsets, or of its own, in this domain.
      if (is_contrib && (type == "QuantizeLinear" || type == "DequantizeLinear")) {
        made_.back().clear_domain();
        forms_.made.insert(node.output());
      }
      return;
    }
    forms_.format = "ONNX (QOperator)";
    forms_.profile = Profile::kOrt;
    TakeQOperator(node, *form);
  }

  // ---- QOperator ----

  // An operator on codes: `operands` times (codes, scale, zero point), then a bias where it has one, then scale and
  // zero point of the result.
  struct QOperator {
    const char* type;
    const char* becomes;
    const char* suffix;  // of its result before it is quantized
    int operands = 1;
    bool is_standard = false;
    bool has_bias_behind = false;   // QLinearConv: the bias is the last input
    bool has_bias_between = false;  // QGemm: before the result's scale
    bool is_list = false;           // QLinearConcat: the result's scale first, then operands
  };
  static const std::vector<QOperator>& QOperators() {
    static const std::vector<QOperator> all = {
        {.type = "QLinearConv",
         .becomes = "Conv",
         .suffix = ".sum",
         .operands = 2,
         .is_standard = true,
         .has_bias_behind = true},
        {.type = "QLinearMatMul", .becomes = "MatMul", .suffix = ".sum", .operands = 2, .is_standard = true},
        {.type = "QGemm", .becomes = "Gemm", .suffix = ".sum", .operands = 2, .has_bias_between = true},
        {.type = "QLinearAdd", .becomes = "Add", .suffix = ".sum", .operands = 2},
        {.type = "QLinearMul", .becomes = "Mul", .suffix = ".product", .operands = 2},
        {.type = "QLinearConcat", .becomes = "Concat", .suffix = ".joined", .is_list = true},
        {.type = "QLinearAveragePool", .becomes = "AveragePool", .suffix = ".mean"},
        {.type = "QLinearGlobalAveragePool", .becomes = "GlobalAveragePool", .suffix = ".mean"},
        {.type = "QLinearSigmoid", .becomes = "Sigmoid", .suffix = ".function"},
        {.type = "QLinearLeakyRelu", .becomes = "LeakyRelu", .suffix = ".function"},
        {.type = "QLinearSoftmax", .becomes = "Softmax", .suffix = ".softmax"}};
    return all;
  }

  void TakeQOperator(const OnnxNode& node, const QOperator& form) {
    const std::string& output = node.output();
    std::vector<std::string> operands;
    int at = form.is_list ? 2 : 0;
    const int count = form.is_list ? (node.inputs() - 2) / 3 : form.operands;
    if (form.is_list && (node.inputs() < 5 || (node.inputs() - 2) % 3 != 0))
      node.Fail(fmt::format("has {} inputs, expected a scale and zero point and three for each part", node.inputs()));
    for (int i = 0; i < count; ++i, at += 3) operands.push_back(Dequantized(node, form, at, i));
    if (form.has_bias_between) Addend(node, at++, operands);
    const int result = form.is_list ? 0 : at;
    if (form.has_bias_behind) Addend(node, at + 2, operands);
    const bool is_real = form.has_bias_between && !node.HasInput(result);
    onnx::NodeProto& made = Make(form.becomes, operands, is_real ? output : output + form.suffix, node);
    for (const auto& attribute : node.proto().attribute()) {
      if (attribute.name() == "channels_last") {
        if (node.Int("channels_last", 0) != 0) node.Fail("has its channels last, which is not taken");
      } else if (attribute.name() == "opset") {
        continue;
      } else {
        *made.add_attribute() = attribute;
      }
    }
    // A Softmax before opset 13 is over all axes from its own on.
    if (node.Int("opset", 13) < 13) {
      if (opset_ >= 13) node.Fail("has the meaning of an opset before 13 in a file of a later one");
      forms_.made.erase(made.output(0));
    }
    if (is_real) return;
    CheckZeroPoint(node, result + 1);
    Make("QuantizeLinear", {made.output(0), node.input(result), node.input(result + 1)}, output, node);
  }

  void CheckZeroPoint(const OnnxNode& node, int input) const {
    if (!node.HasInput(input))
      node.Fail(fmt::format("has no zero point (input {}), which would be of an unknown type", input));
  }

  // The real value of three inputs.
  std::string Dequantized(const OnnxNode& node, const QOperator& form, int first, int operand) {
    const std::string& codes = node.input(first);
    CheckZeroPoint(node, first + 2);
    const std::string &scale = node.input(first + 1), &zero = node.input(first + 2);
    const auto [known, is_new] = dequantized_.emplace(std::array{codes, scale, zero}, "");
    if (!is_new) return known->second;
    const bool is_weight = constants_.contains(codes);
    known->second = Unique(codes + (is_weight ? ".levels" : ".real"));
    onnx::NodeProto& made = Make("DequantizeLinear", {codes, scale, zero}, known->second, node);
    if (is_weight && operand == 1) {
      const bool outputs_last = form.becomes == std::string_view("MatMul") ||
                                (form.becomes == std::string_view("Gemm") && node.Int("transB", 0) == 0);
      SetInt(made, "axis", outputs_last ? 1 : 0);
    }
    return known->second;
  }

  // An int32 bias in steps of the sum.
  void Addend(const OnnxNode& node, int input, std::vector<std::string>& operands) {
    if (!node.HasInput(input)) return;
    const auto found = constants_.find(node.input(input));
    if (found == constants_.end() || found->second->data_type() != onnx::TensorProto::INT32)
      node.Fail(fmt::format("its bias '{}' is not a constant of int32", node.input(input)));
    forms_.addends.insert(node.input(input));
    operands.push_back(node.input(input));
  }

  // ---- QONNX ----

  struct Grid {
    float zero_point = 0;
    int bits = 8;
    bool is_signed = true, narrow = false;
    std::string rounding;
    double lowest() const { return is_signed ? -std::ldexp(1.0, bits - 1) + (narrow ? 1 : 0) : 0; }
    double highest() const {
      return is_signed ? std::ldexp(1.0, bits - 1) - 1 : std::ldexp(1.0, bits) - (narrow ? 2 : 1);
    }
  };

  const onnx::TensorProto& ConstantAt(const OnnxNode& node, int input, const char* what) const {
    const auto found = constants_.find(node.input(input));
    if (found == constants_.end()) node.Fail(fmt::format("its {} '{}' is not a constant", what, node.input(input)));
    return *found->second;
  }
  float ScalarAt(const OnnxNode& node, int input, const char* what) const {
    const auto values = FloatsOf(ConstantAt(node, input, what), source_);
    if (values.size() != 1) node.Fail(fmt::format("has {} values of its {}, expected 1", values.size(), what));
    return values[0];
  }

  void CheckAttributes(const OnnxNode& node, std::initializer_list<std::string_view> known) const {
    for (const auto& attribute : node.proto().attribute()) {
      if (std::find(known.begin(), known.end(), attribute.name()) == known.end())
        node.Fail(fmt::format("has an attribute '{}', which is not known", attribute.name()));
    }
  }

  void TakeQuant(const OnnxNode& node) {
    CheckAttributes(node, {"signed", "narrow", "rounding_mode"});
    const float bits = ScalarAt(node, 3, "bit width");
    Grid grid;
    grid.zero_point = ScalarAt(node, 2, "zero point");
    grid.is_signed = node.Int("signed", 1) != 0;
    grid.narrow = node.Int("narrow", 0) != 0;
    grid.rounding = node.Text("rounding_mode", "ROUND");
    std::transform(grid.rounding.begin(), grid.rounding.end(), grid.rounding.begin(),
                   [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
    if (!(bits >= 1 && bits <= (grid.is_signed ? 32 : 31)) || bits != std::floor(bits))
      node.Fail(fmt::format("its bit width is {}, expected 1 to 32, and a sign where it is 32", bits));
    grid.bits = static_cast<int>(bits);
    if (constants_.contains(node.input(0))) return QuantizeConstant(node, grid);
    if (grid.bits > 8) node.Fail(fmt::format("makes activations of {} bits, expected at most 8", grid.bits));
    if (grid.zero_point != 0)
      node.Fail("makes activations with a zero point, and adds it before it rounds; expected 0");
    if (grid.rounding != "ROUND" && grid.rounding != "HALF_EVEN")
      node.Fail(fmt::format("rounds activations by {}, expected ROUND (half to even)", grid.rounding));
    ScalarOfActivations(node);
    const std::string zero = AddTensor(node.output() + ".zero_point",
                                       grid.is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8, {}, {0});
    const std::string codes = Unique(node.output() + ".codes");
    std::string current = codes;
    const bool is_whole = grid.bits == 8 && !grid.narrow;
    if (!is_whole) current = Unique(codes + ".wide");
    Make("QuantizeLinear", {node.input(0), node.input(1), zero}, current, node);
    if (!is_whole) {
      const int type = grid.is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8;
      const std::string low = AddTensor(codes + ".lowest", type, {}, {static_cast<int>(grid.lowest())});
      const std::string high = AddTensor(codes + ".highest", type, {}, {static_cast<int>(grid.highest())});
      Make("Clip", {current, low, high}, codes, node);
    }
    Make("DequantizeLinear", {codes, node.input(1), zero}, node.output(), node);
  }

  void ScalarOfActivations(const OnnxNode& node) const {
    const auto found = constants_.find(node.input(1));
    if (found == constants_.end()) node.Fail("its scale is not a constant");
    if (FloatsOf(*found->second, source_).size() != 1) node.Fail("has several scales for activations, expected one");
  }

  // Scales of weights as DequantizeLinear wants them: one, or one an output. Gives their axis.
  int ScalesOfConstant(const OnnxNode& node, const onnx::TensorProto& weights, std::vector<float>& scales) const {
    const onnx::TensorProto& tensor = ConstantAt(node, 1, "scale");
    scales = FloatsOf(tensor, source_);
    if (scales.size() == 1) return 0;
    for (int i = 0; i < tensor.dims_size(); ++i) {
      const int from_end = tensor.dims_size() - i;
      const int axis = weights.dims_size() - from_end;
      if (tensor.dims(i) == 1) continue;
      if (axis < 0 || tensor.dims(i) != weights.dims(axis) || tensor.dims(i) != static_cast<int64_t>(scales.size()))
        break;
      return axis;
    }
    node.Fail(fmt::format("has {} scales, expected one, or one for each output", scales.size()));
  }

  void QuantizeConstant(const OnnxNode& node, const Grid& grid) {
    const onnx::TensorProto& tensor = *constants_.at(node.input(0));
    forms_.constant_scales.push_back(node.input(1));
    std::vector<float> scales;
    const int axis = ScalesOfConstant(node, tensor, scales);
    const std::vector<float> reals = FloatsOf(tensor, source_);
    const bool is_weight = tensor.dims_size() == 2 || tensor.dims_size() == 4;
    if (grid.bits > 8 && is_weight) node.Fail(fmt::format("makes weights of {} bits, expected at most 8", grid.bits));
    if (grid.zero_point != std::floor(grid.zero_point)) node.Fail("has a zero point that is no integer");
    int64_t inner = 1;
    for (int i = axis + 1; i < tensor.dims_size(); ++i) inner *= tensor.dims(i);
    std::vector<int> codes;
    for (size_t i = 0; i < reals.size(); ++i) {
      const float scale =
          scales.size() == 1 ? scales[0] : scales[static_cast<size_t>(static_cast<int64_t>(i) / inner) % scales.size()];
      if (!(scale > 0)) node.Fail(fmt::format("has scale {}, expected a positive number", scale));
      const float steps = reals[i] / scale + grid.zero_point;
      if (!std::isfinite(steps)) node.Fail("its input is not finite");
      const double clipped = std::clamp(double{steps}, grid.lowest(), grid.highest());
      codes.push_back(static_cast<int>(Rounded(grid.rounding, clipped, node)));
    }
    const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    const std::string scale = AddFloats(node.input(1) + ".of_codes", scales);
    if (!is_weight) {
      if (grid.zero_point != 0) node.Fail("makes biases with a zero point, expected 0");
      const std::string stored = AddTensor(node.input(0) + ".codes", onnx::TensorProto::INT32, dims, codes);
      Make("DequantizeLinear", {stored, scale}, node.output(), node);
      return;
    }
    const int type = grid.is_signed ? onnx::TensorProto::INT8 : onnx::TensorProto::UINT8;
    const std::string stored = AddTensor(node.input(0) + ".codes", type, dims, codes);
    forms_.weights[stored] = {grid.bits, grid.narrow && grid.is_signed, {}};
    std::vector<std::string> inputs = {stored, scale};
    if (grid.zero_point != 0)
      inputs.push_back(AddTensor(stored + ".zero_point", type, {}, {static_cast<int>(grid.zero_point)}));
    SetInt(Make("DequantizeLinear", inputs, node.output(), node), "axis", axis);
  }

  // Weights of one bit: -scale and scale.
  void TakeBipolarQuant(const OnnxNode& node) {
    CheckAttributes(node, {});
    if (!constants_.contains(node.input(0)))
      node.Fail("makes activations of -1 and 1, which no coding here has; expected Quant with 1 bit or more");
    const onnx::TensorProto& tensor = *constants_.at(node.input(0));
    std::vector<float> scales;
    const int axis = ScalesOfConstant(node, tensor, scales);
    std::vector<int> codes;
    for (const float real : FloatsOf(tensor, source_)) codes.push_back(real >= 0 ? 1 : 0);
    // Level 2 code - 1, of half the scale that a code has.
    for (float& scale : scales) scale *= 2;
    const std::vector<int64_t> dims(tensor.dims().begin(), tensor.dims().end());
    const std::string stored = AddTensor(node.input(0) + ".codes", onnx::TensorProto::UINT8, dims, codes);
    const std::string scale = AddFloats(node.input(1) + ".of_codes", scales);
    forms_.weights[stored] = {1, false, FormatWithoutZero(1).levels};
    SetInt(Make("DequantizeLinear", {stored, scale}, node.output(), node), "axis", axis);
  }

  // ---- what is made ----

  std::string Unique(std::string name) {
    while (!names_.insert(name).second || constants_.contains(name)) name += "#";
    return name;
  }

  onnx::NodeProto& Make(const std::string& type, const std::vector<std::string>& inputs, const std::string& output,
                        const OnnxNode& from) {
    onnx::NodeProto& made = made_.emplace_back();
    made.set_op_type(type);
    made.set_name(from.proto().name().empty() ? from.output() : from.proto().name());
    for (const std::string& input : inputs) made.add_input(input);
    made.add_output(output);
    forms_.made.insert(output);
    return made;
  }

  static void SetInt(onnx::NodeProto& node, const char* name, int64_t value) {
    auto* attribute = node.add_attribute();
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::INT);
    attribute->set_i(value);
  }

  std::string AddTensor(const std::string& name, int type, const std::vector<int64_t>& dims,
                        const std::vector<int>& values) {
    onnx::TensorProto& tensor = tensors_.emplace_back();
    tensor.set_name(Unique(name));
    tensor.set_data_type(type);
    for (const int64_t size : dims) tensor.add_dims(size);
    for (const int value : values) tensor.add_int32_data(value);
    return tensor.name();
  }
  std::string AddFloats(const std::string& name, const std::vector<float>& values) {
    onnx::TensorProto& tensor = tensors_.emplace_back();
    tensor.set_name(Unique(name));
    tensor.set_data_type(onnx::TensorProto::FLOAT);
    if (values.size() > 1) tensor.add_dims(static_cast<int64_t>(values.size()));
    for (const float value : values) tensor.add_float_data(value);
    return tensor.name();
  }

  const OnnxSource source_;
  const int opset_;
  onnx::GraphProto& graph_;
  OnnxForms forms_;
  std::unordered_map<std::string, const onnx::TensorProto*> constants_;
  std::unordered_set<std::string> names_;  // of what was made
  std::map<std::array<std::string, 3>, std::string> dequantized_;
  std::deque<onnx::NodeProto> made_;  // references stay
  std::deque<onnx::TensorProto> tensors_;
};

}  // namespace

OnnxForms RewriteForms(onnx::ModelProto& model, const std::string& file) {
  return Rewriter(model, file).Rewrite();
}

}  // namespace steadfast::model
