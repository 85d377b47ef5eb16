#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "steadfast/base/error.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/data/dataset.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace data_command {

struct Options {
  data::DataLocation location;
  std::filesystem::path json;
};

struct Seen {
  std::string state;  // "60000 + 10000 images", or what is wrong
  std::string where;
  int64_t train = 0, test = 0;
  data::ImageShape shape{0, 0, 0};
};

Seen Look(const data::DatasetInfo& info, data::DataLocation location) {
  location.takes_bytes_alone = false;
  Seen seen;
  const auto folder = data::FindDataset(info.name, location);
  if (!folder) return seen;
  seen.where = folder->string();
  try {
    const data::ImageSet train = data::LoadDataset(info.name, location, data::Split::kTrain);
    const data::ImageSet test = data::LoadDataset(info.name, location, data::Split::kTest);
    seen.train = train.size();
    seen.test = test.size();
    seen.shape = test.shape;
    seen.state = fmt::format("{} + {} images of {} x {} x {}", train.size(), test.size(), test.shape.channels,
                             test.shape.height, test.shape.width);
  } catch (const Error& error) {
    seen.state = fmt::format("cannot be read: {}", error.what());
  }
  return seen;
}

void Run(const Options& options) {
  report::TextTable table({"dataset", "what", "found", "where, or how to get it"});
  nlohmann::json list = nlohmann::json::array();
  for (const auto& info : data::KnownDatasets()) {
    const Seen seen = Look(info, options.location);
    table.AddRow({info.name, info.description, seen.where.empty() ? "no" : seen.state,
                  seen.where.empty() ? info.how_to_get : seen.where});
    nlohmann::json one = {{"name", info.name}, {"found", !seen.where.empty()}};
    if (seen.where.empty())
      one["how_to_get"] = info.how_to_get;
    else
      one.update(
          {{"folder", seen.where}, {"state", seen.state}, {"train_images", seen.train}, {"test_images", seen.test}});
    list.push_back(one);
  }
  WriteJson(options.json, list);
  if (!IsStandardOutput(options.json))
    fmt::print(
        "{}\nLooked in --data DIR (or DIR/NAME), else $STEADFAST_DATA/NAME, else where Debian's packages put them.\n",
        table.Text());
}

}  // namespace data_command

void AddDataCommand(CLI::App& app, Chosen& chosen) {
  using namespace data_command;
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("data", "Which datasets are here, and how to get the others");
  command
      ->add_option("--data", options->location.folder,
                   "Folder of datasets (default: $STEADFAST_DATA, then Debian's place)")
      ->type_name("DIR");
  AddJsonOption(*command, options->json, "Write the table");
  command->footer("Example: steadfast data --data ~/datasets");
  command->callback([options, &chosen] { chosen.run = [options](const Cancellation&) { Run(*options); }; });
}

}  // namespace steadfast::cli
