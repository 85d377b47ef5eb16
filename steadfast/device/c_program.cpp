#include "steadfast/device/c_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "steadfast/base/error.h"
#include "steadfast/base/version.h"
#include "steadfast/device/arena.h"
#include "steadfast/device/runtime.h"
#include "steadfast/engine/reference.h"
#include "steadfast/memory/memory_image.h"
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
using model::FixedPointScale;
using model::Node;
using model::Parameter;
using model::Profile;
using model::Quantization;
using model::QuantizedModel;
using model::ValueShape;
using model::Window;

constexpr int kWordBits = 32;

// ---- C as text ----

// Of names that a file gives: nothing that could end a comment or a line.
std::string CommentOf(const std::string& text) {
  std::string comment;
  for (const char letter : text) {
    const bool is_plain = letter >= ' ' && letter < 127 && letter != '*' && letter != '\\' && letter != '?';
    comment += is_plain ? letter : '_';
  }
  return comment;
}

// C99 writes no number that is none: constants are made of finite scales, but products of them may overflow.
double Finite(double number) {
  if (!std::isfinite(number))
    throw InputError("its scales make a constant that is no finite number, and C99 has no way to write it");
  return number;
}
std::string FloatOf(float number) {
  return fmt::format("{:a}f", static_cast<float>(Finite(number)));
}
std::string DoubleOf(double number) {
  return fmt::format("{:a}", Finite(number));
}
std::string FixedOf(const FixedPointScale& scale) {
  return fmt::format("{{{}, {}}}", scale.multiplier, scale.shift);
}
std::string ShapeOf(const ValueShape& shape) {
  return fmt::format("{{{}, {}, {}}}", shape.channels, shape.height, shape.width);
}
std::string WindowOf(const Window& window) {
  return fmt::format("{{{}, {}, {}, {}, {}, {}, {}, {}}}", window.kernel_h, window.kernel_w, window.stride_h,
                     window.stride_w, window.pad_top, window.pad_left, window.dilation_h, window.dilation_w);
}
std::string RangeOf(const ActivationCoding& coding, const model::Activation& activation) {
  const Quantization q = model::QuantizationOf(coding, activation);
  return fmt::format("{{{}, {}, {}, {}, {}, {}}}", FloatOf(q.scale), q.zero_point, q.lowest, q.highest, q.zero_below,
                     coding.stored_offset());
}
// What a self-test sees of real numbers: of two that are not numbers, no difference.
const char* const kDiffers =
    "output.bits[i] != expected[image][i] &&\n"
    "          ((output.bits[i] & 0x7fffffffu) <= 0x7f800000u || (expected[image][i] & 0x7fffffffu) <= 0x7f800000u)";
// Where a result is real.
const char* const kRealRange = "{1.0f, 0, 0, 0, 0, 0}";

// Numbers in rows, as an initializer's text.
template <typename Numbers, typename Text>
std::string Rows(const Numbers& numbers, size_t a_row, const Text& text) {
  std::string rows;
  size_t i = 0;
  for (const auto& number : numbers) {
    rows += fmt::format("{}{}{}", i % a_row == 0 ? "  " : " ", text(number), i + 1 == numbers.size() ? "" : ",");
    if (++i % a_row == 0 || i == numbers.size()) rows += "\n";
  }
  return rows;
}
std::string WordRows(const std::vector<uint32_t>& words) {
  return Rows(words, 8, [](uint32_t word) { return fmt::format("0x{:08x}u", word); });
}

// ---- what is stored ----

// The words of a parameter's array, as memory packs them.
std::vector<uint32_t> Packed(const Parameter& parameter) {
  const int bits = parameter.format.bits(), a_word = kWordBits / bits;
  std::vector<uint32_t> words(static_cast<size_t>((parameter.elements() + a_word - 1) / a_word), 0);
  for (int64_t i = 0; i < parameter.elements(); ++i)
    words[static_cast<size_t>(i / a_word)] |= parameter.bits[static_cast<size_t>(i)] << (i % a_word * bits);
  return words;
}

