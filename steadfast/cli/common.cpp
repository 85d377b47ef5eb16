#include "steadfast/cli/common.h"

#include <fmt/format.h>

#include <map>

#include "steadfast/base/error.h"

namespace steadfast::cli {

void CheckDistinct(const std::vector<std::pair<std::string, std::filesystem::path>>& paths) {
  std::map<std::filesystem::path, std::string> seen;
  for (const auto& [name, path] : paths) {
    if (path.empty()) continue;
    const auto [other, added] = seen.emplace(std::filesystem::weakly_canonical(path), name);
    if (!added) throw UsageError(fmt::format("{} and {} are the same file: {}", other->second, name, path.string()));
  }
}

}  // namespace steadfast::cli
