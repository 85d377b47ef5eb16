// Running another program and reading what it says, line by line.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "steadfast/base/cancellation.h"  // Cancellation

namespace steadfast {

struct ProcessResult {
  int exit_code;       // 128 + signal where a signal ended it
  std::string errors;  // the last 64 KiB of its standard error
};

// Runs a program to its end and calls on_line for each line of its standard output (without the newline). When
// `cancellation` is requested, SIGTERM goes to the program once, and its end is awaited. If this process dies, the
// program gets SIGTERM from the kernel. Standard input is empty. Throws IoError where it cannot be started.
ProcessResult RunProcess(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                         const std::function<void(std::string_view line)>& on_line,
                         const Cancellation* cancellation = nullptr);

// The folder of the running program.
std::filesystem::path FolderOfThisProgram();

}  // namespace steadfast