int64_t WordsOf(const Parameter& parameter) {
  const int a_word = kWordBits / parameter.format.bits();
  return (parameter.elements() + a_word - 1) / a_word;
}

// Parameters that weighted nodes read, in their order; with what int32 constants have as their scale.
std::vector<int> ReadParameters(const QuantizedModel& model) {
  std::set<int> read;
  for (const Node& node : model.nodes) {
    if (node.operation.weighted() == nullptr) continue;
    for (const int parameter : model::ParametersOf(model, node)) {
      read.insert(parameter);
      if (model.parameter(parameter).scale >= 0) read.insert(model.parameter(parameter).scale);
    }
  }
  return {read.begin(), read.end()};
}

const char* KindOf(const model::StorageFormat& format) {
  using Kind = model::StorageFormat::Kind;
  switch (format.kind) {
    case Kind::kCodes:
      return "STEADFAST_CODES";
    case Kind::kInt32:
      return "STEADFAST_INT32";
    case Kind::kFloat32:
      return "STEADFAST_FLOAT32";
    case Kind::kFloat16:
      return "STEADFAST_FLOAT16";
    case Kind::kBfloat16:
      return "STEADFAST_BFLOAT16";
  }
  throw std::logic_error("a storage format without a name in C");
}

// ---- the program ----

class Writer {
 public:
  Writer(const QuantizedModel& model, std::string name, std::string source, std::span<const uint8_t> inputs)
      : model_(model), name_(std::move(name)), source_(CommentOf(source)), inputs_(inputs) {}

  CProgram Write() {
    WriteParameters();
    std::vector<bool> placed(model_.values.size(), false);
    for (const Node& node : model_.nodes) {
      const bool has_codes = model_.value(node.output).coding.has_value() && !node.operation.Is<model::Constant>();
      if (has_codes) placed[static_cast<size_t>(node.output)] = true;
    }
    placed[0] = CopiesInput();
    arena_ = PlaceValues(model_, placed);
    for (size_t n = 0; n < model_.nodes.size(); ++n) WriteNode(model_.nodes[n], fmt::format("node{}", n));
    WriteFiles();
    return std::move(program_);
  }

 private:
  const ActivationCoding& CodingOf(int value) const { return *model_.value(value).coding; }
  bool IsTflite() const { return model::IsOfTflite(model_.profile); }

  // ---- inputs and outputs ----

  bool IsChannelsLast() const {
    const ValueShape& shape = model_.value(0).shape;
    return IsTflite() && !shape.flat && shape.channels > 1 && shape.height * shape.width > 1;
  }
  bool CopiesInput() const { return IsChannelsLast() || CodingOf(0).stored_offset() != 0; }
  // The value whose codes are the result; -1: real numbers are.
  int CodesOfResult() const {
    for (const Node& node : model_.nodes) {
      if (node.output == model_.output && node.operation.Is<model::Dequantize>()) return node.input();
    }
    return -1;
  }
  std::string TypeOf(int value) const {
    if (value < 0) return "float";
    return CodingOf(value).stored_offset() != 0 ? "int8_t" : "uint8_t";
  }
  std::string Signature() const {
    return fmt::format("void {}_run(const {} input[{}], {} output[{}])", name_, TypeOf(0),
                       model_.value(0).shape.elements(), TypeOf(CodesOfResult()), model_.classes());
  }

  // ---- parameters ----

