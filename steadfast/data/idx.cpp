#include "steadfast/data/idx.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "steadfast/base/error.h"

namespace steadfast::data {
namespace {

constexpr int64_t kMaximumElements = int64_t{1} << 33;
constexpr int64_t kChunk = int64_t{1} << 20;
constexpr uint8_t kUnsignedByte = 8;

// A file read front to back; gzread passes uncompressed files through.
class GzipReader {
 public:
  explicit GzipReader(const std::filesystem::path& path) : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
    if (std::filesystem::is_directory(path))
      throw IoError(fmt::format("{}: is a folder, expected a file", path_.string()));
    if (!file_) throw IoError(fmt::format("{}: cannot open: {}", path_.string(), std::strerror(errno)));
    gzbuffer(file_.get(), 1 << 17);
  }

  // Reads up to `size` bytes; fewer only at the end of the file.
  int64_t Read(uint8_t* into, int64_t size) {
    const int got = gzread(file_.get(), into, static_cast<unsigned>(size));
    int code = Z_OK;
    const char* message = gzerror(file_.get(), &code);
    if (got < 0 || (code != Z_OK && code != Z_BUF_ERROR)) Fail(fmt::format("damaged gzip data ({})", message));
    if (code == Z_BUF_ERROR) Fail("gzip data ends too early");
    offset_ += got;
    return got;
  }

  [[noreturn]] void Fail(const std::string& what) const {
    throw InputError(fmt::format("{}: offset {}: {}", path_.string(), offset_, what));
  }

 private:
  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  int64_t offset_ = 0;  // in uncompressed bytes
};

uint32_t BigEndian(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

}  // namespace

IdxArray ReadIdx(const std::filesystem::path& path, int dimensions) {
  GzipReader reader(path);
  uint8_t magic[4];
  if (reader.Read(magic, 4) != 4) reader.Fail("file ends inside the 4-byte IDX magic number");
  if (magic[0] != 0 || magic[1] != 0 || magic[2] != kUnsignedByte || magic[3] != dimensions) {
    throw InputError(fmt::format(
        "{}: offset 0: found magic number {:02x}{:02x}{:02x}{:02x}, expected 000008{:02x} (IDX, unsigned "
        "bytes, {} dimension{})",
        path.string(), magic[0], magic[1], magic[2], magic[3], dimensions, dimensions, dimensions == 1 ? "" : "s"));
  }
  IdxArray array;
  int64_t expected = 1;
  for (int d = 0; d < dimensions; ++d) {
    uint8_t bytes[4];
    if (reader.Read(bytes, 4) != 4) reader.Fail(fmt::format("file ends inside dimension {} of {}", d + 1, dimensions));
    const int64_t size = BigEndian(bytes);
    if (size == 0 || expected > kMaximumElements / size) {
      reader.Fail(fmt::format("dimension {} is {}, which makes no array this reader takes", d + 1, size));
    }
    array.shape.push_back(size);
    expected *= size;
  }
  int64_t filled = 0;
  while (filled < expected) {
    const int64_t want = std::min(kChunk, expected - filled);
    array.values.resize(static_cast<size_t>(filled + want));
    const int64_t got = reader.Read(array.values.data() + filled, want);
    filled += got;
    if (got < want) reader.Fail(fmt::format("file ends after {} of {} elements", filled, expected));
  }
  uint8_t extra;
  if (reader.Read(&extra, 1) != 0)
    reader.Fail(fmt::format("bytes follow the {} elements that the header says", expected));
  return array;
}

}  // namespace steadfast::data
