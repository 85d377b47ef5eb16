// steadfast-train: the commands that need LibTorch. `steadfast` starts it and shows what it says; it speaks JSON lines.
#include <fmt/format.h>
#include <malloc.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "steadfast/base/cancellation.h"
#include "steadfast/base/error.h"
#include "steadfast/base/version.h"
#include "steadfast/cli_train/sharpness_command.h"
#include "steadfast/cli_train/train_command.h"

namespace {

using namespace steadfast;

int Fail(const char* kind, const std::string& message, int exit_code) {
  cli_train::Emit({{"event", "error"}, {"kind", kind}, {"message", message}});
  return exit_code;
}

nlohmann::json ParseJson(const std::string& text, const char* option) {
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) throw UsageError(fmt::format("{}: is not JSON", option));
  return json;
}

int Run(int argc, char** argv) {
  CLI::App app{
      "The part of Steadfast that needs LibTorch. Use it through `steadfast`, for example: steadfast train --help"};
  app.set_version_flag("--version", fmt::format("steadfast-train {}", Version()));
  app.require_subcommand(1);
  std::string recipe_text;
  cli_train::TrainCommand command;
  auto* train = app.add_subcommand("train", "Train one network; JSON lines on standard output");
  train->add_option("--recipe", recipe_text, "The recipe as a JSON object")->required();
  train->add_option("--data", command.data, "Folder of the dataset");
  train->add_option("--output", command.output, "The model file to write")->required();
  cli_train::SharpnessCommand measure;
  std::string settings_text;
  auto* sharpness =
      app.add_subcommand("sharpness", "Measure the sharpness of one model; JSON lines on standard output");
  sharpness->add_option("--model", measure.model, "The model file")->required();
  sharpness->add_option("--settings", settings_text, "The settings as a JSON object")->required();
  sharpness->add_option("--dataset", measure.dataset, "Dataset by name");
  sharpness->add_option("--data", measure.data, "Folder of the dataset");
  sharpness->add_option("--input-scale", measure.input.scale,
                        "Of a model that takes real numbers: see steadfast --help");
  sharpness->add_option("--mean", measure.input.means)->delimiter(',');
  sharpness->add_option("--std", measure.input.deviations)->delimiter(',');
  sharpness->add_option("--line", measure.lines, "A model to draw a straight line to");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  cli_train::Emit({{"event", "hello"}, {"program", "steadfast-train"}, {"version", Version()}});
  Cancellation cancellation;
  const InterruptHandler handler(cancellation);
  if (train->parsed()) {
    command.recipe = recipe::FromJson(ParseJson(recipe_text, "--recipe"));
    cli_train::RunTrain(command, cancellation);
  } else {
    measure.settings = recipe::SharpnessSettingsFromJson(ParseJson(settings_text, "--settings"));
    cli_train::RunSharpness(measure, cancellation);
  }
  return 0;
}

// Training allocates and frees the same large blocks each step: keep them instead of giving them back to the system.
void KeepFreedMemory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the largest that glibc takes
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  KeepFreedMemory();
  try {
    return Run(argc, argv);
  } catch (const UsageError& error) {
    return Fail("usage", error.what(), 2);
  } catch (const InterruptedError& error) {
    return Fail("interrupted", error.what(), 130);
  } catch (const std::exception& error) {
    return Fail("failed", error.what(), 1);
  }
}
