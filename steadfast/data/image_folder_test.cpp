#include "steadfast/data/image_folder.h"

#include <cstdio>

#include <gtest/gtest.h>
#include <jpeglib.h>
#include <png.h>
#include <set>

#include <cstdlib>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/machine.h"

namespace steadfast::data {
namespace {

namespace fs = std::filesystem;

// The pixel at (x, y) of a picture with a gradient in each channel.
std::vector<uint8_t> Gradient(int width, int height, int start) {
  std::vector<uint8_t> pixels;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      pixels.push_back(static_cast<uint8_t>(start + 5 * x));
      pixels.push_back(static_cast<uint8_t>(start + 3 * y));
      pixels.push_back(static_cast<uint8_t>(start));
    }
  }
  return pixels;
}

void WritePng(const fs::path& path, int width, int height, const std::vector<uint8_t>& pixels) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_RGB;
  ASSERT_NE(png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0, nullptr), 0);
}

void WriteJpeg(const fs::path& path, int width, int height, std::vector<uint8_t> pixels) {
  jpeg_compress_struct encoder = {};
  jpeg_error_mgr errors = {};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&encoder, &bytes, &size);
  encoder.image_width = static_cast<JDIMENSION>(width);
  encoder.image_height = static_cast<JDIMENSION>(height);
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, 100, TRUE);
  jpeg_start_compress(&encoder, TRUE);
  for (int y = 0; y < height; ++y) {
    JSAMPROW row = pixels.data() + y * width * 3;
    jpeg_write_scanlines(&encoder, &row, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  WriteFileWhole(path, std::string(reinterpret_cast<const char*>(bytes), size));
  std::free(bytes);
}

class ImageFolder : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* part : {"train/cats", "train/dogs", "train/birds", "test/dogs", "test/cats"})
      fs::create_directories(folder_ / part);
    WritePng(folder_ / "train/birds/a.png", 6, 4, Gradient(6, 4, 10));
    WritePng(folder_ / "train/cats/b.png", 6, 4, Gradient(6, 4, 20));
    WritePng(folder_ / "train/cats/a.png", 6, 4, Gradient(6, 4, 30));
    WriteJpeg(folder_ / "train/dogs/x.JPG", 6, 4, Gradient(6, 4, 40));
    WritePng(folder_ / "test/dogs/one.png", 6, 4, Gradient(6, 4, 50));
    WriteFileWhole(folder_ / "train/dogs/readme.txt", "not an image");
  }
  std::string MessageOf(const std::string& dataset) const {
    try {
      LoadDataset(dataset, {folder_}, Split::kTrain);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  const TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(ImageFolder, ReadsClassesInTheOrderOfTheirNames) {
  const ImageSet train = LoadDataset("images", {folder_}, Split::kTrain);
  EXPECT_EQ(train.shape, (ImageShape{3, 4, 6}));
  EXPECT_EQ(train.classes, 3);
  EXPECT_EQ(train.labels, (std::vector<uint16_t>{0, 1, 1, 2}));
  // Channels first; files of a class by name.
  EXPECT_EQ(train.image(0)[1], 15);
  EXPECT_EQ(train.image(1)[0], 30);
  EXPECT_EQ(train.image(2)[24 + 6], 23);
  for (int64_t i = 0; i < 72; ++i) {  // a JPEG of the best quality is near
    const int expected = 40 + (i < 24 ? 5 * (i % 6) : i < 48 ? 3 * (i % 24 / 6) : 0);
    EXPECT_NEAR(train.image(3)[static_cast<size_t>(i)], expected, 12) << i;
  }
  const ImageSet test = LoadDataset("images", {folder_}, Split::kTest);
  EXPECT_EQ(test.labels, (std::vector<uint16_t>{2}));
  EXPECT_EQ(test.classes, 3);
}

TEST_F(ImageFolder, MakesPixelsOfAnotherSizeTheMeansOfWhatTheyCover) {
  const Picture picture{6, 4, Gradient(6, 4, 10)};
  const Picture half = Resized(picture, 3, 2);
  EXPECT_EQ(half.pixels[0], 13);  // (10 + 15) / 2, and a half is rounded up
  EXPECT_EQ(half.pixels[1], 12);  // (10 + 13) / 2
  EXPECT_EQ(half.pixels[3], 23);  // (20 + 25) / 2
  const Picture four = Resized(picture, 4, 4);
  EXPECT_EQ(four.pixels[0], 12);  // (10 + 15 / 2) / 1.5 = 11.67
  EXPECT_EQ(four.pixels[3], 18);  // (15 / 2 + 20) / 1.5 = 18.33
  const Picture twice = Resized(picture, 12, 8);
  EXPECT_EQ(twice.pixels[0], 10);
  EXPECT_EQ(twice.pixels[3], 10);
  EXPECT_EQ(twice.pixels[6], 15);
  const ImageSet set = LoadDataset("images:3x2:grey", {folder_}, Split::kTrain);
  EXPECT_EQ(set.shape, (ImageShape{1, 2, 3}));
  EXPECT_EQ(set.image(0)[0], (299 * 13 + 587 * 12 + 114 * 10 + 500) / 1000);
}

TEST_F(ImageFolder, SharesFoldersBetweenTheSplits) {
  const auto load = [&](enum Split split) { return LoadDataset("images:test=0.5", {folder_ / "train"}, split); };
  const ImageSet train = load(Split::kTrain), test = load(Split::kTest);
  EXPECT_EQ(train.size(), 2);
  EXPECT_EQ(test.size(), 2);
  EXPECT_EQ(test.classes, 3);
  std::multiset<int> labels;
  for (const ImageSet* set : {&train, &test}) labels.insert(set->labels.begin(), set->labels.end());
  EXPECT_EQ(labels, (std::multiset<int>{0, 1, 1, 2}));
  EXPECT_NE(MessageOf("images:test=2").find("share"), std::string::npos);
}

TEST_F(ImageFolder, SaysWhatMemoryItTakesBeforehand) {
  std::vector<ReadingProgress> seen;
  const DataLocation location{folder_, [&](const ReadingProgress& progress) { seen.push_back(progress); }};
  const ImageSet set = LoadDataset("images:3x2", location, Split::kTrain);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].read, 0);
  EXPECT_EQ(seen[1].read, set.size());
  EXPECT_EQ(seen[0].bytes, static_cast<int64_t>(set.images.size()));
  EXPECT_NE(Describe(seen[0]).find("train: 0 of 4 images, which take 0.0 MB of memory"), std::string::npos)
      << Describe(seen[0]);
  EXPECT_FALSE(IsMuch(seen[0]));
}

