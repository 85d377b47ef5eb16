// Folders of PNG and JPEG files, one a class: FOLDER/train/CLASS/*.png and FOLDER/test/CLASS/*.jpg (val instead of test
// is taken too). Classes are numbered in the order of their names.
//
// Files are decoded by libpng and libjpeg-turbo to 8 bits a channel (what is transparent lies on black; orientations
// that cameras note are not looked at). Where a size is given, a pixel becomes the mean of the part of the picture that
// it covers, each channel by itself, rounded half up; the aspect ratio is not kept.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "steadfast/data/dataset.h"

namespace steadfast::data {

// "images", "images:32x32", "images:grey", "images:28x28:grey", "images:test=0.2": width and height (0: as the files
// are), and whether colours become one channel (0.299 R + 0.587 G + 0.114 B, rounded).
struct ImageFolderSettings {
  int width = 0, height = 0;
  bool is_grey = false;
  double test_share = 0;  // of FOLDER/CLASS/*, where there is no folder for each split; 0: there is
};
bool IsImageFolder(std::string_view dataset);
// Throws UsageError.
ImageFolderSettings ParseImageFolder(std::string_view dataset);

bool HoldsImageFolders(const std::filesystem::path& folder, const ImageFolderSettings& settings);
// Throws InputError naming the file: what cannot be decoded, and a size other than the first image's where none is
// given, and more images than memory holds.
ImageSet LoadImageFolder(const std::filesystem::path& folder, const ImageFolderSettings& settings, Split split,
                         const std::function<void(const ReadingProgress&)>& on_reading = {});

// What the images of a folder take is refused where no more than `available` bytes are left (0: not known). Throws
// InputError.
void CheckMemory(const ReadingProgress& reading, const ImageShape& shape, int64_t available);

// Of one file: [channels, height, width] with 3 channels. Throws InputError.
struct Picture {
  int width = 0, height = 0;
  std::vector<uint8_t> pixels;  // [height, width, 3]
};
Picture ReadPicture(const std::filesystem::path& path);
// The means of the parts that the pixels of another size cover.
Picture Resized(const Picture& picture, int width, int height);

}  // namespace steadfast::data
