// Holds every include of the sources to the table of rooms in docs/architecture.md.
#include <gtest/gtest.h>

#include <algorithm>
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

// Of any length: rooms are taken away as long as one uses no other that is left.
TEST(Layering, TheTableHasNoCircles) {
  auto table = ReadTable();
  for (const auto& [room, uses] : table) {
    for (const auto& other : uses)
      ASSERT_TRUE(table.contains(other)) << room << " may use " << other << ", which is no room";
  }
  for (bool removed = true; removed && !table.empty();) {
    removed = false;
    for (auto it = table.begin(); it != table.end();) {
      const bool free = std::all_of(it->second.begin(), it->second.end(), [&](const std::string& other) {
        return other == it->first || !table.contains(other);
      });
      removed |= free;
      it = free ? table.erase(it) : std::next(it);
    }
  }
  std::string left;
  for (const auto& [room, uses] : table) left += room + " ";
  EXPECT_EQ(left, "") << "these rooms use each other in a circle";
}

// What CMake links is what the table allows.
TEST(Layering, BuildFilesFollowTheTable) {
  const auto table = ReadTable();
  int rooms = 0, programs = 0;
  for (const auto& [room, uses] : table) {
    const std::string text = ReadTextFile(kSource / "steadfast" / room / "CMakeLists.txt");
    std::smatch match;
    if (!std::regex_search(text, match, std::regex(R"re(steadfast_room\((\w+)[\s\S]*?\))re"))) {
      ++programs;  // which links rooms that it may use; these bring the others
      const std::regex library("steadfast_(\\w+)");
      const std::string links = text.substr(text.find("target_link_libraries"));
      for (std::sregex_iterator found(links.begin(), links.end(), library), end; found != end; ++found) {
        const std::string other = (*found)[1];
        EXPECT_TRUE(!table.contains(other) || uses.contains(other)) << room << " links " << other;
      }
      continue;
    }
    ++rooms;
    std::set<std::string> linked = {room};
    const std::string arguments = match[0];
    if (std::regex_search(arguments, match, std::regex(R"re(\n\s*USES ([^\n)]*))re"))) {
      for (const auto& other : Split(match[1].str(), ' ')) {
        if (!Trimmed(other).empty()) linked.insert(Trimmed(other));
      }
    }
    EXPECT_EQ(linked, uses) << room << ": USES in its CMakeLists.txt, and the table of docs/architecture.md";
  }
  EXPECT_GE(rooms, 13);
  EXPECT_EQ(programs, 3);  // and a module
}

TEST(Layering, NothingDownstreamOfTheModelKnowsLibTorch) {
  for (const auto& entry : fs::recursive_directory_iterator(kSource / "steadfast")) {
    if (!IsSource(entry.path())) continue;
    const std::string room = fs::relative(entry.path(), kSource / "steadfast").begin()->string();
    if (room == "train" || room == "analysis" || room == "cli_train") continue;
    EXPECT_EQ(ReadTextFile(entry.path()).find("#include <torch"), std::string::npos) << entry.path();
  }
}

// What is built for machines that only an emulator stands for has all of the engine: CI does not link it.
TEST(Layering, TheEngineAloneHasAllOfItsFiles) {
  const std::string list = ReadTextFile(kSource / "tests" / "engine_only" / "CMakeLists.txt");
  int files = 0;
  for (const char* folder : {"engine", "engine/kernels", "engine/operators"}) {
    for (const auto& entry : fs::directory_iterator(kSource / "steadfast" / folder)) {
      if (entry.path().extension() != ".cpp" || !IsSource(entry.path())) continue;
      const std::string name =
          fs::relative(entry.path(), kSource / "steadfast" / "engine").replace_extension().string();
      const bool is_named = std::regex_search(list, std::regex("[ (]" + name + "[ )\n]"));
      if (name == "class_scores") continue;  // which nothing there needs
      EXPECT_TRUE(is_named) << name << ": tests/engine_only/CMakeLists.txt lacks it";
      ++files;
    }
  }
  EXPECT_GT(files, 40);
}

// Tests run side by side, in processes of their own: a file whose name two of them share is now and then the other's.
TEST(Layering, TestsWriteToFoldersOfTheirOwn) {
  int tests = 0;
  for (const char* room : {"steadfast", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kSource / room)) {
      const std::string name = entry.path().filename().string();
      if ((!name.ends_with("_test.cpp") && !name.ends_with("fixture.h")) || name == "layering_test.cpp") continue;
      ++tests;
      EXPECT_EQ(ReadTextFile(entry.path()).find("TempDir()"), std::string::npos)
          << entry.path() << " writes to a folder that tests share: use TemporaryFolder of base/file.h";
    }
  }
  EXPECT_GT(tests, 50);
}

}  // namespace
}  // namespace steadfast
