#include "steadfast/data/npy.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <set>

#include <cstring>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/data/dataset.h"

namespace steadfast::data {
namespace {

namespace fs = std::filesystem;

// As numpy.save writes it.
std::string Npy(const std::string& type, const std::string& shape, const std::string& data) {
  std::string header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
  header.resize((header.size() + 11 + 63) / 64 * 64 - 11, ' ');
  header += '\n';
  std::string bytes = "\x93NUMPY";
  bytes += std::string{'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  return bytes + header + data;
}

std::string Number(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
  return text;
}

std::string Deflated(const std::string& data) {
  std::string out(compressBound(data.size()) + 16, '\0');
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// As numpy.savez (stored) or savez_compressed write it.
std::string Zip(const std::vector<std::pair<std::string, std::string>>& files, bool compressed) {
  std::string bytes, directory;
  for (const auto& [name, content] : files) {
    const std::string data = compressed ? Deflated(content) : content;
    const std::string common = Number(20, 2) + Number(0, 2) + Number(compressed ? 8 : 0, 2) + Number(0, 8) +
                               Number(data.size(), 4) + Number(content.size(), 4) + Number(name.size(), 2) +
                               Number(0, 2);
    directory += "PK\1\2" + Number(20, 2) + common + Number(0, 10) + Number(bytes.size(), 4) + name;
    bytes += "PK\3\4" + common + name + data;
  }
  const size_t at = bytes.size();
  return bytes + directory + "PK\5\6" + Number(0, 4) + Number(files.size(), 2) + Number(files.size(), 2) +
         Number(directory.size(), 4) + Number(at, 4) + Number(0, 2);
}

std::vector<uint8_t> Bytes(const std::string& text) {
  return {text.begin(), text.end()};
}

std::string MessageOf(const std::string& bytes) {
  try {
    ParseNpy(Bytes(bytes), "x.npy");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Npy, ReadsTypesAndShapes) {
  const NpyArray bytes = ParseNpy(Bytes(Npy("|u1", "(2, 3)", "abcdef")), "x");
  EXPECT_EQ(bytes.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(std::string(bytes.bytes.begin(), bytes.bytes.end()), "abcdef");
  EXPECT_EQ(IntegersOf(ParseNpy(Bytes(Npy("<i2", "(2,)", Number(7, 2) + Number(0xFFFF, 2))), "x"), "x"),
            (std::vector<int64_t>{7, -1}));
  EXPECT_EQ(IntegersOf(ParseNpy(Bytes(Npy("<i8", "(1,)", Number(9, 8))), "x"), "x"), (std::vector<int64_t>{9}));
  EXPECT_THROW(IntegersOf(ParseNpy(Bytes(Npy("<f4", "(1,)", Number(0, 4))), "x"), "x"), InputError);
}

TEST(Npy, SaysWhatIsWrong) {
  EXPECT_NE(MessageOf("text").find("is not a NumPy array file"), std::string::npos);
  EXPECT_NE(MessageOf(Npy("|u1", "(2, 3)", "abcde")).find("has 5 bytes of data, expected 6 ([2, 3] of |u1)"),
            std::string::npos);
  EXPECT_NE(MessageOf(Npy(">i4", "(1,)", "abcd")).find("big-endian"), std::string::npos);
  EXPECT_NE(MessageOf(Npy("|u1", "(99999999999, 99999999999)", "")).find("impossible"), std::string::npos);
  std::string fortran = Npy("|u1", "(1,)", "a");
  fortran.replace(fortran.find("False"), 5, "True ");
  EXPECT_NE(MessageOf(fortran).find("Fortran"), std::string::npos);
  // Cut off anywhere, it is an error and nothing worse.
  const std::string whole = Npy("<i4", "(2,)", "abcdefgh");
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_NE(MessageOf(whole.substr(0, size)), "no error") << size;
}

class NpyDataset : public testing::Test {
 protected:
  static std::string Pixels(int count) {
    std::string pixels;
    for (int i = 0; i < count; ++i) pixels += static_cast<char>(i * 7);
    return pixels;
  }
  // 3 training and 2 test images of 2 channels, 5 x 6.
  static std::vector<std::pair<std::string, std::string>> Files() {
    return {{"train_images", Npy("|u1", "(3, 2, 5, 6)", Pixels(180))},
            {"train_labels", Npy("<i8", "(3,)", Number(0, 8) + Number(3, 8) + Number(1, 8))},
            {"test_images", Npy("|u1", "(2, 2, 5, 6)", Pixels(120))},
            {"test_labels", Npy("|u1", "(2,)", std::string{1, 4})}};
  }
  const TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(NpyDataset, IsTheSameAsFilesAndAsAnArchive) {
  std::vector<std::pair<std::string, std::string>> named;
  for (const auto& [name, content] : Files()) {
    WriteFileWhole(folder_ / (name + ".npy"), content);
    named.emplace_back(name + ".npy", content);
  }
  const ImageSet train = LoadDataset("npy", {folder_}, Split::kTrain),
                 test = LoadDataset("npy", {folder_}, Split::kTest);
  EXPECT_EQ(train.shape, (ImageShape{2, 5, 6}));
  EXPECT_EQ(train.labels, (std::vector<uint16_t>{0, 3, 1}));
  EXPECT_EQ(test.labels, (std::vector<uint16_t>{1, 4}));
  EXPECT_EQ(train.classes, 5);  // as many as either has
  EXPECT_EQ(test.classes, 5);
  for (const bool compressed : {false, true}) {
    fs::remove(folder_ / "train_images.npy");
    WriteFileWhole(folder_ / "arrays.npz", Zip(named, compressed));
    EXPECT_EQ(HashOf(LoadDataset("npy", {folder_}, Split::kTrain)), HashOf(train));
    EXPECT_EQ(HashOf(LoadDataset("npy", {folder_}, Split::kTest)), HashOf(test));
  }
  std::string damaged = Zip(named, true);
  damaged[60] = static_cast<char>(damaged[60] ^ 0x55);
  WriteFileWhole(folder_ / "arrays.npz", damaged);
  EXPECT_THROW(LoadDataset("npy", {folder_}, Split::kTrain), InputError);
}

// Every image is on one side, always the same one, with its own label.
TEST_F(NpyDataset, SharesOneArrayBetweenTheSplits) {
  std::string images, labels;
  for (int i = 0; i < 20; ++i) {
    images += std::string(4, static_cast<char>(i));
    labels += static_cast<char>(i % 3);
  }
  WriteFileWhole(folder_ / "images.npy", Npy("|u1", "(20, 4)", images));
  WriteFileWhole(folder_ / "labels.npy", Npy("|u1", "(20,)", labels));
  const ImageSet train = LoadDataset("npy:test=0.25", {folder_}, Split::kTrain),
                 test = LoadDataset("npy:test=0.25", {folder_}, Split::kTest);
  EXPECT_EQ(test.size(), 5);
  EXPECT_EQ(train.size(), 15);
  std::set<int> seen;
  for (const ImageSet* set : {&train, &test}) {
    EXPECT_EQ(set->classes, 3);
    for (int64_t i = 0; i < set->size(); ++i) {
      const int image = set->image(i)[0];
      EXPECT_TRUE(seen.insert(image).second);
      EXPECT_EQ(set->labels[static_cast<size_t>(i)], image % 3);
    }
  }
  EXPECT_EQ(seen.size(), 20u);
  EXPECT_EQ(HashOf(LoadDataset("npy:test=0.25", {folder_}, Split::kTest)), HashOf(test));
  EXPECT_THROW(LoadDataset("npy", {folder_}, Split::kTest), IoError);
  for (const char* name : {"npy:test=0", "npy:test=1", "npy:test=x", "npy:share=0.2", "npy:"})
    EXPECT_THROW(LoadDataset(name, {folder_}, Split::kTest), UsageError) << name;
}

TEST_F(NpyDataset, TakesChannelsLastAndFeatures) {
  auto files = Files();
  // The same pixels with channels last.
  std::string last(180, '\0');
  const std::string first = Pixels(180);
  for (size_t n = 0; n < 3; ++n) {
    for (size_t c = 0; c < 2; ++c) {
      for (size_t p = 0; p < 30; ++p) last[n * 60 + p * 2 + c] = first[n * 60 + c * 30 + p];
    }
  }
  files[0].second = Npy("|u1", "(3, 5, 6, 2)", last);
  for (const auto& [name, content] : files) WriteFileWhole(folder_ / (name + ".npy"), content);
  const ImageSet train = LoadDataset("npy", {folder_}, Split::kTrain);
  EXPECT_EQ(train.shape, (ImageShape{2, 5, 6}));
  EXPECT_EQ(std::string(train.images.begin(), train.images.end()), first);
  WriteFileWhole(folder_ / "train_images.npy", Npy("|u1", "(3, 60)", first));
  EXPECT_EQ(LoadDataset("npy", {folder_}, Split::kTrain).shape, (ImageShape{60, 1, 1}));
  WriteFileWhole(folder_ / "train_images.npy", Npy("<f4", "(3, 15)", first));
  EXPECT_THROW(LoadDataset("npy", {folder_}, Split::kTrain), InputError);
  WriteFileWhole(folder_ / "train_images.npy", Npy("|u1", "(2, 90)", first));
  EXPECT_THROW(LoadDataset("npy", {folder_}, Split::kTrain), InputError);
}

}  // namespace
}  // namespace steadfast::data
