// What several commands need.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "steadfast/base/text.h"     // ParseInt
#include "steadfast/cli/commands.h"  // CLI::App

namespace steadfast::cli {

// Throws UsageError where two of the named paths are the same file: an output would destroy an input. Empty paths do
// not count.
void CheckDistinct(const std::vector<std::pair<std::string, std::filesystem::path>>& paths);

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
