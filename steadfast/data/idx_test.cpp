#include "steadfast/data/idx.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <zlib.h>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"

namespace steadfast::data {
namespace {

namespace fs = std::filesystem;

const std::string kTwoByThree(
    "\0\0\x8\x2\0\0\0\x2\0\0\0\x3"
    "abcdef",
    18);

// Of this process alone: tests run side by side.
const fs::path& Folder() {
  static const TemporaryFolder folder;
  return folder.path();
}

fs::path Write(const std::string& name, const std::string& bytes) {
  const fs::path path = Folder() / name;
  WriteFileWhole(path, bytes);
  return path;
}

std::string Gzip(const std::string& bytes) {
  const fs::path path = Folder() / "gzip";
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  return ReadTextFile(path);
}

std::string MessageOf(const fs::path& path, int dimensions) {
  try {
    ReadIdx(path, dimensions);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ReadIdx, ReadsPlainAndCompressed) {
  for (const std::string& bytes : {kTwoByThree, Gzip(kTwoByThree)}) {
    const IdxArray array = ReadIdx(Write("good", bytes), 2);
    EXPECT_EQ(array.shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(std::string(array.values.begin(), array.values.end()), "abcdef");
  }
}

TEST(ReadIdx, NamesOffsetAndExpectation) {
  EXPECT_NE(MessageOf(Write("short", kTwoByThree.substr(0, 15)), 2).find("offset 15: file ends after 3 of 6"),
            std::string::npos);
  EXPECT_NE(MessageOf(Write("long", kTwoByThree + "x"), 2).find("offset 19: bytes follow the 6 elements"),
            std::string::npos);
  EXPECT_NE(MessageOf(Write("foreign", "PNG is another format"), 2).find("expected 00000802"), std::string::npos);
  EXPECT_NE(MessageOf(Write("other", kTwoByThree), 3).find("found magic number 00000802, expected 00000803"),
            std::string::npos);
  EXPECT_NE(MessageOf(Write("header", kTwoByThree.substr(0, 10)), 2).find("inside dimension 2"), std::string::npos);
  EXPECT_NE(MessageOf(Write("cut.gz", Gzip(kTwoByThree).substr(0, 20)), 2).find("gzip data"), std::string::npos);
}

TEST(ReadIdx, DoesNotBelieveAHugeHeader) {
  const std::string huge("\0\0\x8\x2\x7f\xff\xff\xff\x7f\xff\xff\xff", 12);
  EXPECT_NE(MessageOf(Write("huge", huge), 2).find("makes no array"), std::string::npos);
  const std::string large("\0\0\x8\x2\0\0\xff\xff\0\0\xff\xff", 12);
  EXPECT_NE(MessageOf(Write("large", large), 2).find("file ends after 0 of"), std::string::npos);
}

RC_GTEST_PROP(ReadIdx, NeverCrashesOnAnyBytes, (const std::string& tail)) {
  const fs::path path = Write("random", kTwoByThree.substr(0, 4) + tail);
  try {
    const IdxArray array = ReadIdx(path, 2);
    RC_ASSERT(static_cast<int64_t>(array.values.size()) == array.shape[0] * array.shape[1]);
  } catch (const InputError&) {
  }
}

}  // namespace
}  // namespace steadfast::data
