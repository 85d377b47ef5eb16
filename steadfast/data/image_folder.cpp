#include "steadfast/data/image_folder.h"

#include <csetjmp>
#include <cstdio>

#include <fmt/format.h>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <cctype>
#include <mutex>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/parallel.h"
#include "steadfast/base/progress.h"  // FormatBytes
#include "steadfast/base/text.h"

namespace steadfast::data {
namespace {

namespace fs = std::filesystem;

constexpr int kMostPixelsOfASide = 16384;
constexpr uint64_t kMostBytesOfAFile = uint64_t{1} << 28;
constexpr const char* kName = "images";

enum class Kind { kNone, kPng, kJpeg };

Kind KindOf(const fs::path& path) {
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return ending == ".png" ? Kind::kPng : ending == ".jpg" || ending == ".jpeg" ? Kind::kJpeg : Kind::kNone;
}

[[noreturn]] void Fail(const fs::path& path, const std::string& what) {
  throw InputError(fmt::format("{}: {}", path.string(), what));
}

void CheckSize(const fs::path& path, uint64_t width, uint64_t height) {
  if (width < 1 || height < 1 || width > kMostPixelsOfASide || height > kMostPixelsOfASide)
    Fail(path, fmt::format("has {} x {} pixels, expected 1 to {} a side", width, height, kMostPixelsOfASide));
}

Picture ReadPng(const fs::path& path, const std::vector<uint8_t>& bytes) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  const auto fail = [&] {
    const std::string message = image.message;
    png_image_free(&image);
    Fail(path, fmt::format("is not a whole PNG file: {}", message));
  };
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0) fail();
  image.format = PNG_FORMAT_RGB;
  const uint64_t width = image.width, height = image.height;
  if (width > kMostPixelsOfASide || height > kMostPixelsOfASide) png_image_free(&image);
  CheckSize(path, width, height);
  Picture picture{static_cast<int>(width), static_cast<int>(height), {}};
  picture.pixels.resize(PNG_IMAGE_SIZE(image));
  const png_color black = {0, 0, 0};
  if (png_image_finish_read(&image, &black, picture.pixels.data(), 0, nullptr) == 0) fail();
  return picture;
}

// libjpeg ends at an error by a jump; what it jumps over holds nothing that must be destroyed.
struct JpegErrors {
  jpeg_error_mgr manager;
  jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

void JumpOut(j_common_ptr decoder) {
  auto* errors = reinterpret_cast<JpegErrors*>(decoder->err);
  decoder->err->format_message(decoder, errors->message);
  longjmp(errors->jump, 1);
}
// A damaged file is not taken for a whole one: libjpeg would fill up what is missing with grey.
void JumpOutOfWarnings(j_common_ptr decoder, int level) {
  if (level < 0) JumpOut(decoder);
}

bool DecodeJpeg(const std::vector<uint8_t>& bytes, jpeg_decompress_struct& decoder, JpegErrors& errors,
                Picture& picture) {
  if (setjmp(errors.jump) != 0) return false;
  jpeg_create_decompress(&decoder);
  jpeg_mem_src(&decoder, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&decoder, TRUE);
  decoder.out_color_space = JCS_RGB;
  decoder.dct_method = JDCT_ISLOW;
  picture.width = static_cast<int>(decoder.image_width);
  picture.height = static_cast<int>(decoder.image_height);
  if (picture.width > kMostPixelsOfASide || picture.height > kMostPixelsOfASide) return true;
  jpeg_start_decompress(&decoder);
  picture.pixels.resize(static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height) * 3);
  while (decoder.output_scanline < decoder.output_height) {
    JSAMPROW row = picture.pixels.data() + size_t{decoder.output_scanline} * static_cast<size_t>(picture.width) * 3;
    jpeg_read_scanlines(&decoder, &row, 1);
  }
  jpeg_finish_decompress(&decoder);
  return true;
}

Picture ReadJpeg(const fs::path& path, const std::vector<uint8_t>& bytes) {
  jpeg_decompress_struct decoder = {};
  JpegErrors errors = {};
  decoder.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = JumpOut;
  errors.manager.emit_message = JumpOutOfWarnings;
  Picture picture;
  const bool is_whole = DecodeJpeg(bytes, decoder, errors, picture);
  jpeg_destroy_decompress(&decoder);
  if (!is_whole) Fail(path, fmt::format("is not a whole JPEG file: {}", errors.message));
  CheckSize(path, static_cast<uint64_t>(picture.width), static_cast<uint64_t>(picture.height));
  return picture;
}

