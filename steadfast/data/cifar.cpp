#include "steadfast/data/cifar.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"  // ReadFile

namespace steadfast::data {

CifarRecords ReadCifar(const std::filesystem::path& path, int label_bytes, int classes, int64_t expected) {
  const std::vector<uint8_t> bytes = ReadFile(path);
  const size_t record = static_cast<size_t>(label_bytes) + kCifarPixels;
  if (bytes.empty() || bytes.size() % record != 0) {
    throw InputError(fmt::format("{}: offset {}: file ends inside a record; expected a multiple of {} bytes, found {}",
                                 path.string(), bytes.size() / record * record, record, bytes.size()));
  }
  CifarRecords records;
  const size_t count = bytes.size() / record;
  if (static_cast<int64_t>(count) != expected) {
    throw InputError(fmt::format("{}: offset {}: file ends after {} records, expected {}", path.string(), bytes.size(),
                                 count, expected));
  }
  records.labels.reserve(count);
  records.images.reserve(count * kCifarPixels);
  for (size_t i = 0; i < count; ++i) {
    const size_t label_at = i * record + static_cast<size_t>(label_bytes) - 1;
    if (bytes[label_at] >= classes) {
      throw InputError(fmt::format("{}: offset {}: label {} of record {}, expected less than {}", path.string(),
                                   label_at, bytes[label_at], i, classes));
    }
    records.labels.push_back(bytes[label_at]);
    const auto pixels = bytes.begin() + static_cast<int64_t>(label_at) + 1;
    records.images.insert(records.images.end(), pixels, pixels + kCifarPixels);
  }
  return records;
}

}  // namespace steadfast::data
