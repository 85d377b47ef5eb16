#include "steadfast/report/tie.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "steadfast/statistics/correlation.h"

namespace steadfast::report {
namespace {

// 6 recipes of 5 seeds. Damage follows sharpness between recipes and, a little, within; "noise" says nothing.
Evidence Made(bool with_second_width = false) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  Evidence evidence;
  for (int recipe = 0; recipe < 6; ++recipe) {
    for (int seed = 0; seed < 5; ++seed) {
      store::ModelRow model;
      model.id = static_cast<int64_t>(evidence.models.size()) + 1;
      model.label = "r" + std::to_string(recipe) + "-" + std::to_string(seed);
      model.recipe = "r" + std::to_string(recipe);
      model.seed = seed;
      model.weight_bits = model.activation_bits = with_second_width && recipe >= 3 ? 2 : 4;
      model.images = 10000;
      model.correct = 9000;
      model.zero_share = 0.5 + 0.05 * normal(random);
      const double sharp = recipe + 0.3 * normal(random);
      store::SharpnessRow row;
      row.model = model.id;
      row.values = {{"weight-norm", "", 0, 10 + normal(random), 0},
                    {"sam", "", 0.1, sharp, 0},
                    {"gradient-norm", "", 0, normal(random), 0},
                    {"hessian-trace", "conv1.weight", 0, 1, 0}};
      evidence.sharpness.push_back(row);
      for (double rate : {1e-3, 1e-2}) {
        for (int trial = 0; trial < 3; ++trial) {
          store::TrialRow t;
          t.id = model.label + std::to_string(rate) + std::to_string(trial);
          t.model = model.id;
          t.fault = "flip";
          t.encoding = "twos";
          t.rate = rate;
          t.trial = trial;
          t.images = 10000;
          t.correct = 9000 - static_cast<int64_t>(1e5 * rate * (sharp + 2));
          evidence.trials.push_back(t);
        }
      }
      evidence.models.push_back(model);
    }
  }
  return evidence;
}

const TieRow& Find(const Tie& tie, const std::string& predictor, const std::string& damage,
                   const std::string& scope = "all") {
  for (const TieRow& row : tie.rows) {
    if (row.scope == scope && tie.predictors[row.predictor].name == predictor && tie.damages[row.damage].name == damage)
      return row;
  }
  throw std::runtime_error("no such row");
}

TEST(Tie, FindsWhatPredictsAndWhatDoesNot) {
  const Tie tie = MakeTie(Made());
  EXPECT_EQ(tie.networks.size(), 30u);
  const TieRow& sam = Find(tie, "sam 0.1", "flip 0.01");
  EXPECT_EQ(sam.networks, 30);
  EXPECT_EQ(sam.groups, 6);
  EXPECT_GT(sam.spearman.value, 0.99);
  EXPECT_GT(sam.spearman.interval.low, 0.95);
  EXPECT_GT(sam.within.value, 0.9) << "the same holds between seeds of a recipe";
  EXPECT_GT(sam.partial.value, 0.95) << "and with sparsity and norm held";
  const TieRow& noise = Find(tie, "gradient-norm", "flip mean");
  EXPECT_LT(std::abs(noise.spearman.value), 0.4);
  EXPECT_LT(noise.spearman.interval.low, 0);
  EXPECT_GT(noise.spearman.interval.high, 0);
  // What is held constant has nothing left to say.
  EXPECT_TRUE(std::isnan(Find(tie, "weight-norm", "flip mean").partial.value));
  EXPECT_TRUE(std::isnan(Find(tie, "clean-accuracy", "flip mean").spearman.value)) << "all networks are alike";
  EXPECT_EQ(tie.damages[0].name, "flip mean");
  EXPECT_EQ(tie.predictors[RankedFor(tie, "all", 0)[0].predictor].name, "sam 0.1");
}

// The quick way of many pairs at once is held to the plain functions.
TEST(Tie, AgreesWithThePlainCorrelations) {
  const Tie tie = MakeTie(Made());
  const auto column = [](const std::vector<TieColumn>& columns, const std::string& name) {
    return std::find_if(columns.begin(), columns.end(), [&](const auto& c) { return c.name == name; })->values;
  };
  std::vector<int> groups;
  for (int i = 0; i < 30; ++i) groups.push_back(i / 5);
  const auto damage = column(tie.damages, "flip 0.01");
  const std::vector<std::vector<double>> controls = {column(tie.predictors, "zero-share"),
                                                     column(tie.predictors, "weight-norm")};
  for (const char* name : {"sam 0.1", "gradient-norm", "zero-share"}) {
    const auto x = column(tie.predictors, name);
    const TieRow& row = Find(tie, name, "flip 0.01");
    EXPECT_NEAR(row.spearman.value, statistics::Spearman(x, damage), 1e-12);
    EXPECT_NEAR(row.kendall.value, statistics::KendallTauB(x, damage), 1e-12);
    EXPECT_NEAR(row.within.value,
                statistics::Spearman(statistics::CenteredWithin(x, groups), statistics::CenteredWithin(damage, groups)),
                1e-12);
    const double partial = statistics::PartialSpearman(x, damage, controls);
    if (std::isfinite(partial))
      EXPECT_NEAR(row.partial.value, partial, 1e-9);
    else
      EXPECT_TRUE(std::isnan(row.partial.value));
  }
}

// A network that was tried at a rate more than the others does not change what is compared.
TEST(Tie, MeansAreOverTheRatesThatAllHave) {
  Evidence evidence = Made();
  const Tie before = MakeTie(evidence);
  store::TrialRow more = evidence.trials.front();
  more.rate = 0.5;
  more.correct = 0;
  evidence.trials.push_back(more);
  const Tie after = MakeTie(evidence);
  EXPECT_EQ(after.damages[0].values, before.damages[0].values);
  EXPECT_EQ(before.damages[0].title, "bit flips (mean over rates)");
  EXPECT_EQ(after.damages[0].title, "bit flips (mean over rates 0.001, 0.01)");
}

TEST(Tie, IsTheSameOnAnyNumberOfThreads) {
  EXPECT_EQ(TieCsv(MakeTie(Made(), 1)), TieCsv(MakeTie(Made(), 4)));
}

TEST(Tie, WidthsAreAlsoLookedAtAlone) {
  const Tie tie = MakeTie(Made(true));
  EXPECT_EQ(Find(tie, "sam 0.1", "flip mean", "W2A2").networks, 15);
  EXPECT_EQ(Find(tie, "sam 0.1", "flip mean", "W4A4").groups, 3);
}

TEST(Tie, NeedsNetworks) {
  Evidence evidence = Made();
  evidence.sharpness.resize(4);
  EXPECT_TRUE(MakeTie(evidence).rows.empty());
}

}  // namespace
}  // namespace steadfast::report
