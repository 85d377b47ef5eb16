// Reading and writing whole files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace steadfast {

// The bytes of a file. Throws IoError where it cannot be read, InputError where it is larger than `limit` bytes.
std::vector<uint8_t> ReadFile(const std::filesystem::path& path, uint64_t limit = uint64_t{1} << 32);
std::string ReadTextFile(const std::filesystem::path& path, uint64_t limit = uint64_t{1} << 28);

// Writes a file whole: to a temporary name beside it, synced, then renamed. A reader sees the old file or the new one.
// Creates the folders above it. Throws IoError.
void WriteFileWhole(const std::filesystem::path& path, std::string_view bytes);

// Renames with sync, for files that others wrote. Throws IoError.
void MoveFile(const std::filesystem::path& from, const std::filesystem::path& to);

// A folder of its own that is gone, with all in it, when this is. Throws IoError.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace steadfast
