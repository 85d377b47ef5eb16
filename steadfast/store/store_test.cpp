#include "steadfast/store/store.h"

#include <gtest/gtest.h>

#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"

namespace steadfast::store {
namespace {

namespace fs = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  static ModelRow Model() {
    ModelRow m;
    m.label = "lenet5";
    m.sha256 = "abc";
    m.images = 10;
    m.correct = 9;
    m.layers.push_back({"conv1", "Convolution", "6x28x28", "6x1x5x5", 4, 4, 117600, 600, 0.5});
    m.layers.push_back({"flatten", "Flatten", "400", "", 0, 4, 0, 0, std::nullopt});
    m.epochs.push_back({1, 0.7, 0.5, 0.8, 1e-3});
    return m;
  }

  const TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(StoreTest, KeepsModelsAndTrials) {
  TrialRow trial{.id = "0123456789abcdef",
                 .fault = "flip",
                 .encoding = "twos",
                 .rate = 1e-3,
                 .trial = 4,
                 .faulty_bits = 250,
                 .changed_codes = 249,
                 .images = 10,
                 .correct = 8,
                 .changed = 2,
                 .broken = 1,
                 .repaired = 0,
                 .margin_sum = -5,
                 .loss_sum = 7};
  {
    Store store = Store::Create(folder_ / "deep" / "s.sqlite");
    trial.model = store.AddModel(Model());
    EXPECT_EQ(store.AddModel(Model()), trial.model);
    store.AddTrials(store.BeginRun("inject", {{"seed", 1}}), {trial});
    store.AddTrials(store.BeginRun("inject", {{"seed", 1}}), {trial});
  }
  const Store store = Store::OpenForReading(folder_ / "deep" / "s.sqlite");
  EXPECT_EQ(store.Trials(), std::vector<TrialRow>{trial});
  EXPECT_EQ(store.Trial(trial.id), trial);
  EXPECT_EQ(store.Trial("none"), std::nullopt);
  const auto models = store.Models();
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].layers[0].zero_share, 0.5);
  EXPECT_EQ(models[0].layers[1].zero_share, std::nullopt);
  EXPECT_EQ(models[0].epochs[0].validation_accuracy, 0.8);
}

TEST_F(StoreTest, KeepsSharpnessAndLatency) {
  SharpnessRow row{
      .key = "k1", .settings = "{}", .dataset = "d", .data_sha256 = "h", .images = 7, .loss = 0.25, .accuracy = 0.5};
  row.values = {{"sam", "", 0.1, 1.5, 0}, {"hessian-trace", "conv1.weight", 0, -2, 0.25}};
  row.density = {{0, -1, 0.25}, {1, 3, 0.75}};
  row.points = {{"filter", -0.5, 0, 2, 0.25}, {"line:other", 1, 0, 3, 0.125}};
  {
    Store store = Store::Create(folder_ / "s.sqlite");
    row.model = store.AddModel(Model());
    const int64_t run = store.BeginRun("sharpness a.onnx", {});
    SharpnessRow first = row;
    first.values.clear();
    store.AddSharpness(run, first);
    store.AddSharpness(run, row);  // replaces
    SharpnessRow other = row;
    other.key = "k2";
    other.values[0].value = std::nan("");
    store.AddSharpness(run, other);
    store.SetLatency(run, row.model, {{"layers", 1}});
    store.SetClasses(run, row.model, {{"rate", 0.1}});
    store.SetClasses(run, row.model, {{"rate", 0.5}});  // in place of it
    store.SetLatency(run, row.model, {{"layers", 2}});
    store.FinishRun(run);
  }
  const Store store = Store::OpenForReading(folder_ / "s.sqlite");
  auto rows = store.Sharpness();
  ASSERT_EQ(rows.size(), 2u);
  row.id = rows[0].id;
  EXPECT_EQ(rows[0], row);
  EXPECT_TRUE(std::isnan(rows[1].values[0].value));
  ASSERT_EQ(store.Latencies().size(), 1u);
  EXPECT_EQ(store.Latencies()[0].second, nlohmann::json({{"layers", 2}}));
  ASSERT_EQ(store.Classes().size(), 1u);
  EXPECT_EQ(store.Classes()[0].second, nlohmann::json({{"rate", 0.5}}));
  ASSERT_EQ(store.Runs().size(), 1u);
  EXPECT_EQ(store.Runs()[0].command, "sharpness a.onnx");
  EXPECT_NE(store.Runs()[0].finished, "");
}

// A store as version 2 wrote it, without the tables that came later.
TEST_F(StoreTest, ReadsAndUpgradesVersion2) {
  { Store::Create(folder_ / "old.sqlite").AddModel(Model()); }
  Database(folder_ / "old.sqlite", Database::Mode::kReadWrite)
      .Execute(
          "DROP TABLE sharpness_values; DROP TABLE sharpness_density; DROP TABLE sharpness_points; "
          "DROP TABLE sharpness; DROP TABLE latencies; DROP TABLE classes; UPDATE meta SET value = '2' WHERE key = "
          "'schema_version'");
  {
    const Store store = Store::OpenForReading(folder_ / "old.sqlite");
    EXPECT_TRUE(store.Sharpness().empty());
    EXPECT_TRUE(store.Latencies().empty());
    EXPECT_TRUE(store.Classes().empty());
    EXPECT_EQ(store.Models().size(), 1u);
  }
  Store store = Store::OpenForWriting(folder_ / "old.sqlite");
  store.AddSharpness(store.BeginRun("x", {}), {.model = 1, .key = "k"});
  EXPECT_EQ(store.Sharpness().size(), 1u);
  store.SetClasses(store.BeginRun("x", {}), 1, {{"rate", 0.5}});
  EXPECT_EQ(store.Classes().size(), 1u);
}

TEST_F(StoreTest, RefusesWhatIsNotAStore) {
  WriteFileWhole(folder_ / "text.sqlite", "this is a text file, and quite a long one, to be no database at all");
  EXPECT_THROW(Store::Create(folder_ / "text.sqlite"), InputError);
  EXPECT_THROW(Store::OpenForReading(folder_ / "absent.sqlite"), IoError);
  {
    Store store = Store::Create(folder_ / "future.sqlite");
    Database(folder_ / "future.sqlite", Database::Mode::kReadWrite)
        .Execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'");
  }
  EXPECT_THROW(Store::Create(folder_ / "future.sqlite"), InputError);
}

TEST(Differences, NamesEachByItsPath) {
  const nlohmann::json there = {{"seed", 1}, {"models", {{"a", "x"}, {"b", "y"}}}},
                       here = {{"seed", 2}, {"models", {{"a", "z"}, {"b", "y"}}}, {"trials", 5}};
  EXPECT_EQ(Differences(there, here),
            (std::vector<std::string>{"models.a: \"x\" there, \"z\" here", "seed: 1 there, 2 here",
                                      "trials: absent there, 5 here"}));
  EXPECT_TRUE(Differences(there, there).empty());
}

}  // namespace
}  // namespace steadfast::store