  void WriteParameters() {
    std::vector<uint32_t> memory, fixed;
    const std::vector<PlacedParameter> placed = PlacedParameters(model_);
    nlohmann::json arrays = nlohmann::json::array();
    for (const int index : ReadParameters(model_)) {
      const Parameter& parameter = model_.parameter(index);
      const auto in_memory = std::find_if(placed.begin(), placed.end(),
                                          [&](const PlacedParameter& one) { return one.parameter == index; });
      const bool is_stored = in_memory != placed.end();
      std::vector<uint32_t>& words = is_stored ? memory : fixed;
      const auto first = static_cast<int64_t>(words.size());
      for (const uint32_t word : Packed(parameter)) words.push_back(word);
      const model::CodeFormat& codes = parameter.format.codes;
      const bool has_codes = parameter.format.kind == model::StorageFormat::Kind::kCodes;
      const std::string scale = parameter.format.kind == model::StorageFormat::Kind::kInt32 && parameter.scale >= 0
                                    ? fmt::format("&parameter{}", parameter.scale)
                                    : "0";
      // int32 constants name their scales, so these come first.
      std::string& to = scale == "0" ? parameters_ : with_scales_;
      to += fmt::format(
          "/* {}: {}{} */\nstatic const steadfast_parameter parameter{} = {{{}_{} + {}, {}, {}, {}, {}, {}, {}, "
          "{}}};\n",
          CommentOf(parameter.name), model::NameOf(parameter.format), parameter.format.is_float() ? "" : " codes",
          index, name_, is_stored ? "memory" : "constants", first, KindOf(parameter.format), parameter.format.bits(),
          has_codes && codes.is_signed ? 1 : 0, has_codes ? codes.levels.multiplier : 1,
          has_codes ? codes.levels.offset : 0, parameter.elements(), scale);
      program_.constant_bytes += 24;
      if (!is_stored) continue;
      arrays.push_back({{"name", parameter.name},
                        {"role", model::NameOf(parameter.role)},
                        {"format", model::NameOf(parameter.format)},
                        {"shape", parameter.shape},
                        {"first_word", in_memory->first_word},
                        {"words", WordsOf(parameter)},
                        {"bits", parameter.format.bits()},
                        {"elements_per_word", kWordBits / parameter.format.bits()},
                        {"elements", parameter.elements()},
                        {"also_constant", in_memory->is_also_constant}});
    }
    program_.memory_bytes = static_cast<int64_t>(memory.size()) * 4;
    const size_t stored_words = memory.size();
    if (memory.empty()) memory.push_back(0);  // C99 has no arrays of no elements
    program_.constant_bytes += static_cast<int64_t>(fixed.size()) * 4;
    program_.files[name_ + "_memory.c"] =
        Heading(
            "The stored bits, in words of 32 bits: each holds as many whole elements as fit, the first in the\n"
            " * lowest bits. layout.json says which words hold what.") +
        fmt::format("#include \"{0}_memory.h\"\n\nSTEADFAST_MEMORY uint32_t {0}_memory[{1}] = {{\n{2}}};\n", name_,
                    memory.size(), WordRows(memory)) +
        (fixed.empty() ? ""
                       : fmt::format("\n/* Of the program, not of the network. */\nSTEADFAST_MEMORY uint32_t "
                                     "{}_constants[{}] = {{\n{}}};\n",
                                     name_, fixed.size(), WordRows(fixed)));
    program_.files[name_ + "_memory.h"] =
        Heading("What faults can change: network and memory are two units, so that no compiler knows what is stored.") +
        fmt::format(
            "#ifndef {1}_MEMORY_H\n#define {1}_MEMORY_H\n\n#include \"steadfast_device.h\"\n\n"
            "extern STEADFAST_MEMORY uint32_t {0}_memory[{2}];\n{3}\n#endif\n",
            name_, Upper(), memory.size(),
            fixed.empty() ? ""
                          : fmt::format("extern STEADFAST_MEMORY uint32_t {}_constants[{}];\n", name_, fixed.size()));
    layout_ = {{"schema", 1},
               {"name", name_},
               {"model", source_},
               {"profile", model::NameOf(model_.profile)},
               {"word_bits", kWordBits},
               {"encoding", "twos"},
               {"words", stored_words},
               {"arrays", arrays}};
  }

  // ---- nodes ----

