#include "steadfast/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>

#include "steadfast/base/error.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/philox.h"
#include "steadfast/base/progress.h"
#include "steadfast/base/text.h"   // DidYouMean
#include "steadfast/data/cifar.h"  // ReadCifar
#include "steadfast/data/idx.h"    // ReadIdx
#include "steadfast/data/image_folder.h"
#include "steadfast/data/npy.h"

namespace steadfast::data {
namespace {

namespace fs = std::filesystem;

// The path of a file in `folder`, plain or with .gz, or nothing if the folder has neither.
std::optional<fs::path> FindFile(const fs::path& folder, const std::string& name) {
  std::error_code ignored;
  for (const char* ending : {"", ".gz"}) {
    const fs::path path = folder / (name + ending);
    if (fs::is_regular_file(path, ignored)) return path;
  }
  return std::nullopt;
}

struct IdxNames {
  std::string images;
  std::string labels;
};

IdxNames IdxFiles(Split split) {
  const std::string stem = split == Split::kTrain ? "train" : "t10k";
  return {stem + "-images-idx3-ubyte", stem + "-labels-idx1-ubyte"};
}

std::vector<std::string> CifarFiles(const std::string& name, Split split) {
  if (name == "cifar100") return {split == Split::kTrain ? "train.bin" : "test.bin"};
  if (split == Split::kTest) return {"test_batch.bin"};
  std::vector<std::string> files;
  for (int batch = 1; batch <= 5; ++batch) files.push_back(fmt::format("data_batch_{}.bin", batch));
  return files;
}

int64_t RecordsPerFile(const std::string& name, Split split) {
  return name == "cifar100" && split == Split::kTrain ? 50000 : 10000;
}

bool IsCifar(const std::string& name) {
  return name.starts_with("cifar");
}

std::vector<std::string> AllFiles(const std::string& name) {
  std::vector<std::string> files;
  for (Split split : {Split::kTrain, Split::kTest}) {
    if (IsCifar(name)) {
      for (const auto& file : CifarFiles(name, split)) files.push_back(file);
    } else {
      files.push_back(IdxFiles(split).images);
      files.push_back(IdxFiles(split).labels);
    }
  }
  return files;
}

constexpr const char* kArchive = "arrays.npz";
constexpr uint64_t kFixedSeed = 20240614;  // of no meaning; one choice for everyone

// "npy", or "npy:test=0.2": 0 where each split has arrays of its own.
bool IsArrays(const std::string& name) {
  return name == "npy" || name.starts_with("npy:");
}
double TestShareOfArrays(const std::string& name) {
  return name == "npy" ? 0.0 : ParseTestShare(name, name.substr(4));
}
std::vector<std::string> ArraysOf(double test_share) {
  if (test_share > 0) return {"images", "labels"};
  return {"train_images", "train_labels", "test_images", "test_labels"};
}

bool HoldsAll(const fs::path& folder, const std::string& name) {
  if (IsImageFolder(name)) return HoldsImageFolders(folder, ParseImageFolder(name));
  if (IsArrays(name)) {
    const auto arrays = ArraysOf(TestShareOfArrays(name));
    const auto is_there = [&](const std::string& file) { return FindFile(folder, file) == folder / file; };
    return is_there(kArchive) || std::all_of(arrays.begin(), arrays.end(),
                                             [&](const std::string& array) { return is_there(array + ".npy"); });
  }
  const auto files = AllFiles(name);
  return std::all_of(files.begin(), files.end(), [&](const auto& file) { return FindFile(folder, file).has_value(); });
}

const DatasetInfo& InfoOf(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& info : KnownDatasets()) {
    const bool is_kind = (info.name == "images" && IsImageFolder(name)) || (info.name == "npy" && IsArrays(name));
    if (info.name == name || is_kind) return info;
    names.push_back(info.name);
  }
  throw UsageError(
      fmt::format("unknown dataset '{}'{}; known are {} (idx: any four files in MNIST's format; npy: any NumPy arrays; "
                  "images: folders of PNG and JPEG files)",
                  name, DidYouMean(name, names), fmt::join(names, ", ")));
}

ImageSet LoadIdx(const fs::path& folder, Split split) {
  const IdxNames names = IdxFiles(split);
  const fs::path images_path = *FindFile(folder, names.images);
  const fs::path labels_path = *FindFile(folder, names.labels);
  IdxArray images = ReadIdx(images_path, 3);
  IdxArray labels = ReadIdx(labels_path, 1);
  if (images.shape[0] != labels.shape[0]) {
    throw InputError(fmt::format("{}: offset 4: {} labels, expected one for each of the {} images of {}",
                                 labels_path.string(), labels.shape[0], images.shape[0], images_path.string()));
  }
  ImageSet set;
  set.shape = {1, static_cast<int>(images.shape[1]), static_cast<int>(images.shape[2])};
  set.images = std::move(images.values);
  set.labels.assign(labels.values.begin(), labels.values.end());
  set.classes = std::max(10, *std::max_element(set.labels.begin(), set.labels.end()) + 1);
  return set;
}

ImageSet LoadArrays(const fs::path& folder, double test_share, Split split) {
  std::map<std::string, NpyArray> arrays;
  const bool is_archive = fs::is_regular_file(folder / kArchive);
  if (is_archive) arrays = ReadNpz(folder / kArchive);
  const auto name_of = [&](const std::string& array) {
    return is_archive ? fmt::format("{}: '{}'", (folder / kArchive).string(), array)
                      : (folder / (array + ".npy")).string();
  };
  const auto take = [&](const std::string& array) {
    if (!is_archive) return ReadNpy(folder / (array + ".npy"));
    if (!arrays.contains(array)) throw InputError(name_of(array) + ": is not there");
    return std::move(arrays[array]);
  };
  const std::string stem = test_share > 0 ? "" : split == Split::kTrain ? "train_" : "test_";
  ImageSet set = ImagesOfArray(take(stem + "images"), name_of(stem + "images"));
  for (const std::string& part : test_share > 0
                                     ? std::vector<std::string>{""}
                                     : std::vector<std::string>{"train_", "test_"}) {  // as many classes as either has
    const std::string name = name_of(part + "labels");
    const NpyArray labels = take(part + "labels");
    if (labels.shape.size() != 1)
      throw InputError(fmt::format("{}: has {} dimensions, expected 1", name, labels.shape.size()));
    for (const int64_t label : IntegersOf(labels, name)) {
      if (label < 0 || label > 65535)
        throw InputError(fmt::format("{}: a label is {}, expected 0 to 65535", name, label));
      set.classes = std::max(set.classes, static_cast<int>(label) + 1);
      if (part == stem) set.labels.push_back(static_cast<uint16_t>(label));
    }
  }
  const int64_t images = static_cast<int64_t>(set.images.size()) / set.bytes_per_image();
  if (images != set.size() || images == 0)
    throw InputError(
        fmt::format("{}: {} labels, expected one for each of {} images", name_of(stem + "labels"), set.size(), images));
  if (test_share == 0) return set;
  ImageSet own{set.shape, set.classes, {}, {}, set.elements};
  for (const int64_t i : PartOf(images, test_share, split)) {
    const auto image = set.image(i);
    own.images.insert(own.images.end(), image.begin(), image.end());
    own.labels.push_back(set.labels[static_cast<size_t>(i)]);
  }
  return own;
}

ImageSet LoadCifar(const fs::path& folder, const std::string& name, Split split) {
  ImageSet set;
  set.shape = {3, 32, 32};
  set.classes = name == "cifar100" ? 100 : 10;
  for (const auto& file : CifarFiles(name, split)) {
    CifarRecords records =
        ReadCifar(*FindFile(folder, file), name == "cifar100" ? 2 : 1, set.classes, RecordsPerFile(name, split));
    set.images.insert(set.images.end(), records.images.begin(), records.images.end());
    set.labels.insert(set.labels.end(), records.labels.begin(), records.labels.end());
  }
  return set;
}

// MNIST and its relatives share file names: one must not be taken for another.
void CheckIdentity(const std::string& name, const fs::path& folder, const ImageSet& set, Split split) {
  if (name != "mnist" && name != "fashion-mnist") return;
  // HashOf the splits of Fashion-MNIST as its authors published it.
  const std::string fashion = split == Split::kTrain
                                  ? "10a1dfdeadbd1b8d5bbc5b110057fc0ec1da3fa1478274e244478ef73bc43cbc"
                                  : "3ccce65049ee9ba9500280c02e56ad10b53413f0f18aa4568c6d4326b2d44ae6";
  if ((HashOf(set) == fashion) != (name == "fashion-mnist")) {
    throw InputError(
        fmt::format("{}: the files there are not {}'s; name the right folder with --data, or use them as they are with "
                    "--dataset idx",
                    folder.string(), name));
  }
}

}  // namespace

