#include <fmt/format.h>

#include <memory>

#include "steadfast/base/file.h"
#include "steadfast/base/progress.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/report/sharpness_report.h"
#include "steadfast/study/sharpness_run.h"

namespace steadfast::cli {
namespace sharpness_command {

namespace fs = std::filesystem;

struct Options {
  study::SharpnessRunSettings run;
  std::vector<std::string> lines;  // pairs
  fs::path store, csv, json;
};

void Run(Options& options, const Cancellation& cancellation) {
  study::SharpnessRunSettings& run = options.run;
  run.settings = recipe::SharpnessSettingsFromJson(recipe::ToJson(run.settings));  // checks what was typed
  std::vector<std::pair<std::string, fs::path>> paths = {
      {"--store", options.store}, {"--csv", options.csv}, {"--json", options.json}};
  for (const fs::path& path : run.models) paths.emplace_back("the model " + path.string(), path);
  CheckDistinct(paths);
  for (size_t i = 0; i + 1 < options.lines.size(); i += 2)
    run.lines.emplace_back(options.lines[i], options.lines[i + 1]);
  ProgressLine line;
  const TimeLeft time;
  const study::SharpnessRun result = study::MeasureSharpness(
      run, options.store,
      [&](const study::SharpnessProgress& p) {
        line.Update(fmt::format("{}/{} models, {:.0f} %, {} left | {}", p.done, p.total, p.share * 100,
                                FormatDuration(time.Remaining(p.share)), fmt::join(p.running, " | ")));
      },
      &cancellation);
  line.Finish();
  if (result.resumed > 0)
    fmt::print(stderr, "{} of {} models were already in {}\n", result.resumed, result.models.size(),
               options.store.string());
  if (!options.csv.empty()) WriteFileWhole(options.csv, report::SharpnessCsv(result.models, result.rows));
  WriteJson(options.json, report::SharpnessJson(result.models, result.rows));
  if (IsStandardOutput(options.json)) return;
  fmt::print("Increase of the loss (nats, {} training images) and curvature, by measure\n\n{}", result.rows[0].images,
             report::SharpnessTable(result.models, result.rows));
}

}  // namespace sharpness_command

void AddSharpnessCommand(CLI::App& app, Chosen& chosen) {
  using namespace sharpness_command;
  auto options = std::make_shared<Options>();
  recipe::SharpnessSettings& s = options->run.settings;
  CLI::App* command = app.add_subcommand(
      "sharpness", "Measure how sharply the loss rises around quantized weights: SAM, Hessian, bit flips, surfaces");
  command->add_option("models", options->run.models, "ONNX model files")->required()->type_name("MODEL");
  command
      ->add_option("--store", options->store,
                   "SQLite file that keeps the results, that of trials too; the same command resumes, model by model")
      ->type_name("FILE");
  command->add_option("--csv", options->csv, "Write one row a number")->type_name("FILE");
  AddJsonOption(*command, options->json, "Write all numbers");
  const auto number = [&](const char* name, int64_t& into, const char* text) {
    command->add_option(name, into, text)->capture_default_str()->type_name("INT");
  };
  const auto list = [&](const char* name, std::vector<double>& into, const char* text) {
    command->add_option(name, into, text)->delimiter(',')->capture_default_str()->type_name("X,Y,...");
  };
  number("--images", s.images, "Training images to measure on");
  AddSeedOption(*command, s.seed, "Seed of random starts, perturbations, probes and faults");
  list("--radii", s.radii, "Radii of SAM and average sharpness, absolute");
  list("--relative-radii", s.relative_radii, "The same, in units of the norm of the quantized weights");
  list("--adaptive-radii", s.adaptive_radii, "The same, of the adaptive form (ASAM)");
  list("--random-relative-radii", s.random_relative_radii,
       "Radii of average sharpness alone, in units of the norm: random perturbations hurt later than chosen ones");
  number("--ascent-steps", s.ascent_steps, "Steps of projected gradient ascent");
  number("--restarts", s.restarts, "Starts of the ascent: the network, then random points of the sphere");
  number("--draws", s.draws, "Random perturbations for average sharpness");
  list("--fault-rates", s.fault_rates, "Rates of random bit flips, faults per bit");
  number("--fault-trials", s.fault_trials, "Trials at each rate");
  number("--fault-images", s.fault_images, "Training images for the bit flips, which take less time than the rest");
  number("--eigenvalues", s.eigenvalues, "Largest eigenvalues of the Hessian (0: none)");
  number("--lanczos-steps", s.lanczos_steps, "Lanczos steps for them");
  number("--layer-steps", s.layer_steps, "Lanczos steps for each layer's own largest eigenvalue (0: none)");
  number("--density-probes", s.density_probes, "Random vectors for the spectral density (0: none)");
  number("--density-steps", s.density_steps, "Lanczos steps for each of them");
  number("--trace-probes", s.trace_probes, "Random vectors for the trace (0: none)");
  number("--surface-points", s.surface_points, "Points of a loss curve (0: none)");
  number("--plane-points", s.plane_points, "Points along a side of a loss surface (0: none)");
  command
      ->add_option("--line", options->lines,
                   "Two of the models: the loss on the straight line between them; can be repeated")
      ->type_name("FROM TO")
      ->expected(2)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--dataset", options->run.dataset, "Dataset by name (default: the one the model file names)");
  command->add_option("--data", options->run.data, "Folder of datasets")->type_name("DIR");
  AddInputOptions(*command, options->run.input);
  options->run.on_note = PrintNote;
  command
      ->add_option("--jobs", options->run.jobs,
                   "Models measured side by side, one thread each (0: one a core); changes no number")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->footer(
      "Any ONNX model that Steadfast reads can be measured. docs/formats.md says what each measure is.\n"
      "Example: steadfast sharpness a.onnx b.onnx --line a.onnx b.onnx --store trials.sqlite");
  command->callback([options, &chosen] {
    options->run.command = chosen.command;
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
