#include "steadfast/engine/differential.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "steadfast/engine/changes_to_try.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/graphs_to_try.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/sets_to_try.h"
#include "steadfast/model/random_model.h"

namespace steadfast::engine {
namespace {

using model::ModelChange;
using model::QuantizedModel;

struct Case {
  QuantizedModel model;
  std::vector<uint8_t> images;
  std::vector<uint16_t> labels;
  EvaluationSet set;

  Case(QuantizedModel m, int64_t n, uint64_t seed)
      : model(std::move(m)),
        images(model::RandomImages(model, n, seed)),
        labels(static_cast<size_t>(n)),
        set({PreparedImages({}, 1), {}}) {
    for (size_t i = 0; i < labels.size(); ++i)
      labels[i] = static_cast<uint16_t>(i % static_cast<size_t>(model.classes()));
    set = MakeEvaluationSet(model, images, labels);
  }
};

Scores ReferenceScores(const Case& c, const ModelChange& change, const Golden& golden) {
  QuantizedModel changed = c.model;
  Apply(change, changed);
  return ScoreOf(RunReference(changed, c.images), c.model.classes(), c.labels, golden.predictions);
}

class Differential : public OnInstructionSet {
 protected:
  Evaluator MakeEvaluator(const Case& c) const {
    return Evaluator(c.model, c.set, MakeGoldenRun(DifferentialPlan(c.model, GetParam()), c.set, 1), GetParam());
  }
};

TEST_P(Differential, EqualsTheReferenceOnRandomGraphs) {
  std::mt19937_64 random(7);
  for (uint64_t seed = 0; seed < GraphsToTry(60); ++seed) {
    const Case c(model::RandomModel(seed), 1 + static_cast<int64_t>(seed * 7 % 150), seed);
    const Golden golden = RunGolden(c.model, c.set, 1);
    Evaluator evaluator = MakeEvaluator(c);
    for (int count : {1, 1, 2, 5, 40}) {
      const ModelChange change = RandomChange(c.model, count, random);
      if (change.empty()) continue;
      const Scores expected = ReferenceScores(c, change, golden);
      ASSERT_EQ(evaluator.EvaluateDifferentially(change, golden), expected) << c.model.name << ", " << count;
      ASSERT_EQ(evaluator.EvaluateDensely(change, golden), expected) << c.model.name << ", " << count;
    }
  }
}

TEST_P(Differential, EqualsTheReferenceOnLeNet5) {
  std::mt19937_64 random(8);
#if defined(__SANITIZE_ADDRESS__)  // which the reference feels most
  constexpr int kChanges = 6;
#else
  constexpr int kChanges = 12;
#endif
  for (int bits : {2, 4, 8}) {
    const Case c(model::RandomLeNet5(bits, bits, 3), kChanges < 12 && bits != 4 ? 10 : 70, 4);
    const Golden golden = RunGolden(c.model, c.set, 2);
    Evaluator evaluator = MakeEvaluator(c);
    for (int i = 0; i < kChanges; ++i) {
      const ModelChange change = RandomChange(c.model, i < kChanges * 2 / 3 ? 1 : i, random);
      if (change.empty()) continue;
      ASSERT_EQ(evaluator.Evaluate(change, golden), ReferenceScores(c, change, golden)) << bits << ", " << i;
    }
  }
}

// The margins of all images, from the tables of a neuron's codes.
TEST_P(Differential, LooksUpWhatANeuronsCodesLeadTo) {
  struct Margins final : ResultSink {
    std::vector<int64_t> table;  // [code][64]
    std::array<uint8_t, kBlockImages> places;
    const Golden* golden;
    void Take(std::span<const LaneTag> tags, std::span<const uint16_t>, std::span<const int64_t> margins,
              std::span<const int64_t>) override {
      for (size_t i = 0; i < tags.size(); ++i) {
        const auto image = static_cast<size_t>(tags[i].image);
        table[static_cast<size_t>(tags[i].change) * kBlockImages + places[image % kBlockImages]] =
            margins[i] - golden->margins[image];
      }
    }
  };
  const Case c(model::RandomLeNet5(4, 4, 9), 100, 5);
  const Golden golden = RunGolden(c.model, c.set, 1);
  const DifferentialPlan plan(c.model, GetParam());
  const auto blocks = RunGoldenBlocks(plan, c.set, 1);
  std::mt19937_64 random(6);
  Margins sink;
  sink.places = NeuronLookUp::PlacesOf(plan);
  sink.golden = &golden;
  DifferentialEngine engine(plan, sink, ResultDetail::kMargins);
  const std::vector<int> weights = model::WeightsOf(c.model);
  for (int tensor : {weights[2], weights[3]}) {
    const model::Parameter& weight = c.model.parameter(tensor);
    const model::CodeFormat& format = weight.format.codes;
    ASSERT_EQ(NeuronLookUp::CodesOf(plan, tensor), 16);
#if defined(__SANITIZE_ADDRESS__)
    constexpr int kWeights = 1;
#else
    constexpr int kWeights = 4;
#endif
    for (int i = 0; i < kWeights; ++i) {
      const auto index = static_cast<int64_t>(random() % weight.bits.size());
      const int before = weight.code(index), after = before > 0 ? -8 : 7;
      const int64_t neuron = weight.OutputOf(index);
      int64_t found = 0;
      for (const GoldenBlock& block : blocks) {
        sink.table.assign(16 * kBlockImages, 0);
        for (int code = 0; code < 16; ++code)
          engine.EvaluateForced(block, tensor, neuron, static_cast<uint8_t>(code), code);
        engine.Flush();
        const NeuronLookUp look_up(plan, block, tensor, neuron);
        found += look_up.Sum({weight.ProductOf(index), after - before}, sink.table.data());
      }
      const Scores expected =
          ReferenceScores(c, {{{tensor, index, format.pattern(before), format.pattern(after)}}}, golden);
      EXPECT_EQ(golden.scores.margin_sum + found, expected.margin_sum);
    }
  }
  EXPECT_EQ(NeuronLookUp::CodesOf(plan, weights[0]), 0);
  EXPECT_EQ(NeuronLookUp::CodesOf(plan, weights[4]), 0);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Differential, testing::ValuesIn(SetsToTry()), SetName);

}  // namespace
}  // namespace steadfast::engine
