// steadfast: the program. Parses arguments, prints, and turns errors into exit codes: 2 for wrong usage, 130 for an
// interruption, 1 for anything else that failed.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "steadfast/base/cancellation.h"
#include "steadfast/base/error.h"
#include "steadfast/base/progress.h"  // UseColor
#include "steadfast/base/text.h"      // DidYouMean
#include "steadfast/base/version.h"
#include "steadfast/cli/commands.h"

namespace {

using namespace steadfast;

constexpr const char* kFooter = R"(
Start with:
  steadfast data                                 which datasets are here
  steadfast train lenet5 -o model.onnx           train LeNet-5 on Fashion-MNIST, 4-bit weights
  steadfast inject model.onnx --store t.sqlite   break its memory, measure accuracy
  steadfast sweep model.onnx                     what every single bit costs
  steadfast study studies/quick.yaml             the whole comparison
Every command explains itself: steadfast train --help)";

// Messages contain names from files: no name may send control characters to the terminal.
std::string WithoutControls(std::string text) {
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f) c = '?';
  }
  return text;
}

void Complain(const std::string& message) {
  const bool color = UseColor(STDERR_FILENO);
  fmt::print(stderr, "{}steadfast: {}{}\n", color ? "\x1b[31m" : "", color ? "\x1b[0m" : "", WithoutControls(message));
}

std::string NoSuchCommand(const CLI::App& app, const std::string& name) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(command->get_name());
  return fmt::format("there is no command '{}'{}; there are {}. See: steadfast --help", name, DidYouMean(name, names),
                     fmt::join(names, ", "));
}

int Run(int argc, char** argv) {
  CLI::App app{"Steadfast trains quantized networks, breaks the memory that holds them, and measures what it costs.",
               "steadfast"};
  app.set_version_flag("--version", fmt::format("steadfast {}", Version()));
  app.footer(kFooter);
  app.require_subcommand(0, 1);
  app.get_formatter()->column_width(34);
  cli::Chosen chosen;
  for (int i = 1; i < argc; ++i) chosen.command += (i > 1 ? " " : "") + std::string(argv[i]);
  cli::AddDataCommand(app, chosen);
  cli::AddTrainCommand(app, chosen);
  cli::AddNetworksCommand(app, chosen);
  cli::AddQuantizeCommand(app, chosen);
  cli::AddInspectCommand(app, chosen);
  cli::AddEvaluateCommand(app, chosen);
  cli::AddInjectCommand(app, chosen);
  cli::AddToleranceCommand(app, chosen);
  cli::AddFaultsCommand(app, chosen);
  cli::AddExportCommand(app, chosen);
  cli::AddSamplesCommand(app, chosen);
  cli::AddSweepCommand(app, chosen);
  cli::AddRareCommand(app, chosen);
  cli::AddLatencyCommand(app, chosen);
  cli::AddReplayCommand(app, chosen);
  cli::AddSharpnessCommand(app, chosen);
  cli::AddStudyCommand(app, chosen);
  cli::AddReportCommand(app, chosen);
  cli::AddHelpCommand(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    const auto subcommands = app.get_subcommands();
    if (subcommands.empty() && argc > 1 && argv[1][0] != '-') throw UsageError(NoSuchCommand(app, argv[1]));
    Complain(fmt::format("{}\nSee: steadfast {}--help", error.what(),
                         subcommands.empty() ? "" : subcommands[0]->get_name() + " "));
    return 2;
  }
  if (!chosen.run) {
    fmt::print("{}", app.help());
    return 0;
  }
  Cancellation cancellation;
  const InterruptHandler handler(cancellation);
  chosen.run(cancellation);
  // Results that did not reach their reader are not a success.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw IoError(fmt::format("cannot write to standard output: {}", std::strerror(errno)));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const UsageError& error) {
    Complain(error.what());
    return 2;
  } catch (const InterruptedError& error) {
    Complain(fmt::format("{}; what was finished is kept: run the same command again to go on", error.what()));
    return 130;
  } catch (const std::exception& error) {
    Complain(error.what());
    return 1;
  }
}
