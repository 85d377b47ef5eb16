// Image classification datasets as raw bytes and labels, found by name.
//
// Networks take raw bytes with one scale and one zero point: the training set's mean pixel, rounded, is the zero point,
// and 1/(255 sigma) the scale, so normalization loses nothing and zero padding is exact.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "steadfast/data/npy.h"  // NpyArray

namespace steadfast::data {

struct ImageShape {
  int channels;
  int height;
  int width;
  int64_t pixels() const { return int64_t{channels} * height * width; }
  bool operator==(const ImageShape&) const = default;
};

// What the elements of images are: bytes, of which it is said elsewhere what they mean; codes as a network's int8 input
// has them; or real numbers.
enum class Elements : uint8_t { kBytes, kCodes, kReals };

struct ImageSet {
  ImageShape shape = {};
  int classes = 0;
  std::vector<uint8_t> images;   // [n, channels, height, width]; codes as code + 128, real numbers as float32
  std::vector<uint16_t> labels;  // [n], each below classes
  Elements elements = Elements::kBytes;

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  int64_t bytes_per_image() const { return shape.pixels() * (elements == Elements::kReals ? 4 : 1); }
  std::span<const uint8_t> image(int64_t i) const {
    return std::span(images).subspan(static_cast<size_t>(i * bytes_per_image()),
                                     static_cast<size_t>(bytes_per_image()));
  }
};

// SHA-256 of shape, images and labels: the same for the same content, however it was stored.
std::string HashOf(const ImageSet& set);

// Throws InputError where the two cannot be splits of one dataset: other shapes, or classes that training lacks.
void CheckSplits(const ImageSet& training, const ImageSet& test, const std::string& name);

// How raw bytes become numbers: value = scale * (byte - zero_point).
struct InputScale {
  float scale;
  int zero_point;
};
InputScale InputScaleOf(const ImageSet& training_set);

enum class Split { kTrain, kTest };

struct DatasetInfo {
  std::string name;                      // "fashion-mnist"
  std::string description;               // "28 x 28 grey images of clothes, 10 classes"
  std::string layout;                    // the files that belong to it
  std::string how_to_get;                // what to do where it is missing
  std::filesystem::path default_folder;  // looked at last; empty: none
};

// All datasets known by name, in the order in which `steadfast data` shows them.
const std::vector<DatasetInfo>& KnownDatasets();

// How far reading a folder of images is. The first call, with none read, comes before memory for them is taken; calls
// come one after the other, from any thread.
struct ReadingProgress {
  std::filesystem::path folder;
  int64_t read, images;
  int64_t bytes;  // of memory, for all of them
};
// "reading DIR: 1200 of 50000 images, which take 7.5 GB of memory"
std::string Describe(const ReadingProgress& progress);
// Whether they take so much that it should be said beforehand, and stay to be read: a gigabyte.
bool IsMuch(const ReadingProgress& progress);
// Shows how far reading is on standard error; where images take much memory, a line that stays says so beforehand.
std::function<void(const ReadingProgress&)> ReadingLine();

// Where to look for datasets: `folder` (--data; it or its subfolder NAME), else $STEADFAST_DATA/NAME, else the
// dataset's default folder.
struct DataLocation {
  std::filesystem::path folder;                                 // empty: not given
  std::function<void(const ReadingProgress&)> on_reading = {};  // of what may take long
  bool takes_bytes_alone = true;                                // other elements are refused
};

// The folder where the dataset's files are, or nothing.
std::optional<std::filesystem::path> FindDataset(const std::string& name, const DataLocation& location);

// Reads one split. Throws UsageError for an unknown name, IoError where the files are not found (with what to do), and
// InputError for damaged ones, and for folders of images that need more memory than there is.
ImageSet LoadDataset(const std::string& name, const DataLocation& location, Split split);

// Images of an array of bytes (uint8), codes (int8) or real numbers (float32), without labels: [n, features], [n, rows,
// columns], [n, channels, rows, columns], or [n, rows, columns, channels] where only that can be meant: up to 4
// channels, and more rows. Throws InputError.
ImageSet ImagesOfArray(NpyArray array, const std::string& name);

// Which training images are held out for validation: a fixed pseudo-random choice, the same for every training seed.
struct ValidationSplit {
  std::vector<int64_t> training;    // ascending
  std::vector<int64_t> validation;  // ascending
};
inline constexpr int64_t kValidationImages = 5000;
ValidationSplit HoldOutValidation(int64_t images, int64_t held_out = kValidationImages);

// "test=0.2" behind a dataset's name: a fixed pseudo-random fifth of its images is for testing. Throws UsageError.
double ParseTestShare(const std::string& dataset, const std::string& option);
// Which of so many images belong to a split, ascending; each split has at least one.
std::vector<int64_t> PartOf(int64_t images, double test_share, Split split);

// A pseudo-random order of 0 … count-1 that depends on (seed, stream) alone.
std::vector<int64_t> Permutation(int64_t count, uint64_t seed, uint32_t stream);

}  // namespace steadfast::data
