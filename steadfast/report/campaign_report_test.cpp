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

// One chip in fifty guesses: Student's t is not to be trusted, and the text says so.
TEST(CampaignReport, WarnsOfOutliers) {
  store::ModelRow model;
  model.id = 1;
  model.label = "m";
  model.images = 100;
  model.correct = 90;
  std::vector<TrialRow> trials;
  for (int64_t number = 0; number < 50; ++number)
    trials.push_back({.id = "id",
                      .model = 1,
                      .fault = "row",
                      .encoding = "twos",
                      .rate = 0.001,
                      .trial = number,
                      .images = 100,
                      .correct = 88 + number % 2,
                      .changed = 5,
                      .broken = 2});
  EXPECT_EQ(ToText(MakeCampaignReport({model}, trials)).find("A few trials"), std::string::npos);
  trials[7].correct = 10;
  const CampaignReport report = MakeCampaignReport({model}, trials);
  const Cell& cell = report.cells[0];
  EXPECT_NE(ToText(report).find("m, row at 0.001: lowest 10.00 %"), std::string::npos) << ToText(report);
  EXPECT_LT(cell.any_law.low, cell.accuracy.interval.low);
  EXPECT_GT(cell.any_law.low, 0.6);
  EXPECT_LT(cell.any_law.high, 0.97);
}

// By hand: of four trials one moves nothing, one moves outputs, two change classes, of which one helps.
TEST(CampaignReport, SortsOutcomes) {
  store::ModelRow model;
  model.id = 1;
  model.label = "m";
  model.images = 100;
  model.correct = 90;
  model.margin_sum = 5000;
  model.loss_sum = 700;
  const auto trial = [](int64_t number, int64_t correct, int64_t changed, int64_t broken, int64_t repaired,
                        int64_t margin) {
    return TrialRow{.id = "id",
                    .model = 1,
                    .fault = "flip",
                    .encoding = "twos",
                    .rate = 0.001,
                    .trial = number,
                    .images = 100,
                    .correct = correct,
                    .changed = changed,
                    .broken = broken,
                    .repaired = repaired,
                    .margin_sum = margin,
                    .loss_sum = 700};
  };
  const std::vector<TrialRow> trials = {trial(0, 90, 0, 0, 0, 5000), trial(1, 90, 0, 0, 0, 4999),
                                        trial(2, 80, 12, 11, 1, 4000), trial(3, 91, 2, 0, 1, 5100)};
  const CampaignReport report = MakeCampaignReport({model}, trials, {.floor = 0.85});
  const Outcomes& outcomes = report.cells[0].outcomes;
  EXPECT_EQ(outcomes.masked, 1);
  EXPECT_EQ(outcomes.tolerable, 1);
  EXPECT_EQ(outcomes.sdc1, 2);
  EXPECT_EQ(outcomes.beneficial, 1);
  EXPECT_EQ(outcomes.critical, 1);
  EXPECT_NEAR(outcomes.changed, 0.035, 1e-12);
  EXPECT_NEAR(outcomes.repaired, 0.005, 1e-12);
  EXPECT_EQ(outcomes.shortfall, 0.8);
  EXPECT_FALSE(MakeCampaignReport({model}, trials).cells[0].outcomes.critical);
  EXPECT_NE(ToText(report).find("critical"), std::string::npos);
}

TEST(CampaignReport, QuotesCsvAndKeepsOrder) {
  const std::string csv = ToCsv(Example());
  EXPECT_NE(csv.find("id,\"second, with a comma\",,flip,twos,0.001,0,"), std::string::npos);
  EXPECT_LT(csv.find("id,first,,flip,twos,0.1,0"), csv.find("id,first,,flip,twos,0.001,1"));
}

}  // namespace
}  // namespace steadfast::report
