#include <fmt/format.h>

#include <memory>
#include <optional>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/memory/fault_law.h"
#include "steadfast/memory/fault_list.h"
#include "steadfast/memory/fault_summary.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/report/bank_picture.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace faults_command {

using nlohmann::json;

struct Options {
  std::filesystem::path map, model, output, svg, json;
  MemoryOptions memory;
  model::Reading reading;
  std::string fault = "flip", encoding = "twos", form;
  double rate = 1e-3;
  int64_t trials = 1;
  uint64_t seed = 1;
  bool kinds = false;
  CLI::Option *fault_option = nullptr, *rate_option = nullptr, *trials_option = nullptr, *seed_option = nullptr;
};

void PrintKinds() {
  report::TextTable table({"model", "what the rate means", "source"});
  for (const memory::FaultLaw& law : memory::FaultLaws())
    table.AddRow({std::string(law.syntax), "cells that fail, each by itself (KIND)", ""});
  for (const memory::FaultModelKind& kind : memory::FaultModelKinds())
    table.AddRow({std::string(kind.syntax), std::string(kind.meaning), std::string(kind.source)});
  table.AddRow({"SHARE*MODEL+SHARE*MODEL", "several at once, each at its share of the rate", ""});
  table.AddRow({"transient:MODEL", "the same, drawn anew for each image", ""});
  table.AddRow({"MODEL@ITEM, MODEL@(ITEMS)", "only cells that the item names, as --where has it", ""});
  fmt::print("{}\n", table.Text());
  fmt::print(
      "KIND: {}. flip where it is left out. mixed: stuck at 1 with probability P1, else at 0;\n"
      "asymmetric: factors on the rate of cells that hold 0 and 1.\n"
      "Faults at one rate are among the same trial's faults at any higher rate, for every model; where two parts of a\n"
      "mixture meet in a cell, it sticks if one of them says so. Without --chip, rows and banks are those of a plain\n"
      "memory: 32-bit words, 8 a row, 256 rows a bank.\n\n",
      memory::FaultLawSyntax());
  report::TextTable chips({"--chip", "what it is"});
  for (const memory::ChipPreset& preset : memory::ChipPresets())
    chips.AddRow({std::string(preset.name), std::string(preset.description)});
  fmt::print("{}", chips.Text());
}

memory::MemoryImage ImageFor(const Options& options, const std::vector<memory::FaultModel>& faults) {
  const Memories memories = MemoriesOf(options.memory, faults);
  if (options.model.empty()) {
    if (!memories.chip) throw UsageError("a map is of a chip or of a model's memory: give --chip, --model or both");
    bool targeted = !options.memory.where.empty();
    for (const auto& fault : faults) targeted = targeted || memory::NameOf(fault).find('@') != std::string::npos;
    if (targeted) throw UsageError("--where, and @ in a fault model: what lies where, only a --model says");
    return memory::MemoryImage::OfChip(*memories.chip);
  }
  const model::ModelFile file = model::ReadModelFile(options.model, options.reading);
  return memory::ImageOn(memories.chip, file.model,
                         {memory::ParseEncoding(memories.EncodingsOr(options.encoding)), memories.word_bits},
                         memories.where);
}

memory::FaultLists Sampled(const Options& options, const memory::MemoryImage& image, const memory::FaultModel& fault) {
  if (fault.process().is_transient())
    throw UsageError(fmt::format("{}: a map holds what is faulty for all images; transient faults have none",
                                 memory::NameOf(fault)));
  memory::CheckFaultModel(image, fault);
  memory::FaultLists lists;
  for (int64_t trial = 0; trial < options.trials; ++trial) {
    const auto number = static_cast<uint64_t>(trial);
    lists[number] = memory::SampleFaults(KeyOfSeed(options.seed), number, image, options.rate, fault);
  }
  return lists;
}

memory::AddressForm FormOf(const Options& options) {
  if (options.form.empty()) return options.model.empty() ? memory::AddressForm::kPlace : memory::AddressForm::kElement;
  const memory::AddressForm form = memory::ParseAddressForm(options.form);
  if (form == memory::AddressForm::kElement && options.model.empty())
    throw UsageError("--form element: which element a cell holds, only a --model says");
  return form;
}