// How one side is covered: pixel i of the result covers parts of first[i] … of the picture, in units of 1 / result.
struct Cover {
  int first;
  std::vector<int64_t> shares;
};

std::vector<Cover> CoversOf(int from, int to) {
  std::vector<Cover> covers;
  for (int64_t i = 0; i < to; ++i) {
    const int64_t begin = i * from, end = begin + from;  // in units of 1 / to of the picture's pixels
    Cover cover{static_cast<int>(begin / to), {}};
    for (int64_t p = cover.first; p * to < end; ++p)
      cover.shares.push_back(std::min((p + 1) * to, end) - std::max(p * to, begin));
    covers.push_back(std::move(cover));
  }
  return covers;
}

fs::path FolderOf(const fs::path& folder, Split split) {
  if (split == Split::kTrain) return folder / "train";
  return fs::is_directory(folder / "test") ? folder / "test" : folder / "val";
}

std::vector<std::string> ClassesIn(const fs::path& folder) {
  std::vector<std::string> classes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) classes.push_back(entry.path().filename().string());
  }
  std::sort(classes.begin(), classes.end());
  return classes;
}

}  // namespace

bool IsImageFolder(std::string_view dataset) {
  return dataset.substr(0, dataset.find(':')) == kName;
}

ImageFolderSettings ParseImageFolder(std::string_view dataset) {
  ImageFolderSettings settings;
  const auto parts = steadfast::Split(dataset, ':');
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::string& part = parts[i];
    if (part == "grey") {
      settings.is_grey = true;
      continue;
    }
    if (part.starts_with("test=")) {
      settings.test_share = ParseTestShare(std::string(dataset), part);
      continue;
    }
    const size_t cross = part.find('x');
    if (cross == std::string::npos)
      throw UsageError(fmt::format("dataset {}: '{}', expected WIDTHxHEIGHT, grey or test=SHARE", dataset, part));
    const std::string what = fmt::format("dataset {}: a size", dataset);
    settings.width = static_cast<int>(ParseInt(part.substr(0, cross), what, 1, 4096));
    settings.height = static_cast<int>(ParseInt(part.substr(cross + 1), what, 1, 4096));
  }
  return settings;
}

bool HoldsImageFolders(const fs::path& folder, const ImageFolderSettings& settings) {
  std::error_code ignored;
  if (settings.test_share > 0) {
    for (fs::directory_iterator entry(folder, ignored), end; !ignored && entry != end; entry.increment(ignored)) {
      if (!entry->is_directory()) continue;
      for (const auto& file : fs::directory_iterator(entry->path(), ignored)) {
        if (KindOf(file.path()) != Kind::kNone) return true;
      }
    }
    return false;
  }
  return fs::is_directory(FolderOf(folder, Split::kTrain), ignored) &&
         fs::is_directory(FolderOf(folder, Split::kTest), ignored);
}

Picture ReadPicture(const fs::path& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, kMostBytesOfAFile);
  return KindOf(path) == Kind::kPng ? ReadPng(path, bytes) : ReadJpeg(path, bytes);
}

