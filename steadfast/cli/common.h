// What several commands need.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "steadfast/base/text.h"              // ParseInt
#include "steadfast/campaign/loaded_model.h"  // DataChoice
#include "steadfast/cli/commands.h"           // CLI::App
#include "steadfast/memory/memories.h"        // Memories

namespace steadfast::cli {

// Throws UsageError where two of the named paths are the same file: an output would destroy an input. Empty paths do
// not count.
void CheckDistinct(const std::vector<std::pair<std::string, std::filesystem::path>>& paths);

// What bytes become where a network takes real numbers.
inline void AddInputOptions(CLI::App& command, campaign::InputScaling& input) {
  command
      .add_option("--input-scale", input.scale,
                  "Of models that take real numbers: what a byte is multiplied with (default: bytes / 255)")
      ->type_name("X");
  command
      .add_option("--mean", input.means,
                  "Of models that take real numbers: what is subtracted after that, one value or one a channel")
      ->delimiter(',')
      ->type_name("X,...");
  command
      .add_option("--std", input.deviations,
                  "Of models that take real numbers: what the rest is divided by, one value or one a channel")
      ->delimiter(',')
      ->type_name("X,...");
}

// --json: a file, or - for standard output, which then gets nothing else.
inline void AddJsonOption(CLI::App& command, std::filesystem::path& json, const char* what) {
  command.add_option("--json", json, std::string(what) + " as JSON (-: to standard output, instead of text)")
      ->type_name("FILE");
}
inline bool IsStandardOutput(const std::filesystem::path& path) {
  return path == "-";
}
// Writes a document where --json says; nothing where it was not given.
void WriteJson(const std::filesystem::path& json, const nlohmann::json& document);

// --where, --chip, --word-bits: what is stored where, and what of it can fail.
struct MemoryOptions {
  std::string where, chip;
  int word_bits = 32;
  CLI::Option* words = nullptr;
};
void AddMemoryOptions(
    CLI::App& command, MemoryOptions& options,
    const char* where_else = "with --chip, or a fault that says where (flip@biases), all and activations");
// --fault, of one model or of several; what each rate means is in `steadfast faults --kinds`.
std::string FaultHelp(const char* start);

using memory::Memories;
// What follows from the options.
Memories MemoriesOf(const MemoryOptions& options, const std::vector<memory::FaultModel>& faults);

// What was assumed, on standard error.
inline void PrintNote(const std::string& note) {
  fmt::print(stderr, "{}\n", note);
}

// --profile and --stored-bits: what a user says of a file beside what it says itself.
void AddReadingOptions(CLI::App& command, model::Reading& reading);

// --dataset, --data, --images, and what bytes become.
inline void AddDataOptions(CLI::App& command, campaign::DataChoice& data) {
  AddInputOptions(command, data.input);
  data.location.on_reading = data::ReadingLine();
  data.on_note = PrintNote;
  AddReadingOptions(command, data.reading);
  command.add_option("--dataset", data.dataset, "Dataset by name (default: the one the model file names)");
  command.add_option("--data", data.location.folder, "Folder of datasets")->type_name("DIR");
  command.add_option("--images", data.images, "Use the first so many test images (0: all)")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
}

inline void AddThreadsOption(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads (0: all cores); changes no number")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
}

// A seed from the command line, strictly: CLI11 would take -1 and 10^30.
inline CLI::Option* AddSeedOption(CLI::App& command, uint64_t& seed, const std::string& description) {
  const auto parse = [&seed](const std::string& text) {
    seed = static_cast<uint64_t>(ParseInt(text, "--seed", 0, std::numeric_limits<int64_t>::max()));
  };
  return command.add_option_function<std::string>("--seed", parse, description)
      ->default_str(std::to_string(seed))
      ->type_name("UINT");
}

}  // namespace steadfast::cli