constexpr memory::FaultKind kKinds[] = {memory::FaultKind::kStuckAt0, memory::FaultKind::kStuckAt1,
                                        memory::FaultKind::kFlip, memory::FaultKind::kLevelUp,
                                        memory::FaultKind::kLevelDown};

json ToJson(const memory::Spread& spread) {
  return {{"units", spread.units},
          {"mean", spread.mean},
          {"most", spread.most},
          {"dispersion", spread.dispersion ? json(*spread.dispersion) : json()},
          {"clustering", spread.clustering ? json(*spread.clustering) : json()}};
}

json ToJson(const memory::MemorySummary& summary) {
  json kinds = json::object();
  for (memory::FaultKind kind : kKinds) kinds[memory::NameOf(kind)] = summary.of_kind[static_cast<size_t>(kind)];
  return {{"memory", summary.memory},
          {"banks", summary.banks},
          {"cells", summary.cells},
          {"faults", summary.faults},
          {"of_kind", kinds},
          {"over_banks", ToJson(summary.over_banks)},
          {"over_rows", ToJson(summary.over_rows)},
          {"over_columns", ToJson(summary.over_columns)}};
}

std::string SpreadText(const memory::Spread& spread) {
  if (!spread.dispersion) return "";
  return fmt::format("{:.2f}{}", *spread.dispersion,
                     spread.clustering ? fmt::format(" (alpha {:.2g})", *spread.clustering) : "");
}

void PrintSummary(const std::vector<memory::MemorySummary>& summaries, size_t trials, int64_t idle) {
  report::TextTable table({"memory", ">banks", ">cells", ">faults", ">share of cells, %", "kinds", ">over banks",
                           ">over rows", ">over columns"});
  for (const memory::MemorySummary& summary : summaries) {
    std::string kinds;
    for (memory::FaultKind kind : kKinds) {
      const int64_t count = summary.of_kind[static_cast<size_t>(kind)];
      if (count > 0) kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", count, memory::NameOf(kind));
    }
    const double cells = static_cast<double>(summary.cells) * static_cast<double>(std::max<size_t>(trials, 1));
    table.AddRow({report::Printable(summary.memory), std::to_string(summary.banks), std::to_string(summary.cells),
                  std::to_string(summary.faults),
                  fmt::format("{:.4g}", cells > 0 ? 100 * static_cast<double>(summary.faults) / cells : 0.0), kinds,
                  SpreadText(summary.over_banks), SpreadText(summary.over_rows), SpreadText(summary.over_columns)});
  }
  fmt::print("{} trial{}\n\n{}\n", trials, trials == 1 ? "" : "s", table.Text());
  fmt::print(
      "Over banks, rows, columns: variance over mean of their numbers of faults. About 1 where cells fail by "
      "themselves; far\nabove where faults keep together; alpha: Stapper's clustering parameter by the method of "
      "moments "
      "(cluster:ALPHA).\n");
  if (idle > 0) fmt::print("{} more faults lie on cells that hold nothing.\n", idle);
}

std::string PictureOf(const memory::FaultLists& lists, const memory::MemoryImage& image) {
  report::BankPicture picture;
  picture.title = fmt::format("Faults of {} {} on chip {}", lists.size(), lists.size() == 1 ? "trial" : "trials",
                              image.chip().name);
  picture.note = "rows from the top, columns from the left; darker where more faults fall into a square";
  for (const char* colour : {"#4c72b0", "#c44e52", "#55a868", "#8172b2", "#ccb974"}) {
    const size_t place = picture.series.size();
    picture.series.push_back({std::string(memory::NameOf(kKinds[place])), colour});
  }
  std::vector<size_t> first_bank;
  for (int m = 0; m < static_cast<int>(image.chip().memories.size()); ++m) {
    const memory::Memory& memory = image.chip().memories[static_cast<size_t>(m)];
    first_bank.push_back(picture.banks.size());
    for (int64_t bank = 0; bank < image.BanksOf(m); ++bank)
      picture.banks.push_back(
          {fmt::format("{}, bank {}", memory.name, bank), memory.rows_per_bank, memory.columns(), {}});
  }
  for (const auto& [trial, map] : lists) {
    for (const memory::Fault& fault : map.faults) {
      const memory::PhysicalAddress at = image.PhysicalOf(fault.bit);
      picture.banks[first_bank[static_cast<size_t>(at.memory)] + static_cast<size_t>(at.bank)].points.push_back(
          {at.row, at.column, static_cast<size_t>(fault.kind), 1.0});
    }
  }
  return report::ToSvg(picture);
}