TEST_F(ImageFolder, RefusesWhatMemoryDoesNotHold) {
  EXPECT_GT(AvailableMemory(), 0);
  const ReadingProgress large{folder_, 0, 1'281'167, int64_t{1'281'167} * 3 * 224 * 224};
  EXPECT_TRUE(IsMuch(large));
  EXPECT_NO_THROW(CheckMemory(large, {3, 224, 224}, large.bytes + 1));
  EXPECT_NO_THROW(CheckMemory(large, {3, 224, 224}, 0));
  try {
    CheckMemory(large, {3, 224, 224}, int64_t{8} << 30);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(
        std::string(error.what()).find("1281167 images of 3 x 224 x 224 alone take 192.9 GB of memory, and 8.6 GB"),
        std::string::npos)
        << error.what();
  }
}

TEST_F(ImageFolder, SaysWhatIsWrong) {
  EXPECT_EQ(MessageOf("images"), "");
  EXPECT_NE(MessageOf("images:3").find("expected WIDTHxHEIGHT, grey or test=SHARE"), std::string::npos);
  EXPECT_NE(MessageOf("images:0x4").find("a size"), std::string::npos);
  const std::string whole = ReadTextFile(folder_ / "train/cats/b.png");
  WriteFileWhole(folder_ / "train/cats/b.png", whole.substr(0, whole.size() / 2));
  EXPECT_NE(MessageOf("images").find("b.png: is not a whole PNG file"), std::string::npos) << MessageOf("images");
  WritePng(folder_ / "train/cats/b.png", 5, 4, Gradient(5, 4, 20));
  EXPECT_NE(MessageOf("images").find("b.png: has 5 x 4 pixels"), std::string::npos);
  EXPECT_NE(MessageOf("images").find("--dataset images:6x4"), std::string::npos);
  EXPECT_EQ(MessageOf("images:6x4"), "");
  const std::string jpeg = ReadTextFile(folder_ / "train/dogs/x.JPG");
  WriteFileWhole(folder_ / "train/dogs/x.JPG", jpeg.substr(0, jpeg.size() - 40));
  EXPECT_NE(MessageOf("images:6x4").find("x.JPG: is not a whole JPEG file"), std::string::npos)
      << MessageOf("images:6x4");
  WriteFileWhole(folder_ / "train/dogs/x.JPG", "text");
  EXPECT_NE(MessageOf("images:6x4").find("x.JPG: is not a whole JPEG file"), std::string::npos);
  fs::create_directories(folder_ / "test/fish");
  try {
    LoadDataset("images:6x4", {folder_}, Split::kTest);
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("has a class 'fish'"), std::string::npos);
  }
  fs::remove_all(folder_ / "train");
  EXPECT_NE(MessageOf("images").find("expected train/CLASS"), std::string::npos) << MessageOf("images");
}

}  // namespace
}  // namespace steadfast::data
