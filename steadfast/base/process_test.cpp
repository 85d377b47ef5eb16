#include "steadfast/base/process.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "steadfast/base/error.h"

namespace steadfast {
namespace {

TEST(RunProcess, GivesLinesErrorsAndExitCode) {
  std::vector<std::string> lines;
  const ProcessResult result = RunProcess("/bin/sh", {"-c", "echo one; echo; echo oops >&2; printf last; exit 3"},
                                          [&](std::string_view line) { lines.emplace_back(line); });
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "", "last"}));
  EXPECT_EQ(result.errors, "oops\n");
  EXPECT_EQ(result.exit_code, 3);
}

TEST(RunProcess, SaysWhenThereIsNoSuchProgram) {
  EXPECT_THROW(RunProcess("/nonexistent/program", {}, [](std::string_view) {}), IoError);
}

TEST(RunProcess, PassesCancellationOn) {
  Cancellation cancellation;
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    cancellation.Request();
  });
  const auto start = std::chrono::steady_clock::now();
  const ProcessResult result = RunProcess(
      "/bin/sh", {"-c", "exec sleep 60"}, [](std::string_view) {}, &cancellation);
  EXPECT_EQ(result.exit_code, 128 + 15);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace steadfast