void Run(const Options& options) {
  if (options.kinds) return PrintKinds();
  CheckDistinct({{"the map", options.map},
                 {"--model", options.model},
                 {"--output", options.output},
                 {"--svg", options.svg},
                 {"--json", options.json}});
  for (const CLI::Option* option :
       {options.fault_option, options.rate_option, options.trials_option, options.seed_option}) {
    if (!options.map.empty() && option->count() > 0)
      throw UsageError(fmt::format("{}: a map has the faults that it names", option->get_name()));
  }
  std::vector<memory::FaultModel> faults;
  if (options.map.empty()) faults.push_back(memory::ParseFaultModel(options.fault));
  const memory::MemoryImage image = ImageFor(options, faults);
  int64_t idle = 0;
  const memory::FaultLists lists = options.map.empty()
                                       ? Sampled(options, image, faults[0])
                                       : memory::FaultListsFromText(ReadTextFile(options.map, uint64_t{1} << 32), image,
                                                                    options.map.string(), &idle);
  if (!options.output.empty()) {
    const memory::AddressForm form = FormOf(options);
    const bool as_json = options.output.extension() == ".json";
    WriteFileWhole(options.output, as_json ? memory::ToJson(lists, image, form) : memory::ToCsv(lists, image, form));
  }
  if (!options.svg.empty()) WriteFileWhole(options.svg, PictureOf(lists, image));
  const auto summaries = memory::Summarize(lists, image);
  json documents = json::array();
  for (const auto& summary : summaries) documents.push_back(ToJson(summary));
  WriteJson(options.json, {{"schema", 1}, {"trials", lists.size()}, {"idle", idle}, {"memories", documents}});
  if (!IsStandardOutput(options.json)) PrintSummary(summaries, lists.size(), idle);
}

}  // namespace faults_command

void AddFaultsCommand(CLI::App& app, Chosen& chosen) {
  using namespace faults_command;
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("faults", "Fault maps: sample, convert, summarize and draw them, with or without a model");
  command->add_option("map", options->map, "A fault map, CSV or JSON (default: one is sampled)")->type_name("MAP");
  command->add_flag("--kinds", options->kinds, "Say which fault models and chips there are, and nothing else");
  command
      ->add_option("--model", options->model,
                   "The model that lies on the chip (default: the chip alone, all its cells)")
      ->type_name("MODEL");
  options->fault_option =
      command->add_option("--fault", options->fault, FaultHelp("Fault model"))->capture_default_str();
  options->rate_option = command->add_option("--rate", options->rate, "Its rate, 0 to 1")->capture_default_str();
  options->trials_option = command->add_option("--trials", options->trials, "Maps to sample")
                               ->capture_default_str()
                               ->check(CLI::PositiveNumber);
  options->seed_option = AddSeedOption(*command, options->seed, "Seed of the faults, as inject has it");
  command->add_option("--encoding", options->encoding, "How a model's codes are stored: twos, sign, offset, gray")
      ->capture_default_str();
  AddMemoryOptions(*command, options->memory);
  AddReadingOptions(*command, options->reading);
  command->add_option("-o,--output", options->output, "Write the map: JSON where the name ends so, else CSV")
      ->type_name("FILE");
  command->add_option("--form", options->form,
                      "How it names cells: element (tensor,index,bit), word (memory,word,bit) or place "
                      "(memory,bank,row,column). Default: element with a --model, else place");
  command->add_option("--svg", options->svg, "Draw the banks, all trials over one another")->type_name("FILE");
  AddJsonOption(*command, options->json, "Write the summary");
  command->footer(
      "Example: steadfast faults --chip chip.yaml --fault '0.9*flip+0.1*row' --rate 1e-3 --trials 10 -o maps.csv "
      "--svg maps.svg");
  command->callback([options, &chosen] { chosen.run = [options](const Cancellation&) { Run(*options); }; });
}

}  // namespace steadfast::cli
