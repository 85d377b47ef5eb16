#include <fmt/format.h>

#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/campaign/campaign.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace replay_command {

struct Options {
  std::filesystem::path store, model, json;
  std::string id;
  campaign::DataChoice data;
};

void Run(const Options& options) {
  CheckDistinct({{"the store", options.store}, {"--model", options.model}, {"--json", options.json}});
  const campaign::Replay replay = campaign::ReplayTrial(options.store, options.id, options.model, options.data);
  const store::TrialRow &a = replay.stored, &b = replay.again;
  const auto as_json = [](const store::TrialRow& t) {
    return nlohmann::json({{"faulty_bits", t.faulty_bits},
                           {"changed_codes", t.changed_codes},
                           {"images", t.images},
                           {"correct", t.correct},
                           {"changed", t.changed},
                           {"broken", t.broken},
                           {"repaired", t.repaired},
                           {"margin_sum", t.margin_sum},
                           {"loss_sum", t.loss_sum}});
  };
  WriteJson(options.json, {{"schema", 1},
                           {"id", a.id},
                           {"model", replay.model},
                           {"fault", a.fault},
                           {"encoding", a.encoding},
                           {"rate", a.rate},
                           {"trial", a.trial},
                           {"stored", as_json(a)},
                           {"again", as_json(b)},
                           {"agrees", a == b}});
  if (IsStandardOutput(options.json)) {
    if (!(a == b)) throw Error("the trial does not agree with the store");
    return;
  }
  fmt::print("Trial {}: {} {} at {} in {}, number {}\n\n", a.id, replay.model, a.fault, a.rate, a.encoding, a.trial);
  report::TextTable table({"", ">stored", ">again"});
  const auto row = [&](const char* name, int64_t stored, int64_t again) {
    table.AddRow({name, fmt::format("{}", stored), fmt::format("{}", again)});
  };
  row("faulty bits", a.faulty_bits, b.faulty_bits);
  row("changed codes", a.changed_codes, b.changed_codes);
  row("images", a.images, b.images);
  row("correct", a.correct, b.correct);
  row("changed", a.changed, b.changed);
  row("broken", a.broken, b.broken);
  row("repaired", a.repaired, b.repaired);
  row("margin sum, 2^-20", a.margin_sum, b.margin_sum);
  row("loss sum, 2^-20", a.loss_sum, b.loss_sum);
  fmt::print("{}\n", table.Text());
  if (!(a == b)) throw Error("the trial does not agree with the store");
  fmt::print("The trial agrees with the store.\n");
}

}  // namespace replay_command

void AddReplayCommand(CLI::App& app, Chosen& chosen) {
  using namespace replay_command;
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("replay", "Run one trial of a store again and say whether it agrees");
  command->add_option("store", options->store, "The store")->required()->type_name("STORE");
  command->add_option("id", options->id, "The trial's id (the first column of the CSV)")->required()->type_name("ID");
  command->add_option("--model", options->model, "Where the model file is now (default: where the store says)")
      ->type_name("FILE");
  options->data.location.on_reading = data::ReadingLine();
  command->add_option("--data", options->data.location.folder, "Folder of datasets")->type_name("DIR");
  AddInputOptions(*command, options->data.input);
  options->data.on_note = PrintNote;
  AddJsonOption(*command, options->json, "Write both");
  command->footer("Example: steadfast replay trials.sqlite 0123456789abcdef");
  command->callback([options, &chosen] { chosen.run = [options](const Cancellation&) { Run(*options); }; });
}

}  // namespace steadfast::cli