Picture Resized(const Picture& picture, int width, int height) {
  if (picture.width == width && picture.height == height) return picture;
  Picture result{width, height, {}};
  result.pixels.reserve(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
  const auto columns = CoversOf(picture.width, width), rows = CoversOf(picture.height, height);
  const int64_t whole = int64_t{picture.width} * picture.height;
  for (const Cover& row : rows) {
    for (const Cover& column : columns) {
      for (int64_t c = 0; c < 3; ++c) {
        int64_t sum = 0;
        for (size_t y = 0; y < row.shares.size(); ++y) {
          int64_t of_row = 0;
          const int64_t line = (row.first + static_cast<int64_t>(y)) * picture.width + column.first;
          for (size_t x = 0; x < column.shares.size(); ++x)
            of_row += column.shares[x] * picture.pixels[static_cast<size_t>((line + static_cast<int64_t>(x)) * 3 + c)];
          sum += row.shares[y] * of_row;
        }
        result.pixels.push_back(static_cast<uint8_t>((2 * sum + whole) / (2 * whole)));
      }
    }
  }
  return result;
}

void CheckMemory(const ReadingProgress& reading, const ImageShape& shape, int64_t available) {
  if (available == 0 || reading.bytes < available) return;
  Fail(
      reading.folder,
      fmt::format("its {} images of {} x {} x {} alone take {} of memory, and {} are free: a smaller size, one channel "
                  "or fewer files take less, as in --dataset images:64x64:grey",
                  reading.images, shape.channels, shape.height, shape.width, FormatBytes(reading.bytes),
                  FormatBytes(available)));
}

ImageSet LoadImageFolder(const fs::path& folder, const ImageFolderSettings& settings, enum Split split,
                         const std::function<void(const ReadingProgress&)>& on_reading) {
  const bool is_shared = settings.test_share > 0;
  const fs::path of_split = is_shared ? folder : FolderOf(folder, split);
  const std::vector<std::string> classes = ClassesIn(is_shared ? folder : FolderOf(folder, Split::kTrain));
  for (const std::string& name : ClassesIn(of_split)) {
    if (!std::binary_search(classes.begin(), classes.end(), name))
      Fail(of_split, fmt::format("has a class '{}', and {} has not", name, FolderOf(folder, Split::kTrain).string()));
  }
  if (classes.empty()) Fail(of_split, "has no folders: expected one a class, with its PNG or JPEG files");
  if (classes.size() > 65536) Fail(of_split, fmt::format("has {} classes, expected at most 65536", classes.size()));
  ImageSet set;
  set.classes = static_cast<int>(classes.size());
  std::vector<fs::path> files;
  for (size_t label = 0; label < classes.size(); ++label) {
    if (!fs::is_directory(of_split / classes[label])) continue;
    std::vector<fs::path> own;
    for (const auto& entry : fs::directory_iterator(of_split / classes[label])) {
      if (KindOf(entry.path()) != Kind::kNone) own.push_back(entry.path());
    }
    std::sort(own.begin(), own.end());
    files.insert(files.end(), own.begin(), own.end());
    set.labels.insert(set.labels.end(), own.size(), static_cast<uint16_t>(label));
  }
  if (files.empty()) Fail(of_split, "has no PNG or JPEG files in the folders of its classes");
  if (is_shared) {
    std::vector<fs::path> own;
    std::vector<uint16_t> labels;
    for (const int64_t i : PartOf(static_cast<int64_t>(files.size()), settings.test_share, split)) {
      own.push_back(files[static_cast<size_t>(i)]);
      labels.push_back(set.labels[static_cast<size_t>(i)]);
    }
    files = std::move(own);
    set.labels = std::move(labels);
  }
  const Picture first = ReadPicture(files[0]);
  const int width = settings.width > 0 ? settings.width : first.width;
  const int height = settings.height > 0 ? settings.height : first.height;
  set.shape = {settings.is_grey ? 1 : 3, height, width};
  const int64_t pixels = int64_t{width} * height;
  const auto count = static_cast<int64_t>(files.size());
  ReadingProgress reading{of_split, 0, count, count * set.shape.pixels()};
  if (on_reading) on_reading(reading);
  CheckMemory(reading, set.shape, AvailableMemory());
  set.images.resize(static_cast<size_t>(reading.bytes));
  std::mutex mutex;
  ParallelFor(AvailableCores(), count, [&](int, int64_t i) {
    const fs::path& path = files[static_cast<size_t>(i)];
    Picture picture = ReadPicture(path);
    if (settings.width > 0) {
      picture = Resized(picture, width, height);
    } else if (picture.width != width || picture.height != height) {
      Fail(path, fmt::format("has {} x {} pixels, and {} has {} x {}: say which size all shall have, as in --dataset "
                             "images:{}x{}",
                             picture.width, picture.height, files[0].string(), width, height, width, height));
    }
    uint8_t* to = set.images.data() + i * set.shape.pixels();
    for (int64_t p = 0; p < pixels; ++p) {
      const uint8_t* from = picture.pixels.data() + 3 * p;
      if (settings.is_grey) {
        to[p] = static_cast<uint8_t>((299 * from[0] + 587 * from[1] + 114 * from[2] + 500) / 1000);
      } else {
        for (int64_t c = 0; c < 3; ++c) to[c * pixels + p] = from[c];
      }
    }
    const std::lock_guard lock(mutex);
    ++reading.read;
    if (on_reading && (reading.read % 64 == 0 || reading.read == count)) on_reading(reading);
  });
  return set;
}

}  // namespace steadfast::data