const std::vector<DatasetInfo>& KnownDatasets() {
  static const std::string idx_layout =
      "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (each plain or "
      ".gz)";
  static const std::vector<DatasetInfo> known = {
      {"fashion-mnist", "28 x 28 grey images of clothes, 10 classes", idx_layout,
       "apt-get install dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"},
      {"mnist", "28 x 28 grey images of digits, 10 classes", idx_layout,
       "download the four files of the MNIST database (yann.lecun.com/exdb/mnist) into a folder, and name it with "
       "--data",
       ""},
      {"idx", "any dataset in the IDX format, under MNIST's file names", idx_layout,
       "put the four files into a folder, and name it with --data", ""},
      {"npy", "any images or features, as NumPy arrays",
       "train_images.npy, train_labels.npy, test_images.npy, test_labels.npy, or arrays.npz with the same four; for "
       "npy:test=SHARE images.npy and labels.npy, of which a share is for testing",
       "save them with numpy.save (images: uint8, or codes of an int8 input as int8, or real numbers as float32; [n, "
       "channels, rows, columns] or [n, features]), and name their "
       "folder "
       "with --data",
       ""},
      {"images", "folders of PNG and JPEG files, one a class (images:WIDTHxHEIGHT resizes, :grey makes one channel)",
       "train/CLASS/*.png and test/CLASS/*.jpg (or val); CLASS/* for images:test=SHARE",
       "put them into such folders, and name the one above with --data", ""},
      {"cifar10", "32 x 32 colour images, 10 classes", "data_batch_1.bin to data_batch_5.bin, test_batch.bin",
       "unpack the 'binary version' of CIFAR-10 (www.cs.toronto.edu/~kriz/cifar.html), and name its folder "
       "cifar-10-batches-bin with --data",
       ""},
      {"cifar100", "32 x 32 colour images, 100 classes", "train.bin, test.bin",
       "unpack the 'binary version' of CIFAR-100 (www.cs.toronto.edu/~kriz/cifar.html), and name its folder "
       "cifar-100-binary with --data",
       ""},
  };
  return known;
}

