#include <fmt/format.h>

#include <cmath>
#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/progress.h"
#include "steadfast/base/text.h"
#include "steadfast/campaign/rare_faults.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace rare_command {

using nlohmann::json;

struct Options {
  campaign::RareSettings settings;
  std::filesystem::path store, json;
  std::string fault = "flip", rates = "1e-7,1e-6,1e-5", encoding = "twos";
  MemoryOptions memory;
  double floor = 0;  // percent
  int64_t memory_mib = 2048;
};

json ToJson(const statistics::Estimate& estimate) {
  return {{"mean", estimate.mean}, {"low", estimate.interval.low}, {"high", estimate.interval.high}};
}

json ToJson(const campaign::RareResult& result, const Options& options) {
  json rates = json::array();
  for (const campaign::RareEstimate& one : result.rates)
    rates.push_back({{"rate", one.rate},
                     {"probability_of_none", one.none},
                     {"probability_of_one", one.one},
                     {"probability_of_several", one.several},
                     {"lost_by_one", one.lost_by_one},
                     {"lost_accuracy", ToJson(one.lost)},
                     {"below_floor_by_one", one.below ? json(one.below_by_one) : json()},
                     {"below_floor", one.below ? ToJson(*one.below) : json()},
                     {"trials", options.settings.trials},
                     {"effective_sample_size", one.effective_sample_size},
                     {"plain_trials", one.plain_trials ? json(*one.plain_trials) : json()}});
  return {{"schema", 1},
          {"model", result.model.label},
          {"clean_accuracy", result.model.accuracy()},
          {"fault", options.fault},
          {"bits", result.bits},
          {"floor", options.floor > 0 ? json(options.floor / 100) : json()},
          {"confidence", 0.95},
          {"seed", options.settings.seed},
          {"rates", rates}};
}

void Print(const campaign::RareResult& result, const Options& options) {
  const bool has_floor = options.floor > 0;
  std::vector<std::string> columns = {">rate", ">with one, %", ">with several, %", ">points lost", ">"};
  if (has_floor) columns.insert(columns.end(), {fmt::format(">chips below {:g} %", options.floor), ">"});
  columns.insert(columns.end(), {">effective trials", ">plain trials"});
  report::TextTable table(columns);
  const auto between = [](const statistics::Estimate& estimate, double unit) {
    return fmt::format("{:.3g} to {:.3g}", unit * estimate.interval.low, unit * estimate.interval.high);
  };
  for (const campaign::RareEstimate& one : result.rates) {
    std::vector<std::string> cells = {FormatShortest(one.rate), fmt::format("{:.3g}", 100 * one.one),
                                      fmt::format("{:.3g}", 100 * one.several),
                                      fmt::format("{:.3g}", 100 * one.lost.mean), between(one.lost, 100)};
    if (has_floor) cells.insert(cells.end(), {fmt::format("{:.3g}", one.below->mean), between(*one.below, 1)});
    cells.push_back(fmt::format("{:.0f} of {}", one.effective_sample_size, options.settings.trials));
    cells.push_back(one.plain_trials ? fmt::format("{:.2g}", *one.plain_trials) : "");
    table.AddRow(cells);
  }
  fmt::print(
      "{}: {} bits that can fail ({}); accuracy {:.2f} % without faults; one fault costs {:.3g} points on average "
      "(exact, from the sweep)\n\n{}\n",
      report::Printable(result.model.label), result.bits, options.fault, 100 * result.model.accuracy(),
      100 * (result.rates.empty() ? 0 : result.rates[0].lost_by_one), table.Text());
  fmt::print(
      "Chips without a fault, and with one, are known exactly; those with several from {} weighted trials at each "
      "rate, "
      "one of whose faults\nis drawn by its criticality. 95 % intervals that hold for any law; plain trials: how many "
      "would know the points lost as well.\n",
      options.settings.trials);
}

void Run(Options& options, const Cancellation& cancellation) {
  campaign::RareSettings& settings = options.settings;
  const Memories memories = MemoriesOf(options.memory, {});
  settings.encoding = memory::ParseEncoding(memories.EncodingsOr(options.encoding));
  settings.where = options.memory.where.empty() && memories.chip ? memory::ParseWhere("all") : memories.where;
  settings.chip = memories.chip;
  settings.word_bits = memories.word_bits;
  settings.fault = memory::ParseFaultKind(options.fault);
  settings.floor = options.floor / 100;
  settings.memory_bytes = options.memory_mib << 20;
  settings.rates.clear();
  for (const std::string& rate : Split(options.rates, ',')) settings.rates.push_back(ParseDouble(rate, "--rate", 0, 1));
  CheckDistinct({{"--sweep", settings.sweep},
                 {"--store", options.store},
                 {"--json", options.json},
                 {"the model " + settings.model.string(), settings.model}});
  ProgressLine line;
  const campaign::RareResult result = campaign::RunRare(
      settings, options.store,
      [&](const campaign::CampaignProgress& p) {
        line.Update(fmt::format("{}/{} trials, {:.0f} a second, {} left", p.done, p.total, p.trials_per_second,
                                FormatDuration(p.seconds_left)));
      },
      &cancellation);
  line.Finish();
  WriteJson(options.json, ToJson(result, options));
  if (!IsStandardOutput(options.json)) Print(result, options);
}

}  // namespace rare_command

void AddRareCommand(CLI::App& app, Chosen& chosen) {
  using namespace rare_command;
  auto options = std::make_shared<Options>();
  campaign::RareSettings& settings = options->settings;
  CLI::App* command =
      app.add_subcommand("rare", "What rare faults cost: one exactly, several by importance sampling from a sweep");
  command->add_option("model", settings.model, "Model file (ONNX, TFLite)")->required()->type_name("MODEL");
  command
      ->add_option("--sweep", settings.sweep,
                   "A store with a whole sweep of these bits on these images (steadfast sweep MODEL --store FILE)")
      ->required()
      ->type_name("FILE");
  command->add_option("--fault", options->fault, "What faulty bits do: flip, sa0 or sa1")
      ->capture_default_str()
      ->check(CLI::IsMember({"flip", "sa0", "sa1"}));
  command->add_option("--rate", options->rates, "Faults per bit, comma-separated; at most 100 faults on average")
      ->capture_default_str();
  command->add_option("--trials", settings.trials, "Trials at each rate, of chips with several faults")
      ->capture_default_str();
  command->add_option("--floor", options->floor, "Also the share of chips whose accuracy is below this, in percent")
      ->check(CLI::Range(0.0, 100.0));
  AddSeedOption(*command, settings.seed, "Seed of the faults");
  AddMemoryOptions(*command, options->memory, "with --chip, all");
  command->add_option("--encoding", options->encoding, "How codes are stored: twos, sign, offset or gray")
      ->capture_default_str();
  AddDataOptions(*command, settings.data);
  AddThreadsOption(*command, settings.threads);
  command
      ->add_option("--memory", options->memory_mib,
                   "MiB for what is kept of the fault-free run, from which trials start; changes no number")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--store", options->store, "SQLite file that keeps every trial; the same command resumes from it")
      ->type_name("FILE");
  AddJsonOption(*command, options->json, "Write the estimates");
  command->footer("Example: steadfast rare model.onnx --sweep sweep.sqlite --rate 1e-8,1e-7,1e-6 --floor 85");
  command->callback([options, &chosen] {
    options->settings.command = chosen.command;
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
