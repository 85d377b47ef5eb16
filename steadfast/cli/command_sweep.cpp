#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/progress.h"
#include "steadfast/base/text.h"
#include "steadfast/campaign/campaign.h"
#include "steadfast/campaign/sweep.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/memory/fault_units.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/report/sweep_report.h"
#include "steadfast/report/sweep_sample.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace sweep_command {

struct Options {
  campaign::SweepSettings settings;
  std::filesystem::path store, csv, json;
  std::string fault = "flip", encoding = "twos";
  MemoryOptions memory;
  std::string every;
  int64_t memory_mib = 2048, top = 10;
};

std::vector<std::string> KindsOf(const Options& options) {
  if (options.settings.pairs_in_word && options.fault != "flip")
    throw UsageError("--pairs-in-word: only flips; a pair of stuck-at faults is one of no, one or two flips");
  if (options.fault == "all") return {"flip", "sa0", "sa1"};
  return {options.fault};
}

report::SweepSample ProjectionOf(const campaign::SweepResult& result, const std::vector<std::string>& kinds) {
  std::vector<report::SweptStratum> strata;
  for (const auto& stratum : result.strata) strata.push_back({stratum.tensor, stratum.parts, stratum.faults});
  return report::ProjectSweep(result.model, result.sweep, result.parts, strata, result.part_seconds, result.threads,
                              kinds);
}

// A unit and what became of it.
struct UnitRow {
  const memory::FaultUnit* unit;
  const store::TrialRow* trial;
};

std::string CsvOf(const std::vector<UnitRow>& rows) {
  std::string csv = "unit,cells,changed_codes,accuracy,changed,broken,repaired\n";
  for (const auto& [unit, trial] : rows)
    csv += fmt::format("{},{},{},{},{},{},{}\n", CsvField(unit->name), trial->faulty_bits, trial->changed_codes,
                       FormatShortest(trial->accuracy()), trial->changed, trial->broken, trial->repaired);
  return csv;
}

void PrintUnits(const std::vector<UnitRow>& rows, double clean, const Options& options) {
  double sum = 0;
  int64_t harmless = 0;
  for (const auto& [unit, trial] : rows) {
    sum += trial->accuracy();
    harmless += trial->changed == 0;
  }
  const auto count = static_cast<double>(rows.size());
  fmt::print(
      "{} x {}: accuracy {:.2f} % without faults, {:.2f} % on average over them; {:.2f} % change no prediction\n\n",
      rows.size(), options.every, 100 * clean, 100 * sum / count, 100 * static_cast<double>(harmless) / count);
  report::TextTable table({"the worst", ">cells", ">accuracy, %", ">broken", ">repaired"});
  for (size_t i = 0; i < std::min(rows.size(), static_cast<size_t>(options.top)); ++i)
    table.AddRow({report::Printable(rows[i].unit->name), std::to_string(rows[i].trial->faulty_bits),
                  fmt::format("{:.2f}", 100 * rows[i].trial->accuracy()), std::to_string(rows[i].trial->broken),
                  std::to_string(rows[i].trial->repaired)});
  fmt::print("{}", table.Text());
}

