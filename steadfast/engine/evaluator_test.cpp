#include "steadfast/engine/evaluator.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/base/parallel.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/random_model.h"

namespace steadfast::engine {
namespace {

struct LeNet5Case {
  model::QuantizedModel model = model::RandomLeNet5(4, 4, 5);
  std::vector<uint8_t> images = model::RandomImages(model, 200, 6);
  std::vector<uint16_t> labels = std::vector<uint16_t>(200);
  LeNet5Case() {
    for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<uint16_t>(i % 10);
  }
};

TEST(Evaluator, NoChangeIsGolden) {
  const LeNet5Case c;
  const EvaluationSet set = MakeEvaluationSet(c.model, c.images, c.labels);
  const Golden golden = RunGolden(c.model, set, 2);
  EXPECT_EQ(golden.scores, ScoreOf(RunReference(c.model, c.images), 10, c.labels, {}));
  EXPECT_EQ(Evaluator(c.model, set).Evaluate({}, golden), golden.scores);
}

TEST(Evaluator, AgreesWithTheReferenceOnChangesAndForgetsThem) {
  const LeNet5Case c;
  const EvaluationSet set = MakeEvaluationSet(c.model, c.images, c.labels);
  const Golden golden = RunGolden(c.model, set, 1);
  Evaluator evaluator(c.model, set);
  for (int i = 0; i < 5; ++i) {
    const int tensor = model::WeightsOf(c.model)[static_cast<size_t>(i)];
    const model::CodeFormat& format = c.model.parameter(tensor).format.codes;
    const int old_code = c.model.parameter(tensor).code(7);
    const model::ModelChange change{{{tensor, 7, format.pattern(old_code), format.pattern(old_code > 0 ? -8 : 7)}}};
    model::QuantizedModel changed = c.model;
    Apply(change, changed);
    const Scores expected = ScoreOf(RunReference(changed, c.images), 10, c.labels, golden.predictions);
    EXPECT_EQ(evaluator.Evaluate(change, golden), expected);
  }
  EXPECT_EQ(evaluator.Evaluate({}, golden), golden.scores);
}

// Threads' copies share packed weights until a change comes: what one does is not seen by another.
TEST(Evaluator, CopiesChangeApart) {
  const LeNet5Case c;
  const EvaluationSet set = MakeEvaluationSet(c.model, c.images, c.labels);
  const Golden golden = RunGolden(c.model, set, 1);
  const auto run = MakeGoldenRun(DifferentialPlan(c.model), set, 1);
  constexpr int64_t kChanges = 24;
  std::vector<model::ModelChange> changes;
  std::vector<Scores> expected;
  for (int64_t i = 0; i < kChanges; ++i) {
    const int tensor = model::WeightsOf(c.model)[static_cast<size_t>(i % 5)];
    const model::Parameter& weight = c.model.parameter(tensor);
    const int64_t index = i * 13 % static_cast<int64_t>(weight.bits.size());
    const uint32_t before = weight.bits[static_cast<size_t>(index)];
    changes.push_back({{{tensor, index, before, before ^ 8u}}});
    model::QuantizedModel changed = c.model;
    Apply(changes.back(), changed);
    expected.push_back(ScoreOf(RunReference(changed, c.images), 10, c.labels, golden.predictions));
  }
  for (const bool with_run : {false, true}) {
    const Evaluator first(c.model, set, with_run ? run : nullptr);
    std::vector<std::unique_ptr<Evaluator>> copies;
    for (int t = 0; t < 4; ++t) copies.push_back(std::make_unique<Evaluator>(first));
    ParallelFor(4, kChanges, [&](int worker, int64_t i) {
      const auto at = static_cast<size_t>(i);
      EXPECT_EQ(copies[static_cast<size_t>(worker)]->EvaluateDensely(changes[at], golden), expected[at]) << i;
      EXPECT_EQ(copies[static_cast<size_t>(worker)]->Evaluate(changes[at], golden), expected[at]) << i;
    });
    EXPECT_EQ(Evaluator(first).EvaluateDensely({}, golden), golden.scores);
  }
}

// Labels and predictions beyond a byte: of 1,000 classes, as ImageNet has them.
TEST(Evaluator, TakesAThousandClasses) {
  model::RandomGraph graph(9);
  graph.model.values.push_back({"input", {1, 4, 4}, model::ActivationCoding{.bits = 8, .scale = 0.01f}});
  graph.model.output = graph.AddLinear(0, "last", 1000, {.bits = 4}, true);
  const model::QuantizedModel& model = graph.model;
  const auto images = model::RandomImages(model, 130, 3);
  const auto logits = RunReference(model, images);
  std::vector<uint16_t> labels;  // most of them right
  for (size_t i = 0; i < 130; ++i) {
    const int best = ArgMax(std::span(logits).subspan(i * 1000, 1000));
    labels.push_back(static_cast<uint16_t>(i % 5 == 0 ? (best + 256) % 1000 : best));
  }
  const EvaluationSet set = MakeEvaluationSet(model, images, labels);
  const Golden golden = RunGolden(model, set, 1);
  EXPECT_EQ(golden.scores.correct, 104);
  EXPECT_EQ(golden.scores, ScoreOf(logits, 1000, labels, {}));
  Evaluator evaluator(model, set);
  const int weight = model::WeightsOf(model)[0];
  for (const int64_t index : {5, 8000, 15000}) {
    const uint32_t before = model.parameter(weight).bits[static_cast<size_t>(index)];
    const model::ModelChange change{{{weight, index, before, before ^ 8u}}};
    model::QuantizedModel changed = model;
    Apply(change, changed);
    EXPECT_EQ(evaluator.Evaluate(change, golden),
              ScoreOf(RunReference(changed, images), 1000, labels, golden.predictions));
  }
}

TEST(MeasureZeroShares, AgreesWithTheReference) {
  for (uint64_t seed : {3, 4, 5, 6}) {
    const auto model = model::RandomModel(seed);
    const auto images = model::RandomImages(model, 70, seed);
    Trace trace;
    RunReference(model, images, &trace);
    const ZeroShares shares = MeasureZeroShares(model, images, 2);
    for (const auto& node : model.nodes) {
      const auto v = static_cast<size_t>(node.output);
      if (!model::WeightOf(node) || !model.values[v].coding) continue;
      const auto zeros = std::count(trace.codes[v].begin(), trace.codes[v].end(), model.values[v].coding->zero_point);
      EXPECT_EQ(shares.values[v], static_cast<double>(zeros) / static_cast<double>(trace.codes[v].size()));
    }
  }
}

TEST(MakeEvaluationSet, RefusesDataOfAnotherShape) {
  const LeNet5Case c;
  EXPECT_THROW(MakeEvaluationSet(c.model, std::span(c.images).subspan(1), c.labels), InputError);
  std::vector<uint16_t> labels = c.labels;
  labels[0] = 10;
  EXPECT_THROW(MakeEvaluationSet(c.model, c.images, labels), InputError);
}

}  // namespace
}  // namespace steadfast::engine
