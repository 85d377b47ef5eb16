#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <optional>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/progress.h"
#include "steadfast/base/text.h"
#include "steadfast/campaign/tolerance.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/memory/voltage_table.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace tolerance_command {

using nlohmann::json;

// Rates to try, ascending, and the voltages that they are of, where a table gives them.
struct Strengths {
  std::vector<double> rates, voltages;
};

struct Options {
  std::vector<std::filesystem::path> models;
  std::filesystem::path store, json, voltage_table;
  double voltage_step = 0.005;
  Strengths of_voltages;  // with a table
  CLI::Option *from_option = nullptr, *to_option = nullptr;
  campaign::CampaignSettings settings;
  std::string fault = "flip", encoding = "twos";
  MemoryOptions memory;
  double floor = 0, yield = 0.99, confidence = 0.95, from = 1e-6, to = 0.1;
  int64_t chips = 0, per_decade = 10;
};

// From the table's highest voltage down.
Strengths OfVoltages(const Options& options) {
  if (options.from_option->count() > 0 || options.to_option->count() > 0)
    throw UsageError("--voltage-table has the rates: without --from and --to");
  if (!(options.voltage_step > 0)) throw UsageError("--voltage-step must be above 0");
  const memory::VoltageTable table =
      memory::ParseVoltageTable(ReadTextFile(options.voltage_table), options.voltage_table.string());
  Strengths strengths;
  const auto steps = static_cast<int64_t>(std::floor((table.highest() - table.lowest()) / options.voltage_step + 1e-9));
  for (int64_t i = 0; i <= steps; ++i) {
    // Numbers that can be typed.
    const double voltage =
        std::max(table.lowest(),
                 ParseDouble(fmt::format("{:.6g}", table.highest() - static_cast<double>(i) * options.voltage_step),
                             "voltage", 0, 1e6));
    const double rate = memory::RateAt(table, voltage);
    if (!strengths.rates.empty() && rate <= strengths.rates.back())
      throw UsageError(fmt::format("{}: rates grow as voltages fall, and at {:g} V it is {:g}, no more than above",
                                   options.voltage_table.string(), voltage, rate));
    strengths.rates.push_back(rate);
    strengths.voltages.push_back(voltage);
  }
  return strengths;
}

using campaign::ToleranceAnswer;

// Of a rate that was tried.
std::optional<double> VoltageOf(double rate, const Options& options) {
  if (options.voltage_table.empty()) return std::nullopt;
  const Strengths& strengths = options.of_voltages;
  for (size_t i = 0; i < strengths.rates.size(); ++i) {
    if (strengths.rates[i] == rate) return strengths.voltages[i];
  }
  return std::nullopt;
}

std::string RateText(const statistics::Tolerance& tolerance, const Options& options) {
  if (!options.voltage_table.empty()) {
    if (!tolerance.strength) return "above the table";
    return fmt::format("{:g} V ({:.3g})", *VoltageOf(*tolerance.strength, options), *tolerance.strength);
  }
  return tolerance.strength ? fmt::format("{:g}", *tolerance.strength) : fmt::format("below {:g}", options.from);
}

void Print(const std::vector<ToleranceAnswer>& answers, const Options& options) {
  fmt::print("{} of {} at which accuracy stays at {:g} % or above, with {:g} % confidence each:\n\n",
             options.voltage_table.empty() ? "The highest rate" : "The lowest voltage (and its rate)", options.fault,
             options.floor, 100 * options.confidence);
  report::TextTable table({"model", ">clean, %", ">on average", fmt::format(">on {:g} % of chips", 100 * options.yield),
                           ">chips at that rate", ">below the floor"});
  for (const ToleranceAnswer& answer : answers) {
    const statistics::ToleranceStep* at = nullptr;
    for (const auto& step : answer.yield.steps) {
      if (step.strength == answer.yield.strength) at = &step;
    }
    table.AddRow({report::Printable(answer.model.stem().string()), fmt::format("{:.2f}", 100 * answer.clean),
                  RateText(answer.mean, options), RateText(answer.yield, options),
                  at == nullptr ? "" : std::to_string(at->chips), at == nullptr ? "" : std::to_string(at->below)});
  }
  fmt::print("{}", table.Text());
  for (const ToleranceAnswer& answer : answers) {
    if (answer.clean < options.floor / 100)
      fmt::print("{} has {:.2f} % without any fault: below the floor.\n", report::Printable(answer.model.string()),
                 100 * answer.clean);
  }
}

// What each rate is the voltage of; null without a table.
json VoltagesJson(const Options& options) {
  if (options.voltage_table.empty()) return nullptr;
  const Strengths& strengths = options.of_voltages;
  json voltages = json::array();
  for (size_t i = 0; i < strengths.rates.size(); ++i)
    voltages.push_back({{"voltage", strengths.voltages[i]}, {"rate", strengths.rates[i]}});
  return voltages;
}