  // An array of the program.
  template <typename Numbers, typename Text>
  void AddTable(const std::string& type, const std::string& name, const Numbers& numbers, size_t a_row, int bytes,
                const Text& text) {
    constants_ +=
        fmt::format("static const {} {}[{}] = {{\n{}}};\n", type, name, numbers.size(), Rows(numbers, a_row, text));
    program_.constant_bytes += static_cast<int64_t>(numbers.size()) * bytes;
  }
  void AddCodes(const std::string& name, std::span<const uint8_t> codes) {
    AddTable("uint8_t", name, codes, 24, 1, [](uint8_t code) { return fmt::format("{}", code); });
  }
  void AddStructure(const std::string& type, const std::string& name, const std::string& fields, int bytes) {
    constants_ += fmt::format("static const {} {} = {{{}}};\n", type, name, fields);
    program_.constant_bytes += bytes;
  }
  void Call(const std::string& function, const std::string& arguments) {
    calls_ += fmt::format("  {}({});\n", function, arguments);
  }
  void Use(const std::string& file) { used_.insert(file); }

  std::string ValueOf(int value) const {
    const int source = SourceOf(model_, value);
    for (size_t n = 0; n < model_.nodes.size(); ++n) {
      if (model_.nodes[n].output == source && model_.nodes[n].operation.Is<model::Constant>())
        return fmt::format("node{}_codes", n);
    }
    if (source == 0 && !CopiesInput()) return "input";
    return fmt::format("values + {}", arena_.offsets[static_cast<size_t>(source)]);
  }

  std::string RangeOfOutput(const Node& node) const { return RangeOf(CodingOf(node.output), node.activation); }