// Larger faults than single bits, each a trial of a fault list, which the store keeps.
void RunEvery(const Options& options, const Cancellation& cancellation) {
  const campaign::SweepSettings& sweep = options.settings;
  if (options.fault == "all") throw UsageError("--every: give one --fault: flip, sa0 or sa1");
  if (sweep.sample < 1 || sweep.drawn_faults > 0 || !sweep.layers.empty() || sweep.pairs_in_word ||
      sweep.decisions_only)
    throw UsageError(
        "--every goes without --sample, --faults, --layer, --pairs-in-word and --decisions-only; --where chooses");
  const Memories memories = MemoriesOf(options.memory, {});
  campaign::CampaignSettings settings;
  settings.models = {sweep.model};
  settings.encodings = {memory::ParseEncoding(memories.EncodingsOr(options.encoding))};
  settings.chip = memories.chip;
  settings.where = memories.where;
  settings.word_bits = memories.word_bits;
  settings.data = sweep.data;
  settings.threads = sweep.threads;
  settings.memory_bytes = options.memory_mib << 20;
  settings.command = sweep.command;
  const model::ModelFile file = model::ReadModelFile(sweep.model, sweep.data.reading);
  const memory::MemoryImage image =
      memory::ImageOn(memories.chip, file.model, {settings.encodings[0], memories.word_bits}, memories.where);
  const auto units = memory::EveryUnit(image, options.every, memory::ParseFaultKind(options.fault));
  const TemporaryFolder temporary;
  settings.fault_list = temporary.path() / "units.csv";
  WriteFileWhole(settings.fault_list, memory::ToCsv(memory::ListsOf(units), image));
  ProgressLine line;
  const campaign::CampaignResult result = campaign::RunCampaign(
      settings, options.store.empty() ? temporary.path() / "units.sqlite" : options.store,
      [&](const campaign::CampaignProgress& p) {
        line.Update(fmt::format("{}/{} {}, {:.0f} a second, {} left", p.done, p.total, options.every,
                                p.trials_per_second, FormatDuration(p.seconds_left)));
      },
      &cancellation);
  line.Finish();
  std::vector<UnitRow> rows;
  for (const store::TrialRow& trial : result.trials) rows.push_back({&units[static_cast<size_t>(trial.trial)], &trial});
  if (!options.csv.empty()) WriteFileWhole(options.csv, CsvOf(rows));
  std::stable_sort(rows.begin(), rows.end(),
                   [](const UnitRow& a, const UnitRow& b) { return a.trial->correct < b.trial->correct; });
  if (!options.json.empty()) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& [unit, trial] : rows)
      list.push_back({{"unit", unit->name},
                      {"cells", trial->faulty_bits},
                      {"accuracy", trial->accuracy()},
                      {"changed", trial->changed},
                      {"broken", trial->broken},
                      {"repaired", trial->repaired}});
    WriteJson(options.json, {{"schema", 1},
                             {"every", options.every},
                             {"fault", options.fault},
                             {"chip", image.chip().name},
                             {"clean_accuracy", result.models[0].accuracy()},
                             {"units", list}});
  }
  if (!IsStandardOutput(options.json)) PrintUnits(rows, result.models[0].accuracy(), options);
}

void Run(Options& options, const Cancellation& cancellation) {
  if (!options.every.empty()) return RunEvery(options, cancellation);
  campaign::SweepSettings& settings = options.settings;
  settings.memory_bytes = options.memory_mib << 20;
  const Memories memories = MemoriesOf(options.memory, {});
  settings.encoding = memory::ParseEncoding(memories.EncodingsOr(options.encoding));
  settings.where = options.memory.where.empty() && memories.chip ? memory::ParseWhere("all") : memories.where;
  settings.chip = memories.chip;
  settings.word_bits = memories.word_bits;
  const auto kinds = KindsOf(options);
  settings.fault_of_values = std::nullopt;
  if (options.fault != "all") settings.fault_of_values = memory::ParseFaultKind(options.fault);
  CheckDistinct({{"--store", options.store},
                 {"--csv", options.csv},
                 {"--json", options.json},
                 {"the model " + settings.model.string(), settings.model}});
  ProgressLine line;
  const TimeLeft time;
  double first_share = -1;
  const campaign::SweepResult result = campaign::RunSweep(
      settings, options.store,
      [&](const campaign::SweepProgress& p) {
        if (first_share < 0) first_share = p.share;
        const double share_of_this_run = (p.share - first_share) / std::max(1 - first_share, 1e-9);
        line.Update(fmt::format("{:.0f} %, {}/{} faults kept, {} left | {}", p.share * 100, p.faults_done, p.faults,
                                FormatDuration(time.Remaining(share_of_this_run)), p.tensor));
      },
      &cancellation);
  line.Finish();
  int64_t faults = 0;
  for (const auto& part : result.parts) faults += report::EvaluatedFaults(part);
  if (result.resumed_faults > 0)
    fmt::print(stderr, "{} of {} faults were already in {}\n", result.resumed_faults, faults, options.store.string());
  fmt::print(stderr, "{} faults x {} images in {:.1f} s\n", faults - result.resumed_faults, result.sweep.images,
             result.seconds);
  std::map<std::string, int> arrays;
  for (int a = 0; a < static_cast<int>(result.image->arrays().size()); ++a)
    arrays[result.image->arrays()[static_cast<size_t>(a)].name] = a;
  const auto place_of = [&](const std::string& tensor, int64_t index, int bit) {
    const int array = arrays.at(tensor), bits = result.image->arrays()[static_cast<size_t>(array)].bits();
    const memory::PhysicalAddress place = result.image->PhysicalOf({array, index * bits + bit});
    return report::SweptPlace{result.image->memory_of(array).name, place.bank, place.row, place.column};
  };
  const auto report = report::MakeSweepReport(result.model, result.sweep, result.parts, kinds, options.top);
  if (!options.csv.empty())
    WriteFileWhole(options.csv, report::SweepCsv(result.model, result.sweep, result.parts, kinds, place_of));
  std::string text = report::ToText(report);
  nlohmann::json json = report::ToJson(report, place_of);
  if (settings.sample < 1) {
    const report::SweepSample sample = ProjectionOf(result, kinds);
    text += report::ToText(sample);
    json["sample"] = report::ToJson(sample);
  }
  if (settings.drawn_faults > 0) {
    std::vector<report::SweptPosition> positions;
    for (const auto& drawn : result.drawn) positions.push_back({drawn.tensor, drawn.role, drawn.bit, drawn.faults});
    const auto means = report::ProjectDrawnFaults(result.model, result.sweep, result.parts, positions, kinds);
    text += report::ToText(means);
    json["drawn"] = report::ToJson(means);
  }
  if (!options.json.empty()) WriteJson(options.json, json);
  if (!IsStandardOutput(options.json)) fmt::print("{}", text);
}

}  // namespace sweep_command

