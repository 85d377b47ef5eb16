#include "steadfast/base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace steadfast {
namespace {

constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kPlainInterval = std::chrono::seconds(10);

size_t TerminalWidth() {
  winsize size = {};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

bool IsTerminal(int descriptor) {
  const char* terminal = std::getenv("TERM");
  return isatty(descriptor) == 1 && (terminal == nullptr || std::string_view(terminal) != "dumb");
}

bool UseColor(int descriptor) {
  const char* no_color = std::getenv("NO_COLOR");
  return IsTerminal(descriptor) && (no_color == nullptr || *no_color == '\0');
}

std::string_view CutToWidth(std::string_view text, size_t width) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;  // not inside a UTF-8 sequence
    if (starts && characters++ == width) return text.substr(0, i);
  }
  return text;
}

std::string FormatDuration(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

std::string FormatBytes(int64_t bytes) {
  const auto count = static_cast<double>(bytes);
  return count < 1e9 ? fmt::format("{:.1f} MB", count / 1e6) : fmt::format("{:.1f} GB", count / 1e9);
}

ProgressLine::ProgressLine() : terminal_(IsTerminal(STDERR_FILENO)), start_(std::chrono::steady_clock::now()) {
  last_ = terminal_ ? start_ - kTerminalInterval : start_;
}

ProgressLine::~ProgressLine() {
  Finish();
}

void ProgressLine::Update(std::string_view text) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_) {
    if (now - last_ < kPlainInterval) return;
    last_ = now;
    fmt::print(stderr, "{}\n", text);
    std::fflush(stderr);
    return;
  }
  text_ = text;
  if (now - last_ < kTerminalInterval) return;
  last_ = now;
  shown_ = true;
  fmt::print(stderr, "\r\x1b[2K{}", CutToWidth(text_, TerminalWidth() - 1));
  std::fflush(stderr);
}

void ProgressLine::Print(std::string_view text) {
  Finish();
  fmt::print(stderr, "{}\n", text);
  std::fflush(stderr);
}

void ProgressLine::Finish() {
  if (!shown_) return;
  fmt::print(stderr, "\r\x1b[2K");
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace steadfast
