#include "steadfast/model/operators/elementwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include "steadfast/base/elementary.h"  // PortableExp
#include "steadfast/base/error.h"
#include "steadfast/model/onnx_reader.h"
#include "steadfast/model/onnx_writer.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/requantization.h"

namespace steadfast::model {
namespace {

double Sigmoid(double x) {
  return 1.0 / (1.0 + PortableExp(std::min(-x, 709.0)));
}

double Tanh(double x) {
  if (x < 0) return -Tanh(-x);
  const double e = PortableExp(-2.0 * x);
  return (1.0 - e) / (1.0 + e);
}

// erf by its series 2 x exp(-x^2) / sqrt(pi) * sum of (2 x^2)^n / (1 3 5 … (2 n + 1)), all terms positive.
double Erf(double x) {
  if (x < 0) return -Erf(-x);
  if (x > 6.0) return 1.0;
  double term = 1.0, sum = 1.0;
  for (int n = 1; n < 200 && term > sum * 1e-17; ++n) {
    term *= 2.0 * x * x / (2 * n + 1);
    sum += term;
  }
  constexpr double kTwoOverSqrtPi = 1.1283791670955126;
  return kTwoOverSqrtPi * x * PortableExp(-x * x) * sum;
}

float HardSigmoid(float x, float alpha, float beta) {
  const float scaled = alpha * x;
  return std::max(0.0f, std::min(1.0f, scaled + beta));
}

struct Function {
  const char* name;
  const char* onnx;
  int first_opset;
  std::vector<OnnxAttribute> attributes;
  float (*value)(float x, const Elementwise& op);
};

const std::vector<Function>& Functions() {
  static const std::vector<Function> functions = {
      {"", "Identity", 1, {}, [](float x, const Elementwise&) { return x; }},
      {"LeakyRelu",
       "LeakyRelu",
       6,
       {{"alpha"}},
       [](float x, const Elementwise& op) { return x < 0 ? op.alpha * x : x; }},
      {"HardSigmoid",
       "HardSigmoid",
       6,
       {{"alpha"}, {"beta"}},
       [](float x, const Elementwise& op) { return HardSigmoid(x, op.alpha, op.beta); }},
      {"HardSwish",
       "HardSwish",
       14,
       {},
       [](float x, const Elementwise&) { return x * HardSigmoid(x, 1.0f / 6.0f, 0.5f); }},
      {"Sigmoid", "Sigmoid", 6, {}, [](float x, const Elementwise&) { return static_cast<float>(Sigmoid(x)); }},
      // Written as what it is, x times Sigmoid(x) (Elfwing et al., 2018).
      {"Silu", "Sigmoid", 6, {}, [](float x, const Elementwise&) { return x * static_cast<float>(Sigmoid(x)); }},
      {"Tanh", "Tanh", 6, {}, [](float x, const Elementwise&) { return static_cast<float>(Tanh(x)); }},
      {"Gelu",
       "Gelu",
       20,
       {{"approximate"}},
       [](float x, const Elementwise&) {
         constexpr double kHalfSqrt = 0.70710678118654752;
         return static_cast<float>(0.5 * x * (1.0 + Erf(x * kHalfSqrt)));
       }},
      {"GeluTanh", "Gelu", 20, {{"approximate"}}, [](float x, const Elementwise&) {
         constexpr double kSqrtTwoOverPi = 0.79788456080286536;
         const double cubed = double{x} * x * x;
         return static_cast<float>(0.5 * x * (1.0 + Tanh(kSqrtTwoOverPi * (x + 0.044715 * cubed))));
       }}};
  return functions;
}

const Function* Find(const std::string& name) {
  for (const Function& function : Functions()) {
    if (name == function.name) return &function;
  }
  return nullptr;
}

ValueShape Shape(const QuantizedModel& model, const Node& node) {
  return model.value(node.input()).shape;
}

void ValidateFunction(const QuantizedModel& model, const Node& node) {
  const auto& op = *node.operation.As<Elementwise>();
  constexpr std::string_view kOfTflite[] = {"", "LeakyRelu", "HardSwish", "Sigmoid", "Tanh"};
  if (IsOfTflite(model.profile) && std::count(std::begin(kOfTflite), std::end(kOfTflite), op.function) == 0)
    throw InputError(
        fmt::format("{}: {} has no rule for the function '{}'", node.name, NameOf(model.profile), op.function));
  if (Find(op.function) == nullptr)
    throw InputError(fmt::format("{}: there is no function '{}'", node.name, op.function));
  if (!std::isfinite(op.alpha) || !std::isfinite(op.beta))
    throw InputError(fmt::format("{}: its attributes are not finite numbers", node.name));
}

ScalarRule Rule(const QuantizedModel& model, const Node& node) {
  return [table = TableOf(model, node)](auto inputs, auto codes, auto) {
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = table[inputs[0][i]];
  };
}

void Write(OnnxWriter& writer, const Node& node) {
  const auto& op = *node.operation.As<Elementwise>();
  std::string current = writer.RealName(node.input());
  if (!op.function.empty()) {
    const bool is_silu = op.function == "Silu";
    auto* written = writer.AddNode(Find(op.function)->onnx, {current}, node.name + (is_silu ? ".gate" : ".function"));
    if (is_silu) writer.AddNode("Mul", {current, node.name + ".gate"}, node.name + ".function");
    if (op.function == "LeakyRelu" || op.function == "HardSigmoid") OnnxWriter::SetFloat(written, "alpha", op.alpha);
    if (op.function == "HardSigmoid") OnnxWriter::SetFloat(written, "beta", op.beta);
    if (op.function == "GeluTanh") OnnxWriter::SetText(written, "approximate", "tanh");
    current = node.name + ".function";
  }
  writer.WriteQuantize(node, current);
}

void Read(OnnxReader& reader, const OnnxNode& node) {
  Elementwise op{node.type()};
  if (node.type() == "LeakyRelu") op.alpha = static_cast<float>(node.Float("alpha", 0.01f));
  if (node.type() == "HardSigmoid") {
    op.alpha = static_cast<float>(node.Float("alpha", 0.2f));
    op.beta = static_cast<float>(node.Float("beta", 0.5f));
  }
  const std::string approximate = node.Text("approximate", "none");
  if (approximate == "tanh")
    op.function = "GeluTanh";
  else if (approximate != "none")
    node.Fail(fmt::format("attribute approximate is '{}', expected none or tanh", approximate));
  reader.Start(node, op, {reader.RealValue(node, 0)}, ".function");
}

// The reader takes Identity itself.
std::vector<OnnxForm> Forms() {
  std::vector<OnnxForm> forms;
  for (const Function& function : Functions()) {
    const std::string_view type = function.onnx;
    if (type != "Identity" && std::string_view(function.name) == type)
      forms.push_back({type, function.attributes, Read, function.first_opset});
  }
  return forms;
}

int Sample(RandomGraph& graph, int input) {
  const Value from = graph.value(input);
  const auto& function =
      Functions()[static_cast<size_t>(graph.Between(0, static_cast<int64_t>(Functions().size()) - 1))];
  // Gelu came with a later opset than is written.
  const std::string name = std::string_view(function.onnx) == "Gelu" ? "HardSwish" : function.name;
  Elementwise op{name};
  if (name == "LeakyRelu") op.alpha = graph.Real(0.0f, 0.5f);
  if (name == "HardSigmoid") {
    op.alpha = graph.Real(0.05f, 0.5f);
    op.beta = graph.Real(0.2f, 0.8f);
  }
  return graph.AddNode(graph.NextName(), {"", op, {input}, 0, graph.RandomActivation(20)},
                       graph.CodingOfAbout(*from.coding, graph.Real(0.3f, 1.5f), true));
}

}  // namespace

float FunctionOf(const Elementwise& op, float x) {
  const Function* function = Find(op.function);
  if (function == nullptr) throw InputError(fmt::format("there is no function '{}'", op.function));
  return function->value(x, op);
}

namespace {

// ---- TFLite's integer kernels: what a level becomes, in steps of the output ----

int16_t Int16(int64_t number) {
  return static_cast<int16_t>(std::clamp<int64_t>(number, -32768, 32767));
}
// A factor with a multiplier of 16 bits.
FixedPointScale ShortScaleOf(double factor) {
  const FixedPointScale scale = FixedPointScaleOf(factor);
  return {scale.multiplier >= 0x7FFF0000 ? 32767 : (scale.multiplier + 0x8000) >> 16, scale.shift};
}
int16_t HighProduct(int16_t a, int32_t b) {
  return Int16((int64_t{a} * b + (1 << 14)) >> 15);
}

// TFLite's HARD_SWISH: 16-bit fixed point.
int32_t HardSwishSteps(int level, float input_scale, float output_scale) {
  const float fine = input_scale * (1.0f / 128);
  const FixedPointScale output = ShortScaleOf(fine / output_scale), relu = ShortScaleOf(fine / (3.0f / 32768));
  const auto input = static_cast<int16_t>(level * 128);
  const int16_t scaled = HighProduct(input, output.multiplier);
  int16_t gate = input;
  if (relu.shift > 0) gate = Int16(int64_t{gate} << std::min(relu.shift - 1, 30));
  gate = HighProduct(gate, relu.multiplier);
  if (relu.shift > 0) gate = Int16(int64_t{gate} * 2);
  if (relu.shift < 0) gate = static_cast<int16_t>(RoundedShift(gate, -relu.shift));
  const int32_t share = (gate + 32768) >> 1;
  return RoundedShift(share * scaled / (1 << 15), std::max(0, -output.shift));
}

// QUANTIZE and LEAKY_RELU: a factor for levels from zero on, another one below.
int32_t ScaledSteps(Profile profile, int level, const Elementwise& op, float input_scale, float output_scale) {
  const bool falls = op.function == "LeakyRelu" && level < 0;
  const float ratio = input_scale / output_scale;
  const float slope = ratio * op.alpha;
  const bool takes_slope = op.function.empty() || (std::abs(slope) >= 0x1p-8f && std::abs(slope) < 0x1p7f);
  if (profile == Profile::kXnnpack && ratio >= 0x1p-8f && ratio <= 0x1p7f && takes_slope) {
    const float factor = 256.0f * (falls ? slope : ratio);
    return (level * static_cast<int32_t>(std::rint(factor)) + 128) >> 8;
  }
  if (op.function.empty()) return RoundedTwice(level, FixedPointScaleOf(double{input_scale} / output_scale));
  const float below = input_scale * op.alpha;
  return RoundedTwice(level, FixedPointScaleOf(falls ? below / output_scale : ratio));
}

std::array<uint8_t, 256> TfliteTableOf(const QuantizedModel& model, const Node& node) {
  const auto& op = *node.operation.As<Elementwise>();
  const ActivationCoding &from = *model.value(node.input()).coding, &to = *model.value(node.output).coding;
  const Quantization q = QuantizationOf(to, node.activation);
  std::array<uint8_t, 256> table = {};
  for (int code = 0; code < 256; ++code) {
    const int level = code - from.zero_point;
    const int64_t steps = op.function == "HardSwish" ? HardSwishSteps(level, from.scale, to.scale)
                                                     : ScaledSteps(model.profile, level, op, from.scale, to.scale);
    table[static_cast<size_t>(code)] =
        static_cast<uint8_t>(std::clamp<int64_t>(steps + q.zero_point, q.lowest, q.highest));
  }
  return table;
}

}  // namespace

std::array<uint8_t, 256> TableOf(const QuantizedModel& model, const Node& node) {
  const auto& op = *node.operation.As<Elementwise>();
  // The kernels of logistic functions give the true function, as below.
  if (IsOfTflite(model.profile) && op.function != "Sigmoid" && op.function != "Tanh") return TfliteTableOf(model, node);
  const ActivationCoding& from = *model.value(node.input()).coding;
  const Quantization quantization = QuantizationOf(*model.value(node.output).coding, node.activation);
  const auto value = Find(op.function)->value;
  std::array<uint8_t, 256> table = {};
  for (int code = 0; code < 256; ++code) {
    const float real = RealOf(std::min(code, from.highest_code()), from);
    table[static_cast<size_t>(code)] = CodeOf(std::isnan(real) ? real : value(real, op), quantization);
  }
  return table;
}

template <>
const OperatorDefinition& Definition<Elementwise>() {
  static const OperatorDefinition definition = {.name = "Elementwise",
                                                .output_shape = Shape,
                                                .validate = ValidateFunction,
                                                .scalar_rule = Rule,
                                                .write_onnx = Write,
                                                .onnx_forms = Forms(),
                                                .sample = Sample,
                                                .sample_weight = 2,
                                                .equal = EqualAttributes<Elementwise>};
  return definition;
}

}  // namespace steadfast::model
