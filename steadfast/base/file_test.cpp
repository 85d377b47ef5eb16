#include "steadfast/base/file.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;

TEST(WriteFileWhole, ReplacesAndLeavesNothingElseBehind) {
  const TemporaryFolder temporary;
  const fs::path folder = temporary.path() / "deep";
  WriteFileWhole(folder / "a.txt", "first");
  WriteFileWhole(folder / "a.txt", "second");
  EXPECT_EQ(ReadTextFile(folder / "a.txt"), "second");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
}

TEST(ReadFile, NamesTheFileItCannotRead) {
  try {
    ReadFile("/nonexistent/steadfast");
    FAIL();
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("/nonexistent/steadfast"), std::string::npos);
  }
}

TEST(ReadFile, RefusesMoreThanItsLimit) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "limit";
  WriteFileWhole(path, "12345");
  EXPECT_THROW(ReadFile(path, 4), InputError);
  EXPECT_EQ(ReadFile(path, 5).size(), 5u);
}

}  // namespace
}  // namespace steadfast
