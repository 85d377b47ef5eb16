#include <fmt/format.h>

#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/progress.h"
#include "steadfast/base/text.h"
#include "steadfast/campaign/campaign.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/memory/voltage_table.h"
#include "steadfast/report/campaign_report.h"

namespace steadfast::cli {
namespace inject_command {

struct Options {
  campaign::CampaignSettings settings;
  std::filesystem::path store, csv, json, export_faults;
  std::string faults = "flip", rates = "1e-3,1e-2", encodings = "twos", voltages, until;
  std::filesystem::path voltage_table;
  MemoryOptions memory;
  double floor = 0;  // in percent; 0: none
  int64_t memory_mib = 2048;
};

// "0,1" may be meant as 0.1.
void WarnOfDecimalComma(const std::string& rates) {
  const auto items = Split(rates, ',');
  for (size_t i = 0; i + 1 < items.size(); ++i) {
    const std::string& next = items[i + 1];
    if (items[i] != "0" || next.empty() || next.find_first_not_of("0123456789") != std::string::npos) continue;
    fmt::print(stderr, "--rate {}: these are two rates, 0 and {}; if 0.{} is meant, write it with a point\n", rates,
               next, next);
  }
}

// Rates as they are given, or as voltages and a table give them.
void AddRates(Options& options) {
  std::vector<double>& rates = options.settings.rates;
  if (options.voltage_table.empty() != options.voltages.empty())
    throw UsageError("--voltage and --voltage-table go together: voltages, and the table that gives their rates");
  if (options.voltages.empty()) {
    WarnOfDecimalComma(options.rates);
    for (const auto& rate : Split(options.rates, ',')) rates.push_back(ParseDouble(rate, "--rate", 0.0, 1.0));
    return;
  }
  const memory::VoltageTable table =
      memory::ParseVoltageTable(ReadTextFile(options.voltage_table), options.voltage_table.string());
  for (const auto& voltage : Split(options.voltages, ',')) {
    const double volts = ParseDouble(voltage, "--voltage", 0.0, 1e6);
    rates.push_back(memory::RateAt(table, volts));
    PrintNote(fmt::format("{:g} V: {:.4g} faults per bit", volts, rates.back()));
  }
}

void CompleteSettings(Options& options) {
  campaign::CampaignSettings& settings = options.settings;
  settings.faults.clear();
  settings.rates.clear();
  settings.encodings.clear();
  settings.memory_bytes = options.memory_mib << 20;
  settings.faults = memory::ParseFaultModels(options.faults);
  const Memories memories = MemoriesOf(options.memory, settings.faults);
  settings.where = memories.where;
  settings.chip = memories.chip;
  settings.word_bits = memories.word_bits;
  AddRates(options);
  for (const auto& encoding : Split(memories.EncodingsOr(options.encodings), ','))
    settings.encodings.push_back(memory::ParseEncoding(encoding));
}

void ExportFaults(const Options& options) {
  if (options.settings.faults.size() != 1 || options.settings.rates.size() != 1)
    throw UsageError(
        "--export-faults: give one --fault and one --rate; a list holds the faults of one cell of the grid");
  const model::ModelFile file = model::ReadModelFile(options.settings.models[0], options.settings.data.reading);
  const memory::MemoryImage image = campaign::ImageOf(options.settings, file.model, options.settings.encodings[0]);
  const auto lists =
      campaign::FaultListsOf(options.settings, image, options.settings.faults[0], options.settings.rates[0]);
  WriteFileWhole(options.export_faults, memory::ToCsv(lists, image));
  fmt::print(stderr, "Fault list of {} trials: {}\n", lists.size(), options.export_faults.string());
}

// Outputs must not land on inputs, nor on one another.
void CheckPaths(const Options& options) {
  std::vector<std::pair<std::string, std::filesystem::path>> paths = {{"--store", options.store},
                                                                      {"--csv", options.csv},
                                                                      {"--json", options.json},
                                                                      {"--export-faults", options.export_faults},
                                                                      {"--voltage-table", options.voltage_table},
                                                                      {"--fault-list", options.settings.fault_list}};
  for (const auto& model : options.settings.models) paths.emplace_back("the model " + model.string(), model);
  CheckDistinct(paths);
}

std::optional<double> FloorOf(const Options& options) {
  return options.floor > 0 ? std::optional(options.floor / 100) : std::nullopt;
}

void Run(Options& options, const Cancellation& cancellation) {
  CompleteSettings(options);
  CheckPaths(options);
  if (!options.export_faults.empty()) ExportFaults(options);
  ProgressLine line;
  const campaign::CampaignResult result = campaign::RunCampaign(
      options.settings, options.store,
      [&](const campaign::CampaignProgress& p) {
        if (p.cells > 0)
          line.Update(fmt::format("{} trials, {:.0f} trials/s, {}/{} cells known well enough | {}", p.done,
                                  p.trials_per_second, p.cells_done, p.cells, p.model));
        else
          line.Update(fmt::format("{}/{} trials, {:.0f} trials/s, {} left | {}", p.done, p.total, p.trials_per_second,
                                  FormatDuration(p.seconds_left), p.model));
      },
      &cancellation);
  line.Finish();
  if (result.resumed > 0)
    fmt::print(stderr, "{} of {} trials were already in {}\n", result.resumed, result.trials.size(),
               options.store.string());
  if (result.idle > 0)
    fmt::print(stderr, "{}: {} faults lie on cells that hold nothing of {}\n", options.settings.fault_list.string(),
               result.idle, result.models[0].label);
  const report::CampaignReport report =
      report::MakeCampaignReport(result.models, result.trials, {options.settings.until.has_value(), FloorOf(options)});
  if (!options.csv.empty()) WriteFileWhole(options.csv, report::ToCsv(report));
  if (!options.json.empty())
    WriteJson(options.json, report::ToJson(report, store::Store::OpenForReading(options.store).settings()));
  if (!IsStandardOutput(options.json)) fmt::print("{}", report::ToText(report));
}

}  // namespace inject_command

void AddInjectCommand(CLI::App& app, Chosen& chosen) {
  using namespace inject_command;
  auto options = std::make_shared<Options>();
  campaign::CampaignSettings& settings = options->settings;
  CLI::App* command =
      app.add_subcommand("inject", "Break the memory that holds a model's parameters, and measure what it costs");
  command->add_option("models", settings.models, "Model files (ONNX, TFLite); several are compared, trial by trial")
      ->required()
      ->type_name("MODEL...");
  command->add_option("--store", options->store, "SQLite file that keeps every trial; the same command resumes from it")
      ->required()
      ->type_name("FILE");
  CLI::Option* fault = command->add_option("--fault", options->faults, FaultHelp("Fault models, comma-separated"))
                           ->capture_default_str();
  CLI::Option* rate = command->add_option("--rate", options->rates, "Faults per bit, comma-separated, each from 0 to 1")
                          ->capture_default_str();
  CLI::Option* trials = command->add_option("--trials", settings.trials, "Trials at each fault kind, encoding and rate")
                            ->capture_default_str();
  CLI::Option* until =
      command
          ->add_option(
              "--until", options->until,
              "Trials at each of these until the 95 % confidence sequence of mean accuracy, which may be looked "
              "at after every trial, is narrower than so many points; --trials are then the most (10000)")
          ->type_name("'width<POINTS'");
  CLI::Option* seed = AddSeedOption(*command, settings.seed, "Seed of the faults");
  command
      ->add_option("--encoding", options->encodings, "How codes are stored, comma-separated: twos, sign, offset, gray")
      ->capture_default_str();
  AddMemoryOptions(*command, options->memory);
  CLI::Option* voltage = command->add_option("--voltage", options->voltages,
                                             "Instead of rates: supply voltages, comma-separated, whose rates "
                                             "--voltage-table gives");
  command
      ->add_option(
          "--voltage-table", options->voltage_table,
          "CSV file (voltage,rate) or YAML map of voltages to faults per bit; between them the rate's logarithm is "
          "linear, outside them nothing is taken")
      ->type_name("FILE");
  voltage->excludes(rate);
  CLI::Option* list =
      command
          ->add_option("--fault-list", settings.fault_list,
                       "Faults from a CSV or JSON file instead of random ones: measured maps, each a trial "
                       "(trial,tensor,index,bit,kind or, of a --chip, trial,memory,bank,row,column,kind or "
                       "trial,memory,word,bit,kind); without --fault, --rate, --trials, --seed")
          ->type_name("FILE");
  list->excludes(fault)->excludes(rate)->excludes(trials)->excludes(seed)->excludes(until)->excludes(voltage);
  command
      ->add_option("--export-faults", options->export_faults,
                   "Write the faults of the trials as such a CSV file (one --fault, one --rate)")
      ->type_name("FILE");
  AddDataOptions(*command, settings.data);
  AddThreadsOption(*command, settings.threads);
  command
      ->add_option(
          "--memory", options->memory_mib,
          "MiB for what is kept of the fault-free run, from which trials of few faults start; changes no number")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--floor", options->floor, "Accuracy in percent, below which a trial counts as critical (0: none)")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--csv", options->csv, "Write one row a trial")->type_name("FILE");
  AddJsonOption(*command, options->json, "Write the summary");
  command->add_flag("--extend", settings.extend,
                    "Add models, fault kinds, rates, encodings or trials to a store that has fewer");
  command->footer(
      "Example: steadfast inject model.onnx --fault flip --rate 1e-3,5e-3,1e-2 --trials 100 --seed 1 --store "
      "trials.sqlite --csv trials.csv");
  command->callback([options, trials, &chosen] {
    if (!options->until.empty()) {
      options->settings.until = campaign::ParseUntil(options->until);
      if (trials->count() == 0) options->settings.trials = campaign::kMostTrialsUntil;
    }
    options->settings.command = chosen.command;
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
