#include <memory>

#include "steadfast/cli/commands.h"
#include "steadfast/study/study.h"

namespace steadfast::cli {

void AddStudyCommand(CLI::App& app, Chosen& chosen) {
  struct Options {
    std::filesystem::path file;
    study::StudyOptions study;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("study", "Train, break and compare what a study file names");
  command->add_option("file", options->file, "A study file (YAML)")->required()->type_name("FILE");
  command->add_option("--output", options->study.output, "Folder for the results (default: as the file says)")
      ->type_name("DIR");
  command->add_option("--data", options->study.data, "Folder of datasets")->type_name("DIR");
  command
      ->add_option("--jobs", options->study.jobs,
                   "Networks trained side by side, one thread each (0: one a core); changes no number")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->footer(
      "Stopped at any moment, the same command goes on where it was. What a changed study file makes stale moves to "
      "OUTPUT/stale/.\n"
      "Example: steadfast study studies/quick.yaml");
  command->callback([options, &chosen] {
    chosen.run = [options, &chosen](const Cancellation& cancellation) {
      options->study.cancellation = &cancellation;
      options->study.command = chosen.command;
      study::RunStudy(study::ReadStudy(options->file), options->study);
    };
  });
}

}  // namespace steadfast::cli
