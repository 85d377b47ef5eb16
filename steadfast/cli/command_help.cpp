#include <fmt/format.h>

#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/cli/commands.h"

namespace steadfast::cli {
namespace help_command {

std::string HelpOf(const CLI::App& command) {
  return command.help("steadfast");
}

// app.help() would explain the subcommand being parsed: this one.
std::string HelpOfProgram(const CLI::App& app) {
  return app.get_formatter()->make_help(&app, "steadfast", CLI::AppFormatMode::Normal);
}

const CLI::App& CommandNamed(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == name) return *command;
  }
  throw UsageError(fmt::format("there is no command '{}'; see: steadfast --help", name));
}

void PrintMarkdown(const CLI::App& app) {
  fmt::print("# Command line\n\nGenerated from the help texts by `make docs`; a test says when it is stale.\n");
  fmt::print("\n## steadfast\n\n```text\n{}```\n", HelpOfProgram(app));
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    fmt::print("\n## steadfast {}\n\n```text\n{}```\n", command->get_name(), HelpOf(*command));
  }
}

}  // namespace help_command

void AddHelpCommand(CLI::App& app, Chosen& chosen) {
  using namespace help_command;
  struct Options {
    std::string command;
    bool markdown = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* help = app.add_subcommand("help", "Explain a command");
  help->add_option("command", options->command, "The command");
  help->add_flag("--markdown", options->markdown, "Print every help text as docs/cli.md has it");
  help->footer("Example: steadfast help inject");
  help->callback([options, &chosen, &app] {
    // Printed here: the application does not outlive parsing.
    if (options->markdown)
      PrintMarkdown(app);
    else if (options->command.empty())
      fmt::print("{}", HelpOfProgram(app));
    else
      fmt::print("{}", HelpOf(CommandNamed(app, options->command)));
    chosen.run = [](const Cancellation&) {};
  });
}

}  // namespace steadfast::cli
