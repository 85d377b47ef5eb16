#include "steadfast/base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "steadfast/base/error.h"

namespace steadfast {
namespace {

constexpr size_t kErrorsKept = 65536;
constexpr int kPollMilliseconds = 100;

struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw IoError(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
    read_end = ends[0];
    write_end = ends[1];
  }
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void CloseRead() { Close(read_end); }
  void CloseWrite() { Close(write_end); }

 private:
  static void Close(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
};

// Runs in the child between fork and exec: async-signal-safe calls only.
[[noreturn]] void BecomeProgram(const char* program, char* const* arguments, const Pipe& out, const Pipe& errors,
                                const Pipe& failure, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(128 + SIGTERM);
  // A group of its own: Ctrl-C reaches it through us, once.
  setpgid(0, 0);
  const int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, STDIN_FILENO);
  dup2(out.write_end, STDOUT_FILENO);
  dup2(errors.write_end, STDERR_FILENO);
  execv(program, arguments);
  const int reason = errno;
  if (write(failure.write_end, &reason, sizeof reason) < 0) _exit(126);
  _exit(127);
}

// Appends what is there; false at the end of the stream.
bool Drain(int descriptor, std::string& into) {
  std::array<char, 65536> buffer;
  const ssize_t got = read(descriptor, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  into.append(buffer.data(), static_cast<size_t>(got));
  return got > 0;
}

void PassLines(std::string& text, const std::function<void(std::string_view)>& on_line) {
  size_t start = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', start)) {
    on_line(std::string_view(text).substr(start, end - start));
    start = end + 1;
  }
  text.erase(0, start);
}

int AwaitEnd(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

ProcessResult RunProcess(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                         const std::function<void(std::string_view)>& on_line, const Cancellation* cancellation) {
  std::vector<std::string> words = {program.string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (auto& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  Pipe out, errors, failure;
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw IoError(fmt::format("cannot start {}: {}", program.string(), std::strerror(errno)));
  if (child == 0) BecomeProgram(words[0].c_str(), pointers.data(), out, errors, failure, parent);
  out.CloseWrite();
  errors.CloseWrite();
  failure.CloseWrite();

  ProcessResult result{0, ""};
  std::string text;
  bool terminated = false, out_open = true, errors_open = true;
  try {
    while (out_open || errors_open) {
      if (cancellation != nullptr && cancellation->Requested() && !terminated) {
        kill(child, SIGTERM);
        terminated = true;
      }
      std::array<pollfd, 2> polled = {
          {{out_open ? out.read_end : -1, POLLIN, 0}, {errors_open ? errors.read_end : -1, POLLIN, 0}}};
      if (poll(polled.data(), polled.size(), kPollMilliseconds) <= 0) continue;
      if (polled[0].revents != 0) out_open = Drain(out.read_end, text);
      if (polled[1].revents != 0) errors_open = Drain(errors.read_end, result.errors);
      if (result.errors.size() > kErrorsKept) result.errors.erase(0, result.errors.size() - kErrorsKept);
      PassLines(text, on_line);
    }
    if (!text.empty()) on_line(text);
  } catch (...) {
    kill(child, SIGTERM);
    AwaitEnd(child);
    throw;
  }
  result.exit_code = AwaitEnd(child);
  int reason = 0;
  if (read(failure.read_end, &reason, sizeof reason) == sizeof reason) {
    throw IoError(fmt::format("cannot start {}: {}", program.string(), std::strerror(reason)));
  }
  return result;
}

std::filesystem::path FolderOfThisProgram() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

}  // namespace steadfast
