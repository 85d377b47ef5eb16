// The networks in models/: each has what its card and its own metadata say.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/store/store.h"
#include "tests/program_fixture.h"

namespace steadfast {
namespace {

namespace fs = std::filesystem;

// Each network of this dataset against its own metadata and its row of the cards; how many there are.
int CheckNetworksOf(const std::string& dataset) {
  const fs::path folder = fs::path(STEADFAST_SOURCE_DIR) / "models";
  const std::string cards = ReadTextFile(folder / "README.md");
  const data::ImageSet test = data::LoadDataset(dataset, {}, data::Split::kTest);
  int networks = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".onnx") continue;
    const std::string name = entry.path().filename().string();
    const model::QuantizedModel model = model::ReadModel(entry.path());
    if (nlohmann::json::parse(model.metadata.at("steadfast.dataset"))["name"] != dataset) continue;
    ++networks;
    const auto said = nlohmann::json::parse(model.metadata.at("steadfast.accuracy"));
    const auto accuracy = said["test"].get<double>();
#if defined(__SANITIZE_ADDRESS__)  // which feels ten thousand images of a transformer for minutes: its card alone
    const bool is_run = !name.starts_with("vit");
#else
    const bool is_run = true;
#endif
    if (is_run) {
      const engine::EvaluationSet set = engine::MakeEvaluationSet(model, test.images, test.labels);
      EXPECT_EQ(engine::RunGolden(model, set, 2).scores.accuracy(), accuracy) << name;
    }
    const std::string row = fmt::format("| `{}` |", name);
    const size_t at = cards.find(row);
    if (at == std::string::npos) {
      ADD_FAILURE() << name << " has no card";
      continue;
    }
    const std::string card = cards.substr(at, cards.find('\n', at) - at);
    EXPECT_NE(card.find(fmt::format("{:.2f} %", 100 * accuracy)), std::string::npos) << card;
    EXPECT_NE(card.find(Sha256(ReadFile(entry.path(), 1 << 24)).substr(0, 12)), std::string::npos) << card;
  }
  return networks;
}

TEST(Zoo, NetworksAreAsTheirCardsSay) {
  if (!data::FindDataset("fashion-mnist", {})) GTEST_SKIP() << "Fashion-MNIST is not installed";
  EXPECT_EQ(CheckNetworksOf("fashion-mnist"), 8);
  uintmax_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(STEADFAST_SOURCE_DIR) / "models"))
    bytes += entry.file_size();
  EXPECT_LT(bytes, uintmax_t{6} << 20);
}

TEST(Zoo, NetworksOfCifar10AreAsTheirCardsSay) {
  if (!data::FindDataset("cifar10", {})) GTEST_SKIP() << "CIFAR-10 is not in $STEADFAST_DATA";
  EXPECT_EQ(CheckNetworksOf("cifar10"), 8);
}

// Up to which rate: what the store's trials say, the same when asked again.
TEST_F(ProgramWithData, ToleranceFollowsFromItsTrials) {
  const std::string model = (fs::path(STEADFAST_SOURCE_DIR) / "models" / "lenet5-w4a4-standard.onnx").string();
  const Arguments ask = {"tolerance",    model, "--floor", "80",   "--yield", "0.9",
                         "--images",     "200", "--from",  "1e-3", "--to",    "1e-1",
                         "--per-decade", "3",   "--json",  "-",    "--store", Path("tolerance.sqlite")};
  const Outcome first = RunSteadfast(ask);
  ASSERT_EQ(first.exit_code, 0) << first.errors;
  const auto json = nlohmann::json::parse(first.output)["models"][0];
  ASSERT_FALSE(json["yield"]["rate"].is_null());
  EXPECT_GE(json["mean"]["rate"].get<double>(), json["yield"]["rate"].get<double>());
  EXPECT_NEAR(json["yield"]["confidence_each"].get<double>(), 1 - 0.05 / 3, 1e-12);  // of 7 rates, 3 at most are tried
  const auto trials = store::Store::OpenForReading(Path("tolerance.sqlite")).Trials();
  for (const auto& step : json["yield"]["tried"]) {
    int64_t chips = 0, below = 0;
    for (const store::TrialRow& trial : trials) {
      if (trial.rate != step["rate"].get<double>() || trial.trial >= step["chips"].get<int64_t>()) continue;
      ++chips;
      below += trial.accuracy() < 0.8;
    }
    EXPECT_EQ(chips, step["chips"].get<int64_t>());
    EXPECT_EQ(below, step["below_floor"].get<int64_t>());
  }
  EXPECT_EQ(RunSteadfast(ask).output, first.output);
  const Outcome few = RunSteadfast({"tolerance", model, "--floor", "80", "--chips", "100", "--images", "200"});
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_NE(few.errors.find("299 at one strength alone"), std::string::npos) << few.errors;
  EXPECT_EQ(RunSteadfast({"tolerance", model, "--floor", "180"}).exit_code, 2);
}

}  // namespace
}  // namespace steadfast