void AddSweepCommand(CLI::App& app, Chosen& chosen) {
  using namespace sweep_command;
  auto options = std::make_shared<Options>();
  campaign::SweepSettings& settings = options->settings;
  CLI::App* command = app.add_subcommand("sweep", "Evaluate every single-bit fault of a model's memory, exactly");
  command->add_option("model", settings.model, "Model file (ONNX, TFLite)")->required()->type_name("MODEL");
  command->add_option("--fault", options->fault, "Which faults to show: flip, sa0, sa1 or all")
      ->capture_default_str()
      ->check(CLI::IsMember({"flip", "sa0", "sa1", "all"}));
  command->add_option("--store", options->store, "SQLite file that keeps the results; the same command resumes from it")
      ->type_name("FILE");
  command->add_option("--csv", options->csv, "Write one row a fault")->type_name("FILE");
  AddJsonOption(*command, options->json, "Write the summary");
  command->add_option("--top", options->top, "How many of the most critical bits to show")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_option("--layer", settings.layers,
                      "Only these layers' weights, or parameters by name, comma-separated: conv1,fc3");
  command
      ->add_option(
          "--sample", settings.sample,
          "Only this share of the faults, stratified by tensor: whole output channels or other parts (at least two), "
          "chosen by chance; prints what that says of all of them. A larger share, or all, goes on from the same "
          "store")
      ->type_name("SHARE")
      ->check(CLI::Range(1e-9, 1.0));
  command
      ->add_option("--faults", settings.drawn_faults,
                   "Only about so many faults, drawn by chance from each bit position of each tensor, in proportion to "
                   "its bits (at least two); prints what they say of all, by role, tensor and bit position (`steadfast "
                   "samples` says how many to draw)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  AddSeedOption(*command, settings.draw_seed, "Seed of --faults");
  AddMemoryOptions(*command, options->memory, "with --chip, all");
  command
      ->add_option(
          "--every", options->every,
          "Instead of every bit: every row, column, word, bank, burst:LENGTH (each start in each row) or cell of the "
          "--chip, all its cells failing at once; the worst are shown")
      ->type_name("UNIT");
  command->add_flag("--pairs-in-word", settings.pairs_in_word,
                    "Flip every two bits of a word together, instead of every bit (for small layers)");
  command->add_flag("--decisions-only", settings.decisions_only,
                    "Leave margins out: images whose decision provably cannot change stop before the last layer");
  command->add_option("--encoding", options->encoding, "How codes are stored: twos, sign, offset or gray")
      ->capture_default_str();
  AddDataOptions(*command, settings.data);
  AddThreadsOption(*command, settings.threads);
  command
      ->add_option("--memory", options->memory_mib,
                   "MiB for what is kept of the fault-free run; with less it is computed again; changes no number")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->footer(
      "A stuck-at fault of one bit is its flip, or nothing where the bit holds that value already.\n"
      "Example: steadfast sweep model.onnx --store trials.sqlite --csv bits.csv");
  command->callback([options, &chosen] {
    options->settings.command = chosen.command;
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