void Run(Options& options, const Cancellation& cancellation) {
  std::vector<std::pair<std::string, std::filesystem::path>> paths = {{"--store", options.store},
                                                                      {"--json", options.json}};
  for (const auto& model : options.models) paths.emplace_back("the model " + model.string(), model);
  CheckDistinct(paths);
  if (!options.voltage_table.empty()) options.of_voltages = OfVoltages(options);
  options.settings.faults = {memory::ParseFaultModel(options.fault)};
  const Memories memories = MemoriesOf(options.memory, options.settings.faults);
  options.settings.encodings = {memory::ParseEncoding(memories.EncodingsOr(options.encoding))};
  options.settings.where = memories.where;
  options.settings.chip = memories.chip;
  options.settings.word_bits = memories.word_bits;
  const campaign::ToleranceQuestion question = {
      .floor = options.floor / 100,
      .yield = options.yield,
      .confidence = options.confidence,
      .chips = options.chips,
      .rates = options.voltage_table.empty() ? campaign::RatesBetween(options.from, options.to, options.per_decade)
                                             : options.of_voltages.rates};
  // Without a store to keep them in, the trials are forgotten.
  const TemporaryFolder temporary;
  const std::filesystem::path store = options.store.empty() ? temporary.path() / "trials.sqlite" : options.store;
  std::vector<ToleranceAnswer> answers;
  json models = json::array();
  ProgressLine line;
  for (const auto& model : options.models) {
    campaign::CampaignSettings settings = options.settings;
    settings.models = {model};
    answers.push_back(campaign::AskForTolerance(
        question, settings, store,
        [&](double rate, const campaign::CampaignProgress& p) {
          line.Update(fmt::format("{} | rate {:g}: {}/{} chips", p.model, rate, p.done, p.total));
        },
        &cancellation));
    line.Finish();
    models.push_back(campaign::ToJson(answers.back()));
  }
  WriteJson(options.json, {{"schema", 1},
                           {"fault", options.fault},
                           {"floor", options.floor / 100},
                           {"yield", options.yield},
                           {"confidence", options.confidence},
                           {"voltages", VoltagesJson(options)},
                           {"models", models}});
  if (!IsStandardOutput(options.json)) Print(answers, options);
}

}  // namespace tolerance_command

void AddToleranceCommand(CLI::App& app, Chosen& chosen) {
  using namespace tolerance_command;
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "tolerance", "Up to which fault rate accuracy stays above a floor: on average, and on nearly all chips");
  command->add_option("models", options->models, "Model files (ONNX, TFLite), side by side on the same faults")
      ->required()
      ->type_name("MODEL...");
  command->add_option("--floor", options->floor, "The accuracy to be held, in percent")->required();
  command->add_option("--yield", options->yield, "The share of chips that shall hold it")->capture_default_str();
  command
      ->add_option("--confidence", options->confidence,
                   "That an answer is right; its error is divided among the rates that may be tried")
      ->capture_default_str();
  command->add_option("--fault", options->fault, FaultHelp("Fault model"))->capture_default_str();
  options->from_option =
      command->add_option("--from", options->from, "The lowest rate to try, in faults per bit")->capture_default_str();
  options->to_option = command->add_option("--to", options->to, "The highest")->capture_default_str();
  command
      ->add_option(
          "--voltage-table", options->voltage_table,
          "Instead: the lowest supply voltage, by a CSV file (voltage,rate) or YAML map of voltages to faults per "
          "bit, whose rates grow as voltages fall")
      ->type_name("FILE");
  command->add_option("--voltage-step", options->voltage_step, "Between voltages that may be tried, in volts")
      ->capture_default_str();
  command->add_option("--per-decade", options->per_decade, "Rates in each factor of ten")->capture_default_str();
  command->add_option("--chips", options->chips,
                      "Chips at each rate at most (default: so many that two of them may fall below the floor)");
  AddSeedOption(*command, options->settings.seed, "Seed of the faults, as inject has it");
  command->add_option("--encoding", options->encoding, "How codes are stored: twos, sign, offset, gray")
      ->capture_default_str();
  AddMemoryOptions(*command, options->memory);
  AddDataOptions(*command, options->settings.data);
  AddThreadsOption(*command, options->settings.threads);
  command
      ->add_option("--store", options->store,
                   "SQLite file that keeps every trial, as inject's; the same command resumes from it")
      ->type_name("FILE");
  AddJsonOption(*command, options->json, "Write the answers, and every rate that was tried");
  command->footer(
      "Rates are tried by bisection: a rate that holds is taken to hold below it too, which nested faults make "
      "likely.\n"
      "Shares of chips are bounded as Clopper and Pearson have it, means by betting (Waudby-Smith and Ramdas 2024).\n"
      "Example: steadfast tolerance model.onnx --floor 85 --yield 0.99");
  command->callback([options, &chosen] {
    options->settings.command = chosen.command;
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
