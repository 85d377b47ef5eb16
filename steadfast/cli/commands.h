// The commands of `steadfast`, one file each. A command adds its subcommand to the application and, when chosen, sets
// what is to run once the command line has been parsed.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "steadfast/base/cancellation.h"

namespace steadfast::cli {

struct Chosen {
  std::string command;  // the words of the command line, for the record
  std::function<void(const Cancellation&)> run;
};

void AddDataCommand(CLI::App& app, Chosen& chosen);
void AddTrainCommand(CLI::App& app, Chosen& chosen);
void AddNetworksCommand(CLI::App& app, Chosen& chosen);
void AddQuantizeCommand(CLI::App& app, Chosen& chosen);
void AddInspectCommand(CLI::App& app, Chosen& chosen);
void AddEvaluateCommand(CLI::App& app, Chosen& chosen);
void AddInjectCommand(CLI::App& app, Chosen& chosen);
void AddToleranceCommand(CLI::App& app, Chosen& chosen);
void AddFaultsCommand(CLI::App& app, Chosen& chosen);
void AddExportCommand(CLI::App& app, Chosen& chosen);
void AddSamplesCommand(CLI::App& app, Chosen& chosen);
void AddRareCommand(CLI::App& app, Chosen& chosen);
void AddSweepCommand(CLI::App& app, Chosen& chosen);
void AddLatencyCommand(CLI::App& app, Chosen& chosen);
void AddReplayCommand(CLI::App& app, Chosen& chosen);
void AddSharpnessCommand(CLI::App& app, Chosen& chosen);
void AddStudyCommand(CLI::App& app, Chosen& chosen);
void AddReportCommand(CLI::App& app, Chosen& chosen);
void AddHelpCommand(CLI::App& app, Chosen& chosen);

}  // namespace steadfast::cli
