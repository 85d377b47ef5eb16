#include "steadfast/report/campaign_report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "steadfast/report/recipe_comparison.h"

namespace steadfast::report {
namespace {

using store::ModelRow;
using store::TrialRow;

CampaignReport Example() {
  std::vector<ModelRow> models(2);
  for (size_t m = 0; m < 2; ++m) {
    models[m].id = static_cast<int64_t>(m) + 1;
    models[m].label = m == 0 ? "first" : "second, with a comma";
    models[m].images = 100;
    models[m].correct = 90;
  }
  std::vector<TrialRow> trials;
  const auto add = [&](int64_t model, double rate, int64_t trial, int64_t correct) {
    trials.push_back({.id = "id",
                      .model = model,
                      .fault = "flip",
                      .encoding = "twos",
                      .rate = rate,
                      .trial = trial,
                      .images = 100,
                      .correct = correct});
  };
  for (int64_t trial : {0, 1}) {
    add(1, 0.001, trial, 88 + 2 * trial);  // mean 89: one point lost
    add(1, 0.1, trial, 69);                // 21 points lost
    add(2, 0.001, trial, 80 + 2 * trial);
    add(2, 0.1, trial, 50 + trial);
  }
  return MakeCampaignReport(models, trials);
}

TEST(CampaignReport, PairsTrials) {
  const CampaignReport report = Example();
  ASSERT_EQ(report.differences.size(), 2u);
  EXPECT_NEAR(report.differences[0].mean, 8.0, 1e-9);  // 88 - 80 and 90 - 82: always 8
  EXPECT_NEAR(report.differences[0].interval.high - report.differences[0].interval.low, 0.0, 1e-9);
  EXPECT_NEAR(report.differences[1].mean, 18.5, 1e-9);
}

// By hand: 1 point at 1e-3; 5 and 10 points at 4/20 and 9/20 of the way from 1e-3 to 1e-1 on a logarithmic scale.
TEST(CampaignReport, InterpolatesTheRateOfADrop) {
  const CampaignReport report = Example();
  EXPECT_NEAR(*report.drops[0].rate, 1e-3, 1e-12);
  EXPECT_NEAR(*report.drops[1].rate, 1e-3 * std::pow(100.0, 0.2), 1e-9);
  EXPECT_NEAR(*report.drops[2].rate, 1e-3 * std::pow(100.0, 0.45), 1e-9);
  // The second model has lost 9 points at the lowest rate: linear from the clean accuracy.
  EXPECT_NEAR(*report.drops[3].rate, 1e-3 / 9, 1e-12);
}

// A network whose training ended at chance level is marked wherever its recipe is.
TEST(CampaignReport, MarksChance) {
  CampaignReport report = Example();
  for (auto& model : report.models) model.recipe = model.id == 1 ? "first" : "second";
  EXPECT_EQ(ToText(report).find("(chance)"), std::string::npos);
  EXPECT_EQ(RecipeTable(report.models, report.trials).find("(chance)"), std::string::npos);
  report.models[1].accuracy_json = R"({"test": 0.1, "at_chance": true})";
  EXPECT_NE(ToText(report).find("second, with a comma (chance)"), std::string::npos) << ToText(report);
  const std::string table = RecipeTable(report.models, report.trials);
  EXPECT_NE(table.find("second (chance)"), std::string::npos) << table;
  EXPECT_EQ(table.find("first (chance)"), std::string::npos) << table;
}

TEST(CampaignReport, QuotesCsvAndKeepsOrder) {
  const std::string csv = ToCsv(Example());
  EXPECT_NE(csv.find("id,\"second, with a comma\",,flip,twos,0.001,0,"), std::string::npos);
  EXPECT_LT(csv.find("id,first,,flip,twos,0.1,0"), csv.find("id,first,,flip,twos,0.001,1"));
}

}  // namespace
}  // namespace steadfast::report
