#include "steadfast/data/cifar.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/data/dataset.h"

namespace steadfast::data {
namespace {

namespace fs = std::filesystem;

// A file of a folder of its own: tests run side by side.
class CifarFile : public testing::Test {
 protected:
  fs::path Write(const std::string& bytes) const {
    const fs::path path = folder_.path() / "cifar.bin";
    WriteFileWhole(path, bytes);
    return path;
  }

  const TemporaryFolder folder_;
};

TEST_F(CifarFile, TakesTheFineLabelOfTwo) {
  std::string bytes;
  bytes += std::string("\x7\x63", 2) + std::string(kCifarPixels, 'p');
  const CifarRecords records = ReadCifar(Write(bytes), 2, 100, 1);
  EXPECT_EQ(records.labels, std::vector<uint16_t>{0x63});
  EXPECT_EQ(records.images.size(), size_t{kCifarPixels});
  EXPECT_EQ(records.images[0], 'p');
}

TEST_F(CifarFile, NamesOffsetAndExpectation) {
  const std::string record = '\x9' + std::string(kCifarPixels, 'p');
  try {
    ReadCifar(Write(record + record.substr(0, 100)), 1, 10, 2);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("offset 3073: file ends inside a record"), std::string::npos);
  }
  try {
    ReadCifar(Write(record + '\xa' + record.substr(1)), 1, 10, 2);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("offset 3073: label 10 of record 1, expected less than 10"),
              std::string::npos);
  }
}

TEST_F(CifarFile, NoticesWholeRecordsMissing) {
  const std::string record = '\x9' + std::string(kCifarPixels, 'p');
  EXPECT_THROW(ReadCifar(Write(record), 1, 10, 2), InputError);
  EXPECT_THROW(ReadCifar(Write(record + record + record), 1, 10, 2), InputError);
}

TEST(Cifar10, ReadsTheOfficialFiles) {
  if (std::getenv("STEADFAST_DATA") == nullptr || !FindDataset("cifar10", {})) {
    GTEST_SKIP() << "no CIFAR-10 under $STEADFAST_DATA";
  }
  const ImageSet test = LoadDataset("cifar10", {}, Split::kTest);
  EXPECT_EQ(test.shape, (ImageShape{3, 32, 32}));
  EXPECT_EQ(test.size(), 10000);
}

}  // namespace
}  // namespace steadfast::data