std::optional<fs::path> FindDataset(const std::string& name, const DataLocation& location) {
  const DatasetInfo& info = InfoOf(name);
  if (IsImageFolder(name)) ParseImageFolder(name);  // refused before it is looked for
  if (IsArrays(name)) TestShareOfArrays(name);
  const std::string official = name == "cifar10"    ? "cifar-10-batches-bin"
                               : name == "cifar100" ? "cifar-100-binary"
                                                    : info.name;
  std::vector<fs::path> places;
  if (!location.folder.empty()) {
    places = {location.folder / info.name, location.folder / info.name / official, location.folder / official,
              location.folder};
  } else {
    // Not $STEADFAST_DATA itself: MNIST and its relatives share file names, and one would be taken for another.
    if (const char* root = std::getenv("STEADFAST_DATA"); root != nullptr && *root != '\0') {
      places = {fs::path(root) / info.name, fs::path(root) / info.name / official, fs::path(root) / official};
    }
    if (!info.default_folder.empty()) places.push_back(info.default_folder);
  }
  for (const auto& place : places) {
    if (HoldsAll(place, name)) return place;
  }
  return std::nullopt;
}

ImageSet LoadDataset(const std::string& name, const DataLocation& location, Split split) {
  const DatasetInfo& info = InfoOf(name);
  const auto folder = FindDataset(name, location);
  if (!folder) {
    const std::string where = !location.folder.empty()
                                  ? fmt::format("in {} or its subfolder {}", location.folder.string(), info.name)
                              : !info.default_folder.empty()
                                  ? fmt::format("in $STEADFAST_DATA/{} or {}", info.name, info.default_folder.string())
                                  : fmt::format("in $STEADFAST_DATA/{}", info.name);
    throw IoError(
        fmt::format("dataset {} not found {}: expected {}.\nTo get it: {}", name, where, info.layout, info.how_to_get));
  }
  ImageSet set = IsCifar(name)         ? LoadCifar(*folder, name, split)
                 : IsArrays(name)      ? LoadArrays(*folder, TestShareOfArrays(name), split)
                 : IsImageFolder(name) ? LoadImageFolder(*folder, ParseImageFolder(name), split, location.on_reading)
                                       : LoadIdx(*folder, split);
  if (location.takes_bytes_alone && set.elements != Elements::kBytes)
    throw InputError(
        fmt::format("dataset {} in {}: holds {}, and bytes (numpy.uint8) are needed here: a network is trained, "
                    "quantized and analysed "
                    "on pixels of one byte",
                    name, folder->string(), set.elements == Elements::kCodes ? "codes (int8)" : "real numbers"));
  CheckIdentity(name, *folder, set, split);
  return set;
}

