// What several commands need.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "steadfast/base/text.h"              // ParseInt
#include "steadfast/campaign/loaded_model.h"  // DataChoice
#include "steadfast/cli/commands.h"           // CLI::App

namespace steadfast::cli {

// Throws UsageError where two of the named paths are the same file: an output would destroy an input. Empty paths do
// not count.
void CheckDistinct(const std::vector<std::pair<std::string, std::filesystem::path>>& paths);

// --dataset, --data and --images.
inline void AddDataOptions(CLI::App& command, campaign::DataChoice& data) {
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
