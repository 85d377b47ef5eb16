#include <fmt/format.h>

#include <memory>

#include "steadfast/base/file.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/report/campaign_report.h"
#include "steadfast/report/claims.h"
#include "steadfast/store/store.h"

namespace steadfast::cli {
namespace {

struct Options {
  std::filesystem::path store, csv, json;
};

void Run(const Options& options) {
  CheckDistinct({{"the store", options.store}, {"--csv", options.csv}, {"--json", options.json}});
  const store::Store store = store::Store::OpenForReading(options.store);
  const auto models = store.Models();
  const auto trials = store.Trials();
  const report::CampaignReport report = report::MakeCampaignReport(models, trials);
  if (!options.csv.empty()) WriteFileWhole(options.csv, report::ToCsv(report));
  if (!options.json.empty()) WriteFileWhole(options.json, report::ToJson(report, store.settings()).dump(2) + "\n");
  if (store.LastRunWasInterrupted())
    fmt::print("The last run on this store has not finished: what follows is not the whole campaign.\n\n");
  const auto claims = store.Claims();
  if (claims.empty()) {
    fmt::print("{}", report::ToText(report));
    return;
  }
  fmt::print("{}\n", report::RecipeTable(models, trials));
  for (const auto& claim : claims) {
    const auto detail = nlohmann::json::parse(claim.detail_json, nullptr, false);
    fmt::print("Claim {}: {} ({:+.4g} {}, 95 % interval {:+.4g} to {:+.4g}) {}\n", claim.id, claim.verdict,
               claim.effect, claim.unit, claim.low, claim.high,
               detail.is_object() ? detail.value("statement", "") : "");
  }
}

}  // namespace

void AddReportCommand(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("report", "What a store found, as tables");
  command->add_option("store", options->store, "The store")->required()->type_name("STORE");
  command->add_option("--csv", options->csv, "Write one row a trial")->type_name("FILE");
  command->add_option("--json", options->json, "Write the summary")->type_name("FILE");
  command->footer("Example: steadfast report results/quick/trials.sqlite");
  command->callback([options, &chosen] { chosen.run = [options](const Cancellation&) { Run(*options); }; });
}

}  // namespace steadfast::cli
