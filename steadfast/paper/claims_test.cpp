#include "steadfast/paper/claims.h"

#include <gtest/gtest.h>

#include <cmath>

#include "steadfast/base/error.h"

namespace steadfast::paper {
namespace {

using report::CompareRecipes;
using report::RecipeCsv;
using report::RecipeTable;
using report::ToJson;
using report::ToRows;
using report::ToText;

using store::ModelRow;
using store::TrialRow;

struct Study {
  std::vector<ModelRow> models;
  std::vector<TrialRow> trials;

  // One trial at each of two rates; accuracies in images of 1000.
  void Add(const std::string& recipe, int64_t seed, int64_t clean, int64_t low_rate, int64_t high_rate,
           double sharpness) {
    ModelRow model;
    model.id = static_cast<int64_t>(models.size()) + 1;
    model.label = recipe + std::to_string(seed);
    model.recipe = recipe;
    model.seed = seed;
    model.images = 1000;
    model.correct = clean;
    model.zero_share = 0.5;
    model.sharpness_json = R"({"at": [{"relative_radius": 0.02, "increase": )" + std::to_string(sharpness) + "}]}";
    for (const auto& [rate, correct] : {std::pair{1e-3, low_rate}, {1e-2, high_rate}}) {
      trials.push_back({.id = "",
                        .model = model.id,
                        .fault = "flip",
                        .encoding = "twos",
                        .rate = rate,
                        .trial = 0,
                        .images = 1000,
                        .correct = correct});
    }
    models.push_back(model);
  }
};

Study Example() {
  Study study;
  for (int64_t seed : {0, 1, 2}) {
    study.Add("standard", seed, 900, 880, 700, 0.1);
    study.Add("as", seed, 890, 860, 600 + 10 * seed, 0.3 + 0.01 * static_cast<double>(seed));
    study.Add("standard-saq", seed, 890, 885, 800, 0.05);
    study.Add("as-saq", seed, 880, 860, 700 + (seed - 1) * 100, 0.08);
  }
  return study;
}

// By hand: claim 1, seed means ((880-860)/10 + (700-600-10s)/10) / 2 = 6, 5.5, 5 points; mean 5.5, deviation 0.5,
// interval 5.5 -+ 4.3027 * 0.5 / sqrt(3) = 4.258 to 6.742. Clean accuracy differs by 1 point: the drop is 4.5.
TEST(JudgeClaims, WorkedByHand) {
  const Study study = Example();
  const auto claims = JudgeClaims(study.models, study.trials);
  ASSERT_EQ(claims.size(), 5u);
  EXPECT_EQ(claims[0].id, "1");
  EXPECT_EQ(claims[0].verdict, "holds");
  EXPECT_NEAR(claims[0].primary.mean, 5.5, 1e-9);
  EXPECT_NEAR(claims[0].primary.interval.low, 4.258, 1e-3);
  EXPECT_NEAR(claims[0].primary.interval.high, 6.742, 1e-3);
  EXPECT_NEAR(claims[0].drop.mean, 4.5, 1e-9);
  const report::CellEffect& largest = claims[0].cells[static_cast<size_t>(claims[0].largest)];
  EXPECT_EQ(largest.rate, 1e-2);
  EXPECT_NEAR(largest.mean, 9.0, 1e-9);
  EXPECT_LT(largest.simultaneous.low, largest.mean - 2.48);  // wider than the single interval
  EXPECT_EQ(claims[1].verdict, "holds");
  EXPECT_NEAR(claims[1].primary.mean, 0.21, 1e-9);
}

TEST(JudgeClaims, KnowsUndecidedAndFalse) {
  const Study study = Example();
  const auto claims = JudgeClaims(study.models, study.trials);
  EXPECT_EQ(claims[4].id, "4");  // seed means -6, -1, +4
  EXPECT_EQ(claims[4].verdict, "undecided");
  Study reversed = Example();
  for (auto& model : reversed.models) {
    if (model.recipe == "standard")
      model.recipe = "as";
    else if (model.recipe == "as")
      model.recipe = "standard";
  }
  EXPECT_EQ(JudgeClaims(reversed.models, reversed.trials)[0].verdict, "does not hold");
}

TEST(JudgeClaims, OneSeedDecidesNothing) {
  Study study;
  for (const char* recipe : {"standard", "as", "standard-saq", "as-saq"}) study.Add(recipe, 0, 900, 800, 700, 0.1);
  const auto claims = JudgeClaims(study.models, study.trials);
  for (const report::Comparison& claim : claims) EXPECT_EQ(claim.verdict, "undecided");
  EXPECT_TRUE(ToJson(claims)["claims"][0]["interval"][0].is_null());
}

TEST(JudgeClaims, NeedsAllRecipesAndTheSameSeeds) {
  Study study = Example();
  study.models.pop_back();
  EXPECT_THROW(JudgeClaims(study.models, study.trials), InputError);
}

TEST(RecipeCsv, AveragesTrialsThenSeeds) {
  const Study study = Example();
  const std::string csv = RecipeCsv(study.models, study.trials);
  EXPECT_NE(csv.find("as,flip,twos,0.01,3,1,61.0000,58.5159,63.4841,\n"), std::string::npos) << csv;  // 60, 61, 62
  EXPECT_NE(csv.find("as,none,,0,3,0,89.0000,89.0000,89.0000,50.0000\n"), std::string::npos) << csv;
}

}  // namespace
}  // namespace steadfast::paper
