// Progress on standard error: a line that rewrites itself on a terminal, a plain line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace steadfast {

// Whether the file descriptor is a terminal that takes control codes (TERM is not dumb).
bool IsTerminal(int descriptor);

// Whether to colour output on the descriptor: a terminal, and NO_COLOR is unset or empty (no-color.org).
bool UseColor(int descriptor);

// A duration as a person reads it: "8 s", "3 min 05 s", "2 h 10 min".
std::string FormatDuration(double seconds);

// Memory as a person reads it: "3.1 MB", "7.5 GB".
std::string FormatBytes(int64_t bytes);

// The first `width` characters of UTF-8 text, none of them cut in two.
std::string_view CutToWidth(std::string_view text, size_t width);

class ProgressLine {
 public:
  ProgressLine();  // to standard error
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Shows `text`, at most ten times a second on a terminal and once in ten seconds elsewhere.
  void Update(std::string_view text);
  // A line that stays, above the moving one.
  void Print(std::string_view text);
  // Clears the moving line.
  void Finish();

 private:
  bool terminal_;
  bool shown_ = false;
  std::string text_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_;
};

// How long the rest of some work will take, from the share of it that is done so far.
class TimeLeft {
 public:
  TimeLeft() : start_(std::chrono::steady_clock::now()) {}
  double Elapsed() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  // Seconds until the share reaches 1; share in (0, 1].
  double Remaining(double share) const { return share > 0 ? Elapsed() * (1 - share) / share : 0; }

 private:
  std::chrono::steady_clock::time_point start_;
};

}  // namespace steadfast
