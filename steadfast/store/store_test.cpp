#include "steadfast/store/store.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"

namespace steadfast::store {
namespace {

namespace fs = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              ("steadfast_store_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

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

  fs::path folder_;
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

TEST_F(StoreTest, RefusesWhatIsNoStore) {
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
