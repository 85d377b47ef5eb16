#include "steadfast/data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"

namespace steadfast::data {
namespace {

TEST(LoadDataset, ReadsFashionMnist) {
  if (!FindDataset("fashion-mnist", {})) GTEST_SKIP() << "Fashion-MNIST is not installed";
  const ImageSet train = LoadDataset("fashion-mnist", {}, Split::kTrain);
  const ImageSet test = LoadDataset("fashion-mnist", {}, Split::kTest);
  EXPECT_EQ(train.size(), 60000);
  EXPECT_EQ(test.size(), 10000);
  EXPECT_EQ(test.shape, (ImageShape{1, 28, 28}));
  // Published mean and deviation of the training pixels: 0.2860, 0.3530.
  const InputScale scale = InputScaleOf(train);
  EXPECT_EQ(scale.zero_point, 73);
  EXPECT_NEAR(1 / (255 * scale.scale), 0.3530, 1e-4);
  // Both splits are balanced over 10 classes.
  for (uint8_t label = 0; label < 10; ++label) {
    EXPECT_EQ(std::count(test.labels.begin(), test.labels.end(), label), 1000);
  }
}

TEST(LoadDataset, SaysWhatToDo) {
  try {
    LoadDataset("fashon-mnist", {}, Split::kTest);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean fashion-mnist?"), std::string::npos);
  }
  try {
    LoadDataset("cifar10", {.folder = "/nonexistent"}, Split::kTest);
    FAIL();
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("To get it"), std::string::npos);
  }
}

// As its archive unpacks: in DIR, in DIR/cifar10, or without the folder inside.
TEST(LoadDataset, LooksIntoTheFolderInside) {
  for (const char* inside : {"cifar-10-batches-bin", "cifar10/cifar-10-batches-bin", "cifar10", "."}) {
    const TemporaryFolder folder;
    EXPECT_FALSE(FindDataset("cifar10", {.folder = folder.path()}));
    const std::filesystem::path place = folder.path() / inside;
    for (const char* file : {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                             "data_batch_5.bin", "test_batch.bin"})
      WriteFileWhole(place / file, "x");
    const auto found = FindDataset("cifar10", {.folder = folder.path()});
    ASSERT_TRUE(found) << inside;
    EXPECT_TRUE(std::filesystem::equivalent(*found, place)) << *found;
  }
}

TEST(LoadDataset, DoesNotTakeFashionForDigits) {
  if (!FindDataset("fashion-mnist", {})) GTEST_SKIP() << "Fashion-MNIST is not installed";
  const DataLocation location{"/usr/share/datasets/fashion-mnist"};
  EXPECT_THROW(LoadDataset("mnist", location, Split::kTest), InputError);
  EXPECT_EQ(LoadDataset("idx", location, Split::kTest).size(), 10000);
}

TEST(HoldOutValidation, PartitionsTheTrainingSet) {
  const ValidationSplit split = HoldOutValidation(60000);
  EXPECT_EQ(split.validation.size(), 5000u);
  std::vector<int64_t> all = split.training;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  std::sort(all.begin(), all.end());
  std::vector<int64_t> expected(60000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
  EXPECT_EQ(split.validation, HoldOutValidation(60000).validation);
}

TEST(Permutation, DependsOnSeedAndStream) {
  EXPECT_EQ(Permutation(100, 1, 2), Permutation(100, 1, 2));
  EXPECT_NE(Permutation(100, 1, 2), Permutation(100, 1, 3));
  EXPECT_NE(Permutation(100, 1, 2), Permutation(100, 2, 2));
}

TEST(HashOf, ChangesWithContent) {
  ImageSet set{{1, 1, 2}, 10, {1, 2, 3, 4}, {0, 1}};
  const std::string before = HashOf(set);
  set.labels[1] = 2;
  EXPECT_NE(HashOf(set), before);
}

}  // namespace
}  // namespace steadfast::data
