#include "steadfast/device/c_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "steadfast/base/error.h"
#include "steadfast/base/version.h"
#include "steadfast/device/arena.h"
#include "steadfast/device/c_layers.h"
#include "steadfast/device/c_text.h"
#include "steadfast/device/runtime.h"
#include "steadfast/engine/reference.h"
#include "steadfast/memory/packing.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/dequantize.h"

namespace steadfast::device {
namespace {

using model::ActivationCoding;
using model::Node;
using model::Parameter;
using model::QuantizedModel;
using model::ValueShape;

constexpr int kWordBits = 32;

// What a self-test sees of real numbers: of two that are not numbers, no difference.
const char* const kDiffers =
    "output.bits[i] != expected[image][i] &&\n"
    "          ((output.bits[i] & 0x7fffffffu) <= 0x7f800000u || (expected[image][i] & 0x7fffffffu) <= 0x7f800000u)";
std::string WordRows(const std::vector<uint32_t>& words) {
  return Rows(words, 8, [](uint32_t word) { return fmt::format("0x{:08x}u", word); });
}

// ---- what is stored ----

int64_t ElementsPerWord(const Parameter& parameter) {
  return kWordBits / parameter.format.bits();
}
int64_t WordsOf(const Parameter& parameter) {
  return memory::WordsFor(parameter.elements(), ElementsPerWord(parameter));
}
// The words of a parameter's array, as memory packs them.
std::vector<uint32_t> Packed(const Parameter& parameter) {
  std::vector<uint32_t> words;
  for (int64_t word = 0; word < WordsOf(parameter); ++word)
    words.push_back(static_cast<uint32_t>(
        memory::PackedWord(parameter.bits, parameter.format.bits(), ElementsPerWord(parameter), word)));
  return words;
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
    layers_ = LayersAsC(model_, NamesOfValues());
    program_.constant_bytes += layers_.constant_bytes;
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

  // [value] the C expression of where its codes lie.
  std::vector<std::string> NamesOfValues() const {
    std::vector<std::string> names;
    for (int v = 0; v < static_cast<int>(model_.values.size()); ++v) names.push_back(NameOfValue(SourceOf(model_, v)));
    return names;
  }
  std::string NameOfValue(int source) const {
    for (size_t n = 0; n < model_.nodes.size(); ++n) {
      if (model_.nodes[n].output == source && model_.nodes[n].operation.Is<model::Constant>()) return NameOfCodes(n);
    }
    if (source == 0 && !CopiesInput()) return "input";
    return fmt::format("values + {}", arena_.offsets[static_cast<size_t>(source)]);
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
                        {"elements_per_word", ElementsPerWord(parameter)},
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
      if (!file.ends_with(".h") && layers_.operators.count(operator_name) == 0) continue;
      if (!program_.files.emplace(file, std::string(text)).second)
        throw std::logic_error(file + " would be written twice");
    }
    program_.files["layout.json"] = layout_.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
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
    program_.working_bytes = arena_.bytes + layers_.most_products * 2;
    std::string text =
        Heading("the layers.") + fmt::format("#include \"{0}.h\"\n\n#include \"{0}_memory.h\"\n\n", name_);
    text += parameters_ + with_scales_ + layers_.constants + "\n";
    if (arena_.bytes > 0) text += fmt::format("static uint8_t values[{}];\n", arena_.bytes);
    if (layers_.most_products > 0) text += fmt::format("static int16_t levels[{}];\n", layers_.most_products);
    text += fmt::format("\n{} {{\n", Signature());
    if (CopiesInput()) {
      text += fmt::format(
          "  static const steadfast_shape shape = {};\n"
          "  steadfast_take_input(&shape, {}, {}, (const uint8_t *)input, values + {});\n",
          ShapeOf(model_.value(0).shape), IsChannelsLast() ? 1 : 0, CodingOf(0).stored_offset(), arena_.offsets[0]);
      layers_.operators.insert("table");
    }
    text += layers_.calls;
    const int codes = CodesOfResult();
    if (codes >= 0) {
      text += fmt::format(
          "  {{\n    const uint8_t *codes = {};\n    int32_t i;\n"
          "    for (i = 0; i < {}; ++i) output[i] = ({})(codes[i] + {});\n  }}\n",
          NameOfValue(SourceOf(model_, codes)), model_.classes(), TypeOf(codes), CodingOf(codes).stored_offset());
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

  const QuantizedModel& model_;
  std::string name_, source_;
  std::span<const uint8_t> inputs_;
  CProgram program_;
  Arena arena_;
  nlohmann::json layout_;
  CLayers layers_;
  std::string parameters_, with_scales_;
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
