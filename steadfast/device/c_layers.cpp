#include "steadfast/device/c_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "steadfast/base/error.h"
#include "steadfast/device/c_text.h"
#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/concatenate.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/dequantize.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/layer_normalization.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/operators/multiply.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/rearrange.h"
#include "steadfast/model/operators/softmax.h"
#include "steadfast/model/requantization.h"

namespace steadfast::device {
namespace {

using model::ActivationCoding;
using model::AffineStep;
using model::FactorSource;
using model::Node;
using model::Parameter;
using model::Profile;
using model::QuantizedModel;
using model::Value;
using model::ValueShape;
using model::Window;

class LayerWriter {
 public:
  LayerWriter(const QuantizedModel& model, const std::vector<std::string>& values) : model_(model), values_(values) {}

  CLayers Write() {
    for (size_t n = 0; n < model_.nodes.size(); ++n) WriteNode(model_.nodes[n], n);
    return std::move(layers_);
  }

 private:
  const ActivationCoding& CodingOf(int value) const { return *model_.value(value).coding; }
  bool IsTflite() const { return model::IsOfTflite(model_.profile); }

  // An array of the program.
  template <typename Numbers, typename Text>
  void AddTable(const std::string& type, const std::string& name, const Numbers& numbers, size_t a_row, int bytes,
                const Text& text) {
    layers_.constants +=
        fmt::format("static const {} {}[{}] = {{\n{}}};\n", type, name, numbers.size(), Rows(numbers, a_row, text));
    layers_.constant_bytes += static_cast<int64_t>(numbers.size()) * bytes;
  }
  void AddCodes(const std::string& name, std::span<const uint8_t> codes) {
    AddTable("uint8_t", name, codes, 24, 1, [](uint8_t code) { return fmt::format("{}", code); });
  }
  void AddStructure(const std::string& type, const std::string& name, const std::string& fields, int bytes) {
    layers_.constants += fmt::format("static const {} {} = {{{}}};\n", type, name, fields);
    layers_.constant_bytes += bytes;
  }
  void Call(const std::string& function, const std::string& arguments) {
    layers_.calls += fmt::format("  {}({});\n", function, arguments);
  }
  void Use(const std::string& file) { layers_.operators.insert(file); }

  const std::string& ValueOf(int value) const { return values_[static_cast<size_t>(value)]; }

  std::string RangeOfOutput(const Node& node) const { return RangeOf(CodingOf(node.output), node.activation); }

  void WriteNode(const Node& node, size_t number) {
    const std::string name = fmt::format("node{}", number);
    const model::Operation& op = node.operation;
    layers_.constants += fmt::format("\n/* {}: {} */\n", CommentOf(node.name), model::KindOf(node));
    layers_.calls += fmt::format("  /* {} */\n", CommentOf(node.name));
    if (op.weighted() != nullptr) return WriteWeighted(node, name);
    if (op.Is<model::Flatten>() || op.Is<model::Dequantize>()) return;
    if (const auto* constant = op.As<model::Constant>()) return AddCodes(NameOfCodes(number), constant->codes);
    if (op.Is<model::Add>()) return WriteAdd(node, name);
    if (op.Is<model::Multiply>()) return WriteMultiply(node, name);
    if (op.Is<model::MaxPool>()) return WriteMaxPool(node, name);
    if (op.Is<model::AveragePool>()) return WriteAveragePool(node, name);
    if (op.Is<model::Concatenate>()) return WriteConcatenate(node, name);
    if (op.Is<model::Elementwise>()) return WriteElementwise(node, name);
    if (op.Is<model::Rearrange>()) return WriteRearrange(node, name);
    if (op.Is<model::Product>()) return WriteProduct(node, name);
    if (op.Is<model::Softmax>()) return WriteSoftmax(node, name);
    if (op.Is<model::LayerNormalization>()) return WriteNormalization(node, name);
    throw UsageError(fmt::format("{}: there is no {} in C yet", node.name, model::KindOf(node)));
  }

  std::string Steps(const Node& node, const std::string& name, int& count) {
    const auto pointer = [](int parameter) {
      return parameter < 0 ? std::string("0") : fmt::format("&parameter{}", parameter);
    };
    std::string steps;
    count = 0;
    for (const AffineStep& step : node.operation.weighted()->steps) {
      if (model::IsAddend(model_, step)) continue;
      const char* kind = step.kind == AffineStep::Kind::kAdd        ? "STEADFAST_ADD"
                         : step.kind == AffineStep::Kind::kMultiply ? "STEADFAST_MULTIPLY"
                                                                    : "STEADFAST_NORMALIZE";
      steps += fmt::format("{}{{{}, {}, {}, {}, {}, {}}}", count == 0 ? "" : ", ", kind, pointer(step.parameter),
                           pointer(step.beta), pointer(step.mean), pointer(step.variance), DoubleOf(step.epsilon));
      ++count;
    }
    if (count == 0) return "0";
    AddStructure("steadfast_step", fmt::format("{}_steps[{}]", name, count), steps, 32 * count);
    return name + "_steps";
  }

