#include "steadfast/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "steadfast/base/error.h"

namespace steadfast {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void ThrowIo(const char* what, const std::filesystem::path& path) {
  throw IoError(fmt::format("{}: cannot {}: {}", path.string(), what, std::strerror(errno)));
}

template <typename Bytes>
Bytes Read(const std::filesystem::path& path, uint64_t limit) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) ThrowIo("open", path);
  struct stat status = {};
  if (fstat(file.get(), &status) != 0) ThrowIo("read", path);
  if (S_ISDIR(status.st_mode)) throw IoError(fmt::format("{}: is a folder, expected a file", path.string()));
  if (static_cast<uint64_t>(status.st_size) > limit) {
    throw InputError(fmt::format("{}: is {} bytes large, at most {} are read", path.string(), status.st_size, limit));
  }
  Bytes bytes;
  bytes.resize(static_cast<size_t>(status.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = read(file.get(), bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) ThrowIo("read", path);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

void SyncFolder(const std::filesystem::path& path) {
  const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  const Descriptor descriptor(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (descriptor.get() >= 0) fsync(descriptor.get());
}

}  // namespace

std::vector<uint8_t> ReadFile(const std::filesystem::path& path, uint64_t limit) {
  return Read<std::vector<uint8_t>>(path, limit);
}

std::string ReadTextFile(const std::filesystem::path& path, uint64_t limit) {
  return Read<std::string>(path, limit);
}

void WriteFileWhole(const std::filesystem::path& path, std::string_view bytes) {
  if (path.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (error) throw IoError(fmt::format("{}: cannot create folder: {}", path.parent_path().string(), error.message()));
  }
  const std::filesystem::path temporary = path.string() + fmt::format(".{}.tmp", getpid());
  {
    const Descriptor file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.get() < 0) ThrowIo("write", temporary);
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t put = write(file.get(), bytes.data() + done, bytes.size() - done);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) {
        const int saved = errno;
        unlink(temporary.c_str());
        errno = saved;
        ThrowIo("write", path);
      }
      done += static_cast<size_t>(put);
    }
    if (fsync(file.get()) != 0) ThrowIo("sync", temporary);
  }
  MoveFile(temporary, path);
}

void MoveFile(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) ThrowIo("rename to", to);
  SyncFolder(to);
}

TemporaryFolder::TemporaryFolder() {
  std::string folder = (std::filesystem::temp_directory_path() / "steadfast-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) throw IoError(folder + ": cannot make a temporary folder");
  path_ = folder;
}
TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace steadfast