  void WriteNode(const Node& node, const std::string& name) {
    const model::Operation& op = node.operation;
    constants_ += fmt::format("\n/* {}: {} */\n", CommentOf(node.name), model::KindOf(node));
    calls_ += fmt::format("  /* {} */\n", CommentOf(node.name));
    if (op.weighted() != nullptr) return WriteWeighted(node, name);
    if (op.Is<model::Flatten>() || op.Is<model::Dequantize>()) return;
    if (const auto* constant = op.As<model::Constant>()) return AddCodes(name + "_codes", constant->codes);
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
    levels_ = std::max(levels_, weight.products());
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

  // ---- files ----

  std::string Upper() const {
    std::string upper;
    for (const char letter : name_) upper += static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    return upper;
  }
  std::string Heading(const std::string& what) const {
    return fmt::format("/* {}: {}\n * Written by Steadfast {}. */\n", source_, what, Version());
  }

  void WriteFiles() {
    WriteHeader();
    WriteNetwork();
    WriteSelfTest();
    for (const auto& [file, text] : RuntimeFiles()) {
      const std::string operator_name = file.substr(10, file.size() - 12);
      if (!file.ends_with(".h") && used_.count(operator_name) == 0) continue;
      if (!program_.files.emplace(file, std::string(text)).second)
        throw std::logic_error(file + " would be written twice");
    }
    program_.files["layout.json"] = layout_.dump(2) + "\n";
    WriteBuild();
    WriteReadme();
  }

  std::string InputText() const {
    const ActivationCoding& coding = CodingOf(0);
    const ValueShape& shape = model_.value(0).shape;
    const std::string order =
        IsChannelsLast() ? fmt::format("[height {}][width {}][channels {}]", shape.height, shape.width, shape.channels)
                         : fmt::format("[channels {}][height {}][width {}]", shape.channels, shape.height, shape.width);
    return fmt::format("codes {}, as the file has them: real = {} * (code - {})", order, FormatFloat(coding.scale),
                       coding.zero_point + coding.stored_offset());
  }
  std::string OutputText() const {
    const int codes = CodesOfResult();
    if (codes < 0) return fmt::format("the {} logits, real numbers", model_.classes());
    const ActivationCoding& coding = CodingOf(codes);
    return fmt::format("the {} codes of the result: real = {} * (code - {})", model_.classes(),
                       FormatFloat(coding.scale), coding.zero_point + coding.stored_offset());
  }
  static std::string FormatFloat(float number) { return fmt::format("{}", number); }

  void WriteHeader() {
    program_.files[name_ + ".h"] =
        Heading("a quantized network, under the arithmetic of " + std::string(model::NameOf(model_.profile)) + ".") +
        fmt::format(
            "#ifndef {0}_H\n#define {0}_H\n\n#include <stdint.h>\n\n"
            "#ifdef __cplusplus\nextern \"C\" {{\n#endif\n\n"
            "/* input: {1}.\n * output: {2}.\n * Not for two threads at once: values lie in one array. */\n{3};\n\n"
            "/* The number of the first image of the self-test whose result is not what it must be, from 1 on; 0 if "
            "all "
            "are. */\nint {4}_selftest(void);\n\n#ifdef __cplusplus\n}}\n#endif\n\n#endif\n",
            Upper(), InputText(), OutputText(), Signature(), name_);
  }

  void WriteNetwork() {
    program_.working_bytes = arena_.bytes + levels_ * 2;
    std::string text =
        Heading("the layers.") + fmt::format("#include \"{0}.h\"\n\n#include \"{0}_memory.h\"\n\n", name_);
    text += parameters_ + with_scales_ + constants_ + "\n";
    if (arena_.bytes > 0) text += fmt::format("static uint8_t values[{}];\n", arena_.bytes);
    if (levels_ > 0) text += fmt::format("static int16_t levels[{}];\n", levels_);
    text += fmt::format("\n{} {{\n", Signature());
    if (CopiesInput()) {
      text += fmt::format(
          "  static const steadfast_shape shape = {};\n"
          "  steadfast_take_input(&shape, {}, {}, (const uint8_t *)input, values + {});\n",
          ShapeOf(model_.value(0).shape), IsChannelsLast() ? 1 : 0, CodingOf(0).stored_offset(), arena_.offsets[0]);
      Use("table");
    }
    text += calls_;
    const int codes = CodesOfResult();
    if (codes >= 0) {
      text += fmt::format(
          "  {{\n    const uint8_t *codes = {};\n    int32_t i;\n"
          "    for (i = 0; i < {}; ++i) output[i] = ({})(codes[i] + {});\n  }}\n",
          ValueOf(codes), model_.classes(), TypeOf(codes), CodingOf(codes).stored_offset());
    }
    text += "}\n";
    program_.files[name_ + ".c"] = text;
  }

  void WriteSelfTest() {
    const ValueShape& shape = model_.value(0).shape;
    const auto elements = static_cast<size_t>(shape.elements()), classes = static_cast<size_t>(model_.classes());
    const size_t count = inputs_.size() / elements;
    engine::Trace trace;
    const std::vector<float> logits = engine::RunReference(model_, inputs_, &trace);
    const int codes = CodesOfResult(), offset = CodingOf(0).stored_offset();
    const int64_t positions = shape.height * shape.width;
    std::vector<std::string> images, results;
    for (size_t i = 0; i < count; ++i) {
      for (int64_t at = 0; at < shape.elements(); ++at) {
        const int64_t from = IsChannelsLast() ? at % shape.channels * positions + at / shape.channels : at;
        images.push_back(fmt::format("{}", inputs_[i * elements + static_cast<size_t>(from)] + offset));
      }
    }
    if (codes < 0) {
      for (const float real : logits) results.push_back(fmt::format("0x{:08x}u", std::bit_cast<uint32_t>(real)));
    } else {
      const int of_result = CodingOf(codes).stored_offset();
      for (const uint8_t code : trace.codes[static_cast<size_t>(codes)])
        results.push_back(fmt::format("{}", code + of_result));
    }
    program_.files[name_ + "_selftest.c"] =
        Heading(
            "images, and what Steadfast's engine makes of them. With STEADFAST_SELFTEST_MAIN a program: it ends\n"
            " * with 0 where all are right.") +
        fmt::format(
            "#include \"{0}.h\"\n\n#define IMAGES {1}\n#define ELEMENTS {2}\n#define RESULTS {3}\n\n"
            "static const {4} images[IMAGES][ELEMENTS] = {{\n{5}}};\n\n"
            "/* {6} */\nstatic const {7} expected[IMAGES][RESULTS] = {{\n{8}}};\n\n"
            "int {0}_selftest(void) {{\n"
            "  int image;\n  int32_t i;\n"
            "  for (image = 0; image < IMAGES; ++image) {{\n"
            "{9}"
            "    {0}_run(images[image], {10});\n"
            "    for (i = 0; i < RESULTS; ++i) {{\n"
            "      if ({11}) return image + 1;\n"
            "    }}\n  }}\n  return 0;\n}}\n\n"
            "#ifdef STEADFAST_SELFTEST_MAIN\nint main(void) {{\n  return {0}_selftest();\n}}\n#endif\n",
            name_, count, elements, classes, TypeOf(0), Nested(images, elements),
            codes >= 0 ? "Codes." : "The bits of real numbers.", codes >= 0 ? TypeOf(codes) : "uint32_t",
            Nested(results, classes),
            codes >= 0 ? fmt::format("    {} output[RESULTS];\n", TypeOf(codes))
                       : "    union {\n      float reals[RESULTS];\n      uint32_t bits[RESULTS];\n    } output;\n",
            codes >= 0 ? "output" : "output.reals", codes >= 0 ? "output[i] != expected[image][i]" : kDiffers);
  }

  // As many rows of arrays of `a_group` numbers.
  static std::string Nested(std::span<const std::string> numbers, size_t a_group) {
    std::string text;
    for (; !numbers.empty(); numbers = numbers.subspan(a_group))
      text +=
          fmt::format("  {{\n{}  }}{}\n", Rows(numbers.first(a_group), 16, [](const std::string& one) { return one; }),
                      numbers.size() == a_group ? "" : ",");
    return text;
  }

  // All that a program with this network compiles.
  std::string Sources() const {
    std::string sources;
    for (const auto& [file, text] : program_.files) {
      if (file.ends_with(".c") && file != name_ + "_selftest.c") sources += " " + file;
    }
    return sources;
  }

  void WriteBuild() {
    program_.files["CMakeLists.txt"] = fmt::format(
        "# Written by Steadfast {1}. A library, {0}; its self-test is {0}_selftest (ctest).\n"
        "cmake_minimum_required(VERSION 3.10)\nproject({0} C)\nset(CMAKE_C_STANDARD 99)\nset(CMAKE_C_EXTENSIONS OFF)\n"
        "add_library({0} STATIC{2})\n"
        "target_include_directories({0} PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}})\n"
        "target_compile_options({0} PRIVATE -Wall -Wextra -pedantic -ffp-contract=off)\n"
        "if(NOT CMAKE_CROSSCOMPILING)\n"
        "  enable_testing()\n"
        "  add_executable({0}_selftest {0}_selftest.c)\n"
        "  target_compile_definitions({0}_selftest PRIVATE STEADFAST_SELFTEST_MAIN)\n"
        "  target_link_libraries({0}_selftest PRIVATE {0})\n"
        "  add_test(NAME {0}_selftest COMMAND {0}_selftest)\n"
        "endif()\n",
        name_, Version(), Sources());
  }

  void WriteReadme() {
    program_.files["README.md"] = fmt::format(
        "# {0}\n\n"
        "`{1}` as C99, written by Steadfast {2}: no heap, no operating system, no libm. Its results are those of\n"
        "Steadfast's engine under the arithmetic of `{3}`, bit for bit, where floats are IEEE 754 and every operation "
        "is\n"
        "rounded to its type: compile with `-ffp-contract=off`, never with `-ffast-math`.\n\n"
        "```c\n#include \"{0}.h\"\n\n{4};\n```\n\n"
        "- input: {5}\n- output: {6}\n\n"
        "Build and test it here:\n\n"
        "```sh\ncmake -S . -B build && cmake --build build && ctest --test-dir build\n```\n\n"
        "or, for a Cortex-M, compile these with your own program:\n\n"
        "```sh\narm-none-eabi-gcc -std=c99 -mcpu=cortex-m3 -O2 -ffp-contract=off -c{10}\n```\n\n"
        "| memory | bytes |\n| --- | --- |\n"
        "| flash: stored bits (`{0}_memory.c`) | {7} |\n"
        "| flash: tables, constants and descriptions of layers (estimate for pointers of 32 bits) | {8} |\n"
        "| flash: code | 3 to 6 KB (Cortex-M3, -O2), and the compiler's emulation of floats where there is no unit: "
        "`arm-none-eabi-size` tells |\n"
        "| RAM: values of layers and the weights of one output | {9} |\n"
        "| stack | below 1 KB |\n\n"
        "With `-DSTEADFAST_MEMORY=` (below) the stored bits lie in RAM, and in flash to be copied from.\n\n"
        "## Faults\n\n"
        "`{0}_memory[]` holds weights, their scales, biases and what normalizes, as `layout.json` says: each array "
        "from\n"
        "`first_word` on, codes in two's complement, `elements_per_word` elements a word, element `i` in word "
        "`first_word + i / "
        "elements_per_word`, from bit\n"
        "`i % elements_per_word * bits` on. Everything is worked out from them for each image, so a bit that you flip "
        "there does\n"
        "what `steadfast inject --fault-list` says of the same element. Where memory is to be written while the "
        "program runs,\n"
        "compile with `-DSTEADFAST_MEMORY=`, which takes the `const` away. Scales of activations are constants of the\n"
        "program; an array with `also_constant` is one of these too, so a fault in it reaches only a part of what uses "
        "it.\n",
        name_, source_, Version(), model::NameOf(model_.profile), Signature(), InputText(), OutputText(),
        program_.memory_bytes, program_.constant_bytes, program_.working_bytes, Sources());
  }

  using Value = model::Value;
  const QuantizedModel& model_;
  std::string name_, source_;
  std::span<const uint8_t> inputs_;
  CProgram program_;
  Arena arena_;
  nlohmann::json layout_;
  std::string parameters_, with_scales_, constants_, calls_;
  std::set<std::string> used_;  // files of operators
  int64_t levels_ = 0;          // the most products of an output
};

}  // namespace

