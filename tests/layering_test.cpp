// Holds every include of the sources to the table of rooms in docs/architecture.md.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>

#include "steadfast/base/file.h"
#include "steadfast/base/text.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = STEADFAST_SOURCE_DIR;

std::string Trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" `"), last = text.find_last_not_of(" `");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

// Room → rooms it may include, itself among them.
std::map<std::string, std::set<std::string>> ReadTable() {
  std::map<std::string, std::set<std::string>> table;
  for (const auto& line : Split(ReadTextFile(kSource / "docs/architecture.md"), '\n')) {
    if (!line.starts_with("| `")) continue;
    const auto cells = Split(line, '|');
    if (cells.size() < 5) continue;
    const std::string room = Trimmed(cells[1]);
    table[room] = {room};
    for (const auto& other : Split(cells[3], ',')) {
      if (!Trimmed(other).empty()) table[room].insert(Trimmed(other));
    }
  }
  return table;
}

bool IsSource(const fs::path& path) {
  const std::string name = path.stem().string();
  return (path.extension() == ".h" || path.extension() == ".cpp") && !name.ends_with("_test") &&
         !name.ends_with("_bench");
}

TEST(Layering, EveryIncludeFollowsTheTable) {
  const auto table = ReadTable();
  ASSERT_GE(table.size(), 15u);
  const std::regex include(R"re(^\s*#include "steadfast/([^/"]+)/)re");
  int includes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "steadfast")) {
    if (!IsSource(entry.path())) continue;
    const fs::path relative = fs::relative(entry.path(), kSource / "steadfast");
    const std::string room = relative.begin()->string();
    ASSERT_TRUE(table.contains(room)) << room << " is not in the table of docs/architecture.md";
    for (const auto& line : Split(ReadTextFile(entry.path()), '\n')) {
      std::smatch match;
      if (!std::regex_search(line, match, include)) continue;
      ++includes;
      EXPECT_TRUE(table.at(room).contains(match[1]))
          << relative << " includes " << match[1] << ", which the table does not allow";
    }
  }
  EXPECT_GT(includes, 100);
}

TEST(Layering, TheTableHasNoCircles) {
  const auto table = ReadTable();
  for (const auto& [room, uses] : table) {
    for (const auto& other : uses) {
      if (other == room) continue;
      ASSERT_TRUE(table.contains(other)) << room << " may use " << other << ", which is no room";
      EXPECT_FALSE(table.at(other).contains(room)) << room << " and " << other << " may use each other";
    }
  }
}

TEST(Layering, NothingDownstreamOfTheModelKnowsLibTorch) {
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "steadfast")) {
    if (!IsSource(entry.path())) continue;
    const std::string room = fs::relative(entry.path(), kSource / "steadfast").begin()->string();
    if (room == "train" || room == "analysis" || room == "cli_train") continue;
    EXPECT_EQ(ReadTextFile(entry.path()).find("#include <torch"), std::string::npos) << entry.path();
  }
}

}  // namespace
}  // namespace steadfast
