#include <fmt/format.h>

#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/report/campaign_report.h"
#include "steadfast/report/evidence.h"
#include "steadfast/report/figure.h"
#include "steadfast/report/page.h"
#include "steadfast/report/story.h"

namespace steadfast::cli {
namespace report_command {

namespace fs = std::filesystem;

struct Options {
  std::vector<fs::path> stores;
  fs::path page, figures, csv, json, tie;
  std::string command;
  int threads = 0;
};

void WriteFigures(const Options& options, const report::Evidence& evidence, const report::Tie& tie) {
  int count = 0;
  for (const report::Figure& figure : report::AllFigures(evidence, tie)) {
    WriteFileWhole(options.figures / (figure.id + ".csv"), figure.csv);
    WriteFileWhole(options.figures / (figure.id + ".vl.json"),
                   report::WholeSpec(figure).dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    ++count;
  }
  fmt::print(stderr, "{}: {} figures, each as specification (.vl.json) and data (.csv)\n", options.figures.string(),
             count);
}

void Run(const Options& options, const Cancellation& cancellation) {
  std::vector<std::pair<std::string, fs::path>> paths = {
      {"--output", options.page}, {"--csv", options.csv}, {"--json", options.json}, {"--tie", options.tie}};
  for (const fs::path& path : options.stores) paths.emplace_back("the store " + path.string(), path);
  CheckDistinct(paths);
  const report::Evidence evidence = report::Gather(options.stores);
  if (evidence.models.empty())
    throw InputError(fmt::format("{}: holds no models yet: nothing to report", options.stores[0].string()));
  const report::Tie tie = report::MakeTie(evidence, options.threads, &cancellation);
  if (!options.csv.empty() || !options.json.empty()) {
    const auto summary =
        report::MakeCampaignReport(evidence.models, evidence.trials,
                                   {std::all_of(evidence.sources.begin(), evidence.sources.end(),
                                                [](const report::Source& source) { return source.IsSequential(); })});
    if (!options.csv.empty()) WriteFileWhole(options.csv, report::ToCsv(summary));
    if (!options.json.empty()) WriteJson(options.json, report::ToJson(summary, evidence.sources[0].settings));
  }
  if (!options.tie.empty()) WriteFileWhole(options.tie, report::TieCsv(tie));
  if (!options.figures.empty()) WriteFigures(options, evidence, tie);
  if (options.page.empty()) {
    if (!IsStandardOutput(options.json)) fmt::print("{}", report::ToTerminal(evidence, tie));
    return;
  }
  const std::string page = report::MakePage(evidence, tie, {options.command});
  WriteFileWhole(options.page, page);
  if (const std::string remark = report::RemarkOnSize(page); !remark.empty()) fmt::print(stderr, "{}\n", remark);
  if (!IsStandardOutput(options.json)) fmt::print("{}\n", options.page.string());
}

}  // namespace report_command

void AddReportCommand(CLI::App& app, Chosen& chosen) {
  using namespace report_command;
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("report", "What stores found: as tables here, or as a page to send to a colleague");
  command->add_option("stores", options->stores, "Stores; several are reported together")
      ->required()
      ->type_name("STORE");
  command
      ->add_option("-o,--output", options->page,
                   "Write one HTML page, with figures, that loads nothing from any network")
      ->type_name("FILE");
  command->add_option("--figures", options->figures, "Write each figure's Vega-Lite specification and data as CSV")
      ->type_name("DIR");
  command->add_option("--csv", options->csv, "Write one row a trial")->type_name("FILE");
  AddJsonOption(*command, options->json, "Write the summary");
  command->add_option("--tie", options->tie, "Write all correlations between sharpness and damage as CSV")
      ->type_name("FILE");
  AddThreadsOption(*command, options->threads);
  command->footer("Example: steadfast report results/quick/trials.sqlite -o report.html");
  command->callback([options, &chosen] {
    options->command = chosen.command;
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
