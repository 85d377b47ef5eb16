#include "steadfast/cli/common.h"

#include <fmt/format.h>

#include <map>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"

namespace steadfast::cli {

void CheckDistinct(const std::vector<std::pair<std::string, std::filesystem::path>>& paths) {
  std::map<std::filesystem::path, std::string> seen;
  for (const auto& [name, path] : paths) {
    if (path.empty() || IsStandardOutput(path)) continue;
    const auto [other, added] = seen.emplace(std::filesystem::weakly_canonical(path), name);
    if (!added) throw UsageError(fmt::format("{} and {} are the same file: {}", other->second, name, path.string()));
  }
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