void CheckSplits(const ImageSet& training, const ImageSet& test, const std::string& name) {
  const auto text = [](const ImageShape& s) { return fmt::format("{} x {} x {}", s.channels, s.height, s.width); };
  if (training.shape != test.shape)
    throw InputError(fmt::format("dataset {}: training images are {}, and test images {}", name, text(training.shape),
                                 text(test.shape)));
  if (training.classes < test.classes)
    throw InputError(
        fmt::format("dataset {}: {} classes in training, and {} in test", name, training.classes, test.classes));
}

std::string Describe(const ReadingProgress& progress) {
  return fmt::format("reading {}: {} of {} images, which take {} of memory", progress.folder.string(), progress.read,
                     progress.images, FormatBytes(progress.bytes));
}

bool IsMuch(const ReadingProgress& progress) {
  return progress.bytes >= 1'000'000'000;
}

std::function<void(const ReadingProgress&)> ReadingLine() {
  return [line = std::shared_ptr<ProgressLine>()](const ReadingProgress& progress) mutable {
    if (progress.read == 0) {
      line = std::make_shared<ProgressLine>();
      if (IsMuch(progress)) line->Print(Describe(progress));
    }
    line->Update(Describe(progress));
    if (progress.read == progress.images) line->Finish();
  };
}

std::string HashOf(const ImageSet& set) {
  const std::string shape =
      fmt::format("{}x{}x{}x{}/{}", set.size(), set.shape.channels, set.shape.height, set.shape.width, set.classes);
  std::vector<uint8_t> labels;  // of one byte where they fit
  const bool is_wide = set.classes > 256;
  for (const uint16_t label : set.labels) {
    labels.push_back(static_cast<uint8_t>(label));
    if (is_wide) labels.push_back(static_cast<uint8_t>(label >> 8));
  }
  const char* elements = set.elements == Elements::kCodes ? "codes" : set.elements == Elements::kReals ? "reals" : "";
  return Sha256(shape + elements + Sha256(set.images) + Sha256(labels));
}

InputScale InputScaleOf(const ImageSet& set) {
  std::array<int64_t, 256> counts = {};
  for (uint8_t pixel : set.images) ++counts[pixel];
  double sum = 0, squares = 0;
  for (int value = 0; value < 256; ++value) {
    sum += static_cast<double>(counts[static_cast<size_t>(value)]) * value;
    squares += static_cast<double>(counts[static_cast<size_t>(value)]) * value * value;
  }
  const auto n = static_cast<double>(set.images.size());
  const double mean = sum / n;
  const double deviation = std::sqrt(std::max(squares / n - mean * mean, 1.0));
  return {static_cast<float>(1.0 / deviation), static_cast<int>(std::lround(mean))};
}

std::vector<int64_t> Permutation(int64_t count, uint64_t seed, uint32_t stream) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = count - 1; i > 0; --i) {  // Fisher-Yates
    const auto draw =
        Philox4x32({static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), stream, 0x7065726d}, KeyOfSeed(seed));
    const auto j = static_cast<int64_t>(OpenUnit(draw[0], draw[1]) * static_cast<double>(i + 1));
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(std::min(i, j))]);
  }
  return order;
}

