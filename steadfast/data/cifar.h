// The official binary layout of CIFAR-10 and CIFAR-100 (Krizhevsky 2009): records of label bytes and 3072 pixel bytes
// (red, green, blue planes of 32 x 32, row by row). CIFAR-10 has one label byte; CIFAR-100 a coarse and a fine one, of
// which the fine one is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace steadfast::data {

inline constexpr int kCifarPixels = 3 * 32 * 32;

struct CifarRecords {
  std::vector<uint8_t> images;   // [n, 3, 32, 32]
  std::vector<uint16_t> labels;  // [n]
};

// Reads one file of exactly `records` records. label_bytes: 1 or 2, the last of them the label, below `classes`. Throws
// IoError, and InputError that names file, offset, what was found and what was expected.
CifarRecords ReadCifar(const std::filesystem::path& path, int label_bytes, int classes, int64_t records);

}  // namespace steadfast::data