  void WriteWeighted(const Node& node, const std::string& name) {
    const model::Weighted& weighted = *node.operation.weighted();
    const Parameter& weight = model_.parameter(weighted.weight);
    const auto* convolution = node.operation.As<model::Convolution>();
    const FactorSource source = model::FactorSourceOf(model_, node);
    ValueShape in = model_.value(node.input()).shape, out = model_.value(node.output).shape;
    Window window;
    int groups = 1;
    if (convolution != nullptr) {
      window = convolution->window;
      groups = convolution->groups;
    }
    const int64_t kernel = int64_t{window.kernel_h} * window.kernel_w;
    const auto stride = [&](int64_t output, int64_t product, bool is_there) {
      return is_there ? weight.IndexOf(output, product) - weight.IndexOf(0, 0) : 0;
    };
    using Kind = FactorSource::Kind;
    const std::string rule = source.kind == Kind::kFolded ? "STEADFAST_FOLDED"
                             : source.kind == Kind::kFloat
                                 ? "STEADFAST_FLOAT"
                                 : fmt::format("STEADFAST_{}{}", source.kind == Kind::kFixedOnce ? "ONCE" : "TWICE",
                                               source.is_product_in_float ? "_FLOAT" : "");
    int count = 0;
    const std::string steps = source.kind == Kind::kFolded ? Steps(node, name, count) : "0";
    const bool is_real = !model_.value(node.output).coding.has_value();
    const ActivationCoding& input = CodingOf(node.input());
    AddStructure(
        "steadfast_weighted", name,
        fmt::format("\n  {}, {}, {}, {}, &parameter{}, &parameter{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}",
                    ShapeOf(in), ShapeOf(out), WindowOf(window), groups, weighted.weight, weight.scale,
                    stride(1, 0, weight.outputs() > 1), stride(0, kernel, weight.products() > kernel),
                    stride(0, window.kernel_w, window.kernel_h > 1), stride(0, 1, window.kernel_w > 1), rule,
                    source.addend < 0 ? "0" : fmt::format("&parameter{}", source.addend), steps, count,
                    FloatOf(input.real_scale()), input.zero_point, is_real ? kRealRange : RangeOfOutput(node)),
        112);
    layers_.most_products = std::max(layers_.most_products, weight.products());
    Use("weighted_sum");
    Use("parameter");
    Use("requantization");
    Call("steadfast_weighted_sum", fmt::format("&{}, {}, {}, {}, levels", name, ValueOf(node.input()),
                                               is_real ? "0" : ValueOf(node.output), is_real ? "output" : "0"));
  }

  void WriteAdd(const Node& node, const std::string& name) {
    const ActivationCoding &a = CodingOf(node.inputs[0]), &b = CodingOf(node.inputs[1]),
                           &output = CodingOf(node.output);
    const auto integer = IsTflite() ? model::IntegerAddOf(model_.profile, a, b, output) : std::nullopt;
    const model::IntegerAdd factors = integer.value_or(model::IntegerAdd{});
    const char* rule = integer ? (factors.rounds_twice ? "STEADFAST_ADD_FIXED" : "STEADFAST_ADD_INTEGER")
                       : model::IsOfOrtKernels(model_, node) ? "STEADFAST_ADD_REAL_ZERO"
                                                             : "STEADFAST_ADD_REAL";
    AddStructure("steadfast_addition", name,
                 fmt::format("\n  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}", rule, Elements(node),
                             FloatOf(a.real_scale()), FloatOf(b.real_scale()), a.zero_point, b.zero_point, factors.a,
                             factors.b, factors.shift, FixedOf(factors.of_a), FixedOf(factors.of_b),
                             FixedOf(factors.of_sum), RangeOfOutput(node)),
                 72);
    Use("add");
    Use("requantization");
    CallOnTwo("steadfast_add", node, name);
  }

