#include "steadfast/campaign/rare_faults.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "steadfast/base/error.h"
#include "steadfast/campaign/model_and_images.h"
#include "steadfast/campaign/sweep.h"
#include "steadfast/engine/evaluator.h"

namespace steadfast::campaign {
namespace {

// Every set of 3 of 6 bits has one chance in 20: as weights have it, whichever are drawn more often.
TEST(CriticalSets, WeightsMakeAllSetsAlike) {
  const CriticalSets sets({0, 0.7, 0, 0.05, 0, 0.25});
  std::map<std::vector<int64_t>, double> weights, counts;
  constexpr int kDraws = 60'000;
  double all = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    const auto [bits, weight] = sets.Draw(KeyOfSeed(3), static_cast<uint64_t>(draw), 3);
    ASSERT_EQ(bits.size(), 3u);
    EXPECT_LE(weight, 1 / CriticalSets::kPlainShare + 1e-12);
    weights[bits] += weight / kDraws;
    counts[bits] += 1.0 / kDraws;
    all += weight / kDraws;
  }
  ASSERT_EQ(weights.size(), 20u);
  for (const auto& [bits, weight] : weights) EXPECT_NEAR(weight, 0.05, 0.005);
  EXPECT_NEAR(all, 1, 0.01);
  // With bits 1, 3 and 5, half of 3 / (6 (3 / 24 + 0.75)).
  EXPECT_NEAR(sets.WeightOf({1, 3, 5}), 0.5 / (0.125 + 0.75), 1e-12);
  EXPECT_GT((counts[{1, 3, 5}]), 0.05);
  EXPECT_LT((counts[{0, 2, 4}]), 0.025);
  EXPECT_DOUBLE_EQ(CriticalSets({0, 0, 0}).WeightOf({0, 2}), 1);  // nothing matters: all are alike
}

TEST(SeveralFaults, AreBinomial) {
  const SeveralFaults several(5, 0.2);
  EXPECT_NEAR(several.none(), 0.32768, 1e-12);
  EXPECT_NEAR(several.one(), 0.4096, 1e-12);
  EXPECT_NEAR(several.several(), 1 - 0.32768 - 0.4096, 1e-12);
  const double two = 0.2048 / several.several();  // of 2 faults, where there are several
  EXPECT_EQ(several.CountAt(0), 2);
  EXPECT_EQ(several.CountAt(two - 1e-9), 2);
  EXPECT_EQ(several.CountAt(two + 1e-9), 3);
  EXPECT_EQ(several.CountAt(1 - 1e-12), 5);
  const SeveralFaults rare(1'000'000, 1e-10);
  EXPECT_NEAR(rare.several() / 0.5e-8, 1, 1e-3);
  EXPECT_THROW(SeveralFaults(1'000'000, 1e-3), UsageError);
  EXPECT_THROW(SeveralFaults(10, 0), UsageError);
}

class RareFaults : public WithModelAndImages {
 protected:
  RareSettings Prepare(const char* where, memory::FaultKind fault) {
    Write(model::RandomLeNet5(4, 4, 41), 60, /*is_right=*/true);
    SweepSettings sweep;
    sweep.model = path_;
    sweep.data = Data();
    sweep.where = memory::ParseWhere(where);
    RunSweep(sweep, folder_ / "sweep.sqlite");
    RareSettings settings;
    settings.model = path_;
    settings.sweep = folder_ / "sweep.sqlite";
    settings.where = sweep.where;
    settings.fault = fault;
    settings.data = Data();
    return settings;
  }
};

// Of ten bits, all 1,024 sets of faults are evaluated, and added up by their probabilities.
TEST_F(RareFaults, EstimatesWhatAllSetsGive) {
  for (const memory::FaultKind fault : {memory::FaultKind::kFlip, memory::FaultKind::kStuckAt1}) {
    RareSettings settings = Prepare("fc3.bias[channel=0..1;bit=23..27]", fault);
    settings.rates = {0.3, 0.01};
    settings.trials = 400;
    const memory::MemoryImage image(model_, {}, settings.where);
    std::vector<memory::BitAddress> bits;
    for (int64_t cell = 0; cell < image.arrays()[0].cells(); ++cell) {
      if (image.CanFail({0, cell})) bits.push_back({0, cell});
    }
    ASSERT_EQ(bits.size(), 10u);
    const engine::EvaluationSet set = engine::MakeEvaluationSet(model_, images_, labels_);
    const engine::Golden golden = engine::RunGolden(model_, set, 1);
    engine::Evaluator evaluator(model_, set);
    const auto accuracy_of = [](const engine::Scores& scores) { return static_cast<double>(scores.correct) / 60; };
    const double clean = accuracy_of(golden.scores);
    std::vector<double> accuracies;  // [set]
    for (unsigned faulty = 0; faulty < 1024; ++faulty) {
      memory::FaultMap map;
      for (unsigned b = 0; b < 10; ++b) {
        if ((faulty >> b & 1) != 0) map.faults.push_back({bits[b], fault});
      }
      accuracies.push_back(accuracy_of(evaluator.Evaluate(memory::EffectOf(map, image), golden)));
    }
    std::vector<double> of_singles;
    for (unsigned b = 0; b < 10; ++b) of_singles.push_back(accuracies[1u << b]);
    std::sort(of_singles.begin(), of_singles.end());
    settings.floor = of_singles[4];  // exactly what a single fault leaves: such a chip is not below it
    const RareResult result = RunRare(settings, folder_ / (std::string(memory::NameOf(fault)) + ".sqlite"));
    EXPECT_EQ(result.bits, 10);
    ASSERT_EQ(result.rates.size(), 2u);
    for (const RareEstimate& estimate : result.rates) {
      double lost = 0, below = 0, of_one = 0, below_of_one = 0;
      for (unsigned faulty = 0; faulty < 1024; ++faulty) {
        const int count = std::popcount(faulty);
        const double probability = std::pow(estimate.rate, count) * std::pow(1 - estimate.rate, 10 - count);
        lost += probability * (clean - accuracies[faulty]);
        below += probability * (accuracies[faulty] < settings.floor ? 1 : 0);
        if (count == 1) of_one += (clean - accuracies[faulty]) / 10;
        if (count == 1) below_of_one += accuracies[faulty] < settings.floor ? 0.1 : 0;
      }
      EXPECT_NEAR(estimate.lost_by_one, of_one, 1e-12);
      EXPECT_NEAR(estimate.below_by_one, below_of_one, 1e-12);
      EXPECT_NE(lost, 0);
      EXPECT_GT(below, 0);
      EXPECT_LE(estimate.lost.interval.low, lost);
      EXPECT_GE(estimate.lost.interval.high, lost);
      EXPECT_LE(estimate.below->interval.low, below);
      EXPECT_GE(estimate.below->interval.high, below);
      EXPECT_NEAR(estimate.lost.mean, lost, 0.02 * estimate.several) << estimate.rate;
      EXPECT_NEAR(estimate.below->mean, below, 0.1 * estimate.several) << estimate.rate;
      EXPECT_GT(estimate.effective_sample_size, 100);
      EXPECT_LE(estimate.effective_sample_size, 400);
    }
    // More threads, and the same store again: the same numbers.
    settings.threads = 3;
    const RareResult again = RunRare(settings, folder_ / (std::string(memory::NameOf(fault)) + ".sqlite"));
    EXPECT_EQ(again.rates[1].lost.mean, result.rates[1].lost.mean);
    EXPECT_EQ(RunRare(settings, {}).rates[0].lost.interval.low, result.rates[0].lost.interval.low);
  }
}

TEST_F(RareFaults, NeedAWholeSweep) {
  RareSettings settings = Prepare("fc3.bias[bit=9..13]", memory::FaultKind::kFlip);
  settings.trials = 2;
  settings.rates = {1e-3};
  EXPECT_NO_THROW(RunRare(settings, {}));
  settings.where = memory::ParseWhere("fc3.bias[channel=0;bit=9]");  // part of what was swept
  EXPECT_EQ(RunRare(settings, {}).bits, 1);
  settings.where = memory::ParseWhere("fc3.bias[bit=8..13]");
  EXPECT_THROW(RunRare(settings, {}), InputError);
  settings.where = memory::ParseWhere("fc3.bias[bit=9..13]");
  settings.data.images = 50;
  EXPECT_THROW(RunRare(settings, {}), InputError);
  settings.data.images = 0;
  settings.rates = {1e-3, 1e-3};
  EXPECT_THROW(RunRare(settings, {}), UsageError);
  settings.rates = {0.99};
  settings.trials = 1;
  EXPECT_THROW(RunRare(settings, {}), UsageError);
}

}  // namespace
}  // namespace steadfast::campaign
