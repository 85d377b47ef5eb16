#include "steadfast/cli/common.h"

#include <fmt/format.h>

#include <map>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/text.h"  // ParseInt

namespace steadfast::cli {

void CheckDistinct(const std::vector<std::pair<std::string, std::filesystem::path>>& paths) {
  std::map<std::filesystem::path, std::string> seen;
  for (const auto& [name, path] : paths) {
    if (path.empty() || IsStandardOutput(path)) continue;
    const auto [other, added] = seen.emplace(std::filesystem::weakly_canonical(path), name);
    if (!added) throw UsageError(fmt::format("{} and {} are the same file: {}", other->second, name, path.string()));
  }
}

void AddMemoryOptions(CLI::App& command, MemoryOptions& options, const char* where_else) {
  command
      .add_option(
          "--where", options.where,
          std::string(
              "What can fail, comma-separated: weights, biases, scales (of weights and integer biases), normalization "
              "(multipliers, means, variances), activation-scales, all of these; activations (the buffers of values "
              "between layers); layers or parameters by name; of each "
              "only some cells: 'conv1[bit=3]', 'weights[channel=0..7;code=-8..-1]', '[bank=2]' (docs/formats.md). "
              "Default: weights; ") +
              where_else)
      ->type_name("ITEMS");
  command
      .add_option("--chip", options.chip,
                  "In which memories the parameters lie, in which banks and rows: weights, everything, systolic or a "
                  "YAML file (docs/formats.md). Default: one memory, banks of 256 rows of 8 words")
      ->type_name("NAME|FILE");
  options.words =
      command.add_option("--word-bits", options.word_bits, "Width of a memory word, 8 to 64, without --chip")
          ->capture_default_str();
}

void AddReadingOptions(CLI::App& command, model::Reading& reading) {
  command
      .add_option_function<std::string>(
          "--profile", [&reading](const std::string& text) { reading.profile = model::ParseProfile(text); },
          "Whose arithmetic: onnx (default), or ort (default of QOperator files), of ONNX files; xnnpack (default), "
          "litert-builtin or tflm of TFLite files")
      ->type_name("NAME");
  const auto add = [&reading](const std::vector<std::string>& items) {
    for (const std::string& item : items) {
      const size_t equals = item.rfind('=');
      if (equals == std::string::npos || equals == 0)
        throw UsageError(fmt::format("--stored-bits {}: expected TENSOR=N", item));
      const auto bits = static_cast<int>(ParseInt(item.substr(equals + 1), "--stored-bits " + item, 1, 8));
      if (!reading.stored_bits.emplace(item.substr(0, equals), bits).second)
        throw UsageError(fmt::format("--stored-bits {}: names a tensor a second time", item));
    }
  };
  command
      .add_option_function<std::vector<std::string>>(
          "--stored-bits", add,
          "Weights that are stored in fewer bits than the file has for them: conv1.weight=4 (their codes must fit)")
      ->type_name("TENSOR=N")
      ->allow_extra_args(false);
}

std::string FaultHelp(const char* start) {
  return fmt::format(
      "{}: {}; several at once as 0.9*flip+0.1*row, of some cells as row@weights (`steadfast faults --kinds` says what "
      "each is, and what the rate means)",
      start, memory::FaultModelSyntax());
}

memory::Memories MemoriesOf(const MemoryOptions& options, const std::vector<memory::FaultModel>& faults) {
  memory::MemoryChoice choice{options.where, options.chip, options.word_bits};
  const bool is_typed = options.words != nullptr && options.words->count() > 0;
  if (!options.chip.empty() && !is_typed) choice.word_bits = std::nullopt;
  return memory::MemoriesOf(choice, faults);
}

void WriteJson(const std::filesystem::path& json, const nlohmann::json& document) {
  if (json.empty()) return;
  const std::string text = document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (IsStandardOutput(json))
    fmt::print("{}", text);
  else
    WriteFileWhole(json, text);
}

}  // namespace steadfast::cli