std::string IdentifierOf(const std::string& text) {
  std::string name;
  for (const char letter : text) {
    const bool is_plain =
        std::isalnum(static_cast<unsigned char>(letter)) != 0 && static_cast<unsigned char>(letter) < 128;
    name += is_plain ? static_cast<char>(std::tolower(static_cast<unsigned char>(letter))) : '_';
  }
  // What C's headers, CMake's targets and the operators' own files are named.
  static const std::set<std::string> taken = {
      "all",           "assert", "clean",   "complex",  "ctype",   "depend", "edit_cache", "errno", "fenv",
      "float",         "help",   "install", "inttypes", "limits",  "locale", "main",       "math",  "package",
      "rebuild_cache", "setjmp", "signal",  "stdarg",   "stdbool", "stddef", "stdint",     "stdio", "stdlib",
      "string",        "test",   "tgmath",  "time",     "unistd",  "wchar",  "wctype"};
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0 || name[0] == '_' ||
      name.starts_with("steadfast") || taken.count(name) > 0)
    name = "net_" + name;
  return name;
}

std::vector<PlacedParameter> PlacedParameters(const QuantizedModel& model) {
  std::vector<PlacedParameter> placed;
  int64_t words = 0;
  for (const int index : ReadParameters(model)) {
    const Parameter& parameter = model.parameter(index);
    if (parameter.is_fixed) continue;
    placed.push_back({index, words, model::HoldsActivationScale(model, index)});
    words += WordsOf(parameter);
  }
  return placed;
}

CProgram CProgramOf(const QuantizedModel& model, const std::string& name, const std::string& source,
                    std::span<const uint8_t> inputs) {
  if (name != IdentifierOf(name))
    throw UsageError(fmt::format(
        "--name {}: expected small letters, digits and _, and no name that C, CMake or the operators have: {}", name,
        IdentifierOf(name)));
  try {
    return Writer(model, name, source, inputs).Write();
  } catch (const InputError& error) {
    throw InputError(fmt::format("{}: {}", source, error.what()));
  }
}

}  // namespace steadfast::device