  void WriteMultiply(const Node& node, const std::string& name) {
    const ActivationCoding &a = CodingOf(node.inputs[0]), &b = CodingOf(node.inputs[1]),
                           &output = CodingOf(node.output);
    const char* rule =
        IsTflite() ? (model_.profile == Profile::kXnnpack ? "STEADFAST_MULTIPLY_LEVELS" : "STEADFAST_MULTIPLY_FIXED")
        : model::IsOfOrtKernels(model_, node) ? "STEADFAST_MULTIPLY_REAL_ZERO"
                                              : "STEADFAST_MULTIPLY_REAL";
    const float product = a.scale * b.scale;
    const float factor = product / output.scale;
    AddStructure("steadfast_multiplication", name,
                 fmt::format("\n  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}", rule, Elements(node),
                             Elements(node) / model_.value(node.inputs[1]).shape.elements(), FloatOf(a.real_scale()),
                             FloatOf(b.real_scale()), FloatOf(factor), a.zero_point, b.zero_point,
                             FixedOf(model::FixedPointScaleOf(factor)), RangeOfOutput(node)),
                 52);
    Use("multiply");
    Use("requantization");
    CallOnTwo("steadfast_multiply", node, name);
  }

  void WriteMaxPool(const Node& node, const std::string& name) {
    AddStructure("steadfast_shape", name + "_in", Inner(ShapeOf(model_.value(node.input()).shape)), 12);
    AddStructure("steadfast_shape", name + "_out", Inner(ShapeOf(model_.value(node.output).shape)), 12);
    AddStructure("steadfast_window", name + "_window", Inner(WindowOf(node.operation.As<model::MaxPool>()->window)),
                 16);
    Use("max_pool");
    Call("steadfast_max_pool",
         fmt::format("&{0}_in, &{0}_out, &{0}_window, {1}, {2}", name, ValueOf(node.input()), ValueOf(node.output)));
  }

  std::string FactorOf(const model::Requantization& requantization) const {
    return fmt::format("{{{}, {}, {}, 0, {{0, 0}}, STEADFAST_FLOAT}}", FloatOf(requantization.scale[0]),
                       FloatOf(requantization.offset[0]), FloatOf(requantization.divisor));
  }

  void WriteAveragePool(const Node& node, const std::string& name) {
    const auto& op = *node.operation.As<model::AveragePool>();
    const ActivationCoding &from = CodingOf(node.input()), &to = CodingOf(node.output);
    const ValueShape& in = model_.value(node.input()).shape;
    std::string rule = "STEADFAST_MEAN_LEVELS", factor = "{0, 0, 1, 0, {0, 0}, STEADFAST_FLOAT}", fixed = "{0, 0}";
    int64_t less = 0, bias = 0;
    if (IsTflite() && op.is_mean) {
      const model::MeanOfCodes mean(model_.profile, op.is_general, from, to, in.height * in.width);
      rule = mean.is_float() ? "STEADFAST_MEAN_FLOAT" : "STEADFAST_MEAN_FIXED";
      factor =
          fmt::format("{{{}, {}, 1, 0, {{0, 0}}, STEADFAST_FLOAT}}", FloatOf(mean.factor()), FloatOf(mean.offset()));
      fixed = FixedOf(mean.scale());
      less = mean.less();
      bias = mean.bias();
    } else if (IsTflite()) {
      rule = "STEADFAST_MEAN_CODES";
    } else if (model::IsOfOrtKernels(model_, node) && !op.is_mean) {
      rule = "STEADFAST_MEAN_REAL";
    } else {
      factor = FactorOf(model::RequantizationOfMean(model_, node, op.elements()));
    }
    AddStructure("steadfast_mean", name,
                 fmt::format("\n  {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}", rule, ShapeOf(in),
                             ShapeOf(model_.value(node.output).shape), WindowOf(op.window), op.elements(),
                             FloatOf(from.real_scale()), from.zero_point, from.stored_offset(), factor, fixed, less,
                             bias, RangeOfOutput(node)),
                 116);
    Use("average_pool");
    Use("requantization");
    CallOnOne("steadfast_average_pool", node, name);
  }

  void WriteConcatenate(const Node& node, const std::string& name) {
    int64_t offset = 0;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const auto table = model::TranslationOf(model_, node, i);
      const int64_t elements = model_.value(node.inputs[i]).shape.elements();
      bool is_same = true;
      for (int code = 0; code <= CodingOf(node.inputs[i]).highest_code(); ++code)
        is_same = is_same && table[static_cast<size_t>(code)] == code;
      std::string of_input = "0";
      if (!is_same) {
        of_input = fmt::format("{}_table{}", name, i);
        AddCodes(of_input, table);
      }
      Use("table");
      Call("steadfast_table", fmt::format("{}, {}, {}, {} + {}", of_input, elements, ValueOf(node.inputs[i]),
                                          ValueOf(node.output), offset));
      offset += elements;
    }
  }