double ParseTestShare(const std::string& dataset, const std::string& option) {
  if (!option.starts_with("test="))
    throw UsageError(fmt::format("dataset {}: '{}', expected test=SHARE, such as test=0.2", dataset, option));
  const double share = ParseDouble(option.substr(5), fmt::format("dataset {}: the share", dataset), 0, 1);
  if (!(share > 0 && share < 1))
    throw UsageError(fmt::format("dataset {}: a share between 0 and 1 is needed", dataset));
  return share;
}

std::vector<int64_t> PartOf(int64_t images, double test_share, Split split) {
  if (images < 2) throw InputError("one image cannot be shared between training and testing");
  const std::vector<int64_t> order = Permutation(images, kFixedSeed, 1);
  const auto count = std::clamp<int64_t>(std::llround(test_share * static_cast<double>(images)), 1, images - 1);
  std::vector<int64_t> part(split == Split::kTest ? order.begin() : order.begin() + count,
                            split == Split::kTest ? order.begin() + count : order.end());
  std::sort(part.begin(), part.end());
  return part;
}

ValidationSplit HoldOutValidation(int64_t images, int64_t held_out) {
  if (held_out < 0 || held_out >= images) {
    throw UsageError(fmt::format("cannot hold {} of {} training images out for validation", held_out, images));
  }
  std::vector<int64_t> order = Permutation(images, kFixedSeed, 0);
  ValidationSplit split;
  split.validation.assign(order.begin(), order.begin() + held_out);
  split.training.assign(order.begin() + held_out, order.end());
  std::sort(split.validation.begin(), split.validation.end());
  std::sort(split.training.begin(), split.training.end());
  return split;
}

ImageSet ImagesOfArray(NpyArray array, const std::string& name) {
  const auto fail = [&](const std::string& what) { throw InputError(fmt::format("{}: {}", name, what)); };
  ImageSet set;
  if (array.type == "|i1") {
    set.elements = Elements::kCodes;
    for (uint8_t& byte : array.bytes) byte = static_cast<uint8_t>(byte ^ 0x80);
  } else if (array.type == "<f4") {
    set.elements = Elements::kReals;
    for (size_t i = 0; i + 4 <= array.bytes.size(); i += 4) {
      float real = 0;
      std::memcpy(&real, &array.bytes[i], 4);
      if (std::isnan(real)) fail(fmt::format("element {} is not a number", i / 4));
    }
  } else if (array.type != "|u1") {
    fail(fmt::format(
        "holds {}, expected bytes (numpy.uint8), of which --mean and --std say what becomes of them, codes of "
        "an int8 input (numpy.int8), or real numbers (numpy.float32)",
        array.type));
  }
  const std::vector<int64_t>& shape = array.shape;
  for (const int64_t size : shape) {
    if (size < 1 || size > int64_t{1} << 30) fail("has an impossible shape");
  }
  const auto at = [&](size_t i) { return static_cast<int>(shape[i]); };
  if (shape.size() == 2) {
    set.shape = {at(1), 1, 1};
  } else if (shape.size() == 3) {
    set.shape = {1, at(1), at(2)};
  } else if (shape.size() != 4) {
    fail(fmt::format("has {} dimensions, expected 2 to 4", shape.size()));
  } else if (shape[3] <= 4 && shape[1] > 4) {  // channels last
    set.shape = {at(3), at(1), at(2)};
    const auto pixels = static_cast<size_t>(shape[1] * shape[2]), channels = static_cast<size_t>(shape[3]);
    const size_t bytes = set.elements == Elements::kReals ? 4 : 1;
    set.images.resize(array.bytes.size());
    for (size_t image = 0; image < array.bytes.size(); image += pixels * channels * bytes) {
      for (size_t p = 0; p < pixels; ++p) {
        for (size_t c = 0; c < channels; ++c)
          std::copy_n(&array.bytes[image + (p * channels + c) * bytes], bytes,
                      &set.images[image + (c * pixels + p) * bytes]);
      }
    }
    return set;
  } else {
    set.shape = {at(1), at(2), at(3)};
  }
  set.images = std::move(array.bytes);
  return set;
}

}  // namespace steadfast::data