  void WriteElementwise(const Node& node, const std::string& name) {
    AddCodes(name + "_table", model::TableOf(model_, node));
    Use("table");
    Call("steadfast_table",
         fmt::format("{}_table, {}, {}, {}", name, Elements(node), ValueOf(node.input()), ValueOf(node.output)));
  }

  void WriteRearrange(const Node& node, const std::string& name) {
    AddTable("int32_t", name + "_from", node.operation.As<model::Rearrange>()->from, 16, 4,
             [](int32_t from) { return fmt::format("{}", from); });
    Use("table");
    Call("steadfast_rearrange",
         fmt::format("{}_from, {}, {}, {}", name, Elements(node), ValueOf(node.input()), ValueOf(node.output)));
  }

  void WriteProduct(const Node& node, const std::string& name) {
    const auto& op = *node.operation.As<model::Product>();
    const model::ProductSize size =
        model::SizeOf(op, model_.value(node.inputs[0]).shape, model_.value(node.inputs[1]).shape);
    AddStructure("steadfast_product", name,
                 fmt::format("\n  {}, {}, {}, {}, {}, {}, {}, {}, {}", op.groups, size.rows, size.inner, size.columns,
                             op.transposed_left ? 1 : 0, CodingOf(node.inputs[0]).zero_point,
                             CodingOf(node.inputs[1]).zero_point,
                             FactorOf(model::RequantizationOfProduct(model_, node, op.factor)), RangeOfOutput(node)),
                 68);
    Use("product");
    Use("requantization");
    CallOnTwo("steadfast_multiply_matrices", node, name);
  }

  void WriteSoftmax(const Node& node, const std::string& name) {
    const auto& op = *node.operation.As<model::Softmax>();
    const Value& input = model_.value(node.input());
    const bool is_ort = model::IsOfOrtKernels(model_, node), is_float = IsTflite() || is_ort;
    if (is_float)
      AddTable("float", name + "_exponentials", model::FloatExponentialsOf(model_, node), 8, 4, FloatOf);
    else
      AddTable("int32_t", name + "_exponentials", model::ExponentialsOf(*input.coding), 16, 4,
               [](int32_t number) { return fmt::format("{}", number); });
    const int64_t positions = input.shape.height * input.shape.width;
    AddStructure(
        "steadfast_softmax", name,
        fmt::format("\n  {}, 0, {}, {}, {}, {}, {}, {}",
                    IsTflite() ? "STEADFAST_SOFTMAX_TFLITE"
                    : is_ort   ? "STEADFAST_SOFTMAX_ORT"
                               : "STEADFAST_SOFTMAX",
                    IsTflite() ? 1 : op.groups, IsTflite() ? input.shape.elements() : input.shape.channels / op.groups,
                    IsTflite() ? 1 : positions, is_float ? "0" : name + "_exponentials",
                    is_float ? name + "_exponentials" : "0", RangeOfOutput(node)),
        36);
    Use("softmax");
    Use("requantization");
    CallOnOne("steadfast_apply_softmax", node, name);
  }

  void WriteNormalization(const Node& node, const std::string& name) {
    const auto& op = *node.operation.As<model::LayerNormalization>();
    const ValueShape& shape = model_.value(node.input()).shape;
    const ActivationCoding& coding = CodingOf(node.input());
    AddStructure("steadfast_normalization", name,
                 fmt::format("{}, {}, {}, {}, {}", shape.channels, shape.height * shape.width, coding.zero_point,
                             DoubleOf(model::EpsilonOf(op, shape.channels, coding.real_scale())), RangeOfOutput(node)),
                 40);
    Use("layer_normalization");
    Use("requantization");
    CallOnOne("steadfast_normalize", node, name);
  }

  int64_t Elements(const Node& node) const { return model_.value(node.output).shape.elements(); }
  static std::string Inner(const std::string& braced) { return braced.substr(1, braced.size() - 2); }
  void CallOnOne(const std::string& function, const Node& node, const std::string& name) {
    Call(function, fmt::format("&{}, {}, {}", name, ValueOf(node.input()), ValueOf(node.output)));
  }
  void CallOnTwo(const std::string& function, const Node& node, const std::string& name) {
    Call(function,
         fmt::format("&{}, {}, {}, {}", name, ValueOf(node.inputs[0]), ValueOf(node.inputs[1]), ValueOf(node.output)));
  }

  const QuantizedModel& model_;
  const std::vector<std::string>& values_;
  CLayers layers_;
};

}  // namespace

std::string NameOfCodes(size_t node) {
  return fmt::format("node{}_codes", node);
}

CLayers LayersAsC(const QuantizedModel& model, const std::vector<std::string>& values) {
  return LayerWriter(model, values).Write();
}

}  // namespace steadfast::device
