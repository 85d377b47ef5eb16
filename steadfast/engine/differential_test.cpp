#include "steadfast/engine/differential.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>

#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/random_model.h"

namespace steadfast::engine {
namespace {

using model::CodeChange;
using model::ModelChange;
using model::QuantizedModel;

struct Case {
  QuantizedModel model;
  std::vector<uint8_t> images, labels;
  EvaluationSet set;

  Case(QuantizedModel m, int64_t n, uint64_t seed)
      : model(std::move(m)),
        images(model::RandomImages(model, n, seed)),
        labels(static_cast<size_t>(n)),
        set({PreparedImages({}, 1), {}}) {
    for (size_t i = 0; i < labels.size(); ++i)
      labels[i] = static_cast<uint8_t>(i % static_cast<size_t>(model.classes()));
    set = MakeEvaluationSet(model, images, labels);
  }
};

// `count` random codes of random tensors become other codes of their format.
ModelChange RandomChange(const QuantizedModel& model, int count, std::mt19937_64& random) {
  std::map<std::pair<int, int64_t>, int16_t> changes;
  for (int i = 0; i < count; ++i) {
    const auto tensor = static_cast<int>(random() % model.weights.size());
    const model::WeightTensor& weight = model.weights[static_cast<size_t>(tensor)];
    const auto index = static_cast<int64_t>(random() % weight.codes.size());
    const int low = weight.format.is_signed ? -(1 << (weight.format.bits - 1)) : 0;
    const auto code = static_cast<int16_t>(low + static_cast<int>(random() % (uint64_t{1} << weight.format.bits)));
    if (code != weight.codes[static_cast<size_t>(index)]) changes[{tensor, index}] = code;
  }
  ModelChange change;
  for (const auto& [at, code] : changes) {
    const int16_t old_code = model.weights[static_cast<size_t>(at.first)].codes[static_cast<size_t>(at.second)];
    change.codes.push_back({at.first, at.second, old_code, code});
  }
  return change;
}

Scores ReferenceScores(const Case& c, const ModelChange& change, const Golden& golden) {
  QuantizedModel changed = c.model;
  Apply(change, changed);
  return ScoreOf(RunReference(changed, c.images), c.model.classes(), c.labels, golden.predictions);
}

// 150, or $STEADFAST_GRAPHS (make nightly).
uint64_t GraphsToTry() {
  const char* graphs = std::getenv("STEADFAST_GRAPHS");
  return graphs == nullptr ? 150 : std::strtoull(graphs, nullptr, 10);
}

TEST(Differential, EqualsTheReferenceOnRandomGraphs) {
  std::mt19937_64 random(7);
  for (uint64_t seed = 0; seed < GraphsToTry(); ++seed) {
    const Case c(model::RandomModel(seed), 1 + static_cast<int64_t>(seed * 7 % 150), seed);
    const Golden golden = RunGolden(c.model, c.set, 1);
    Evaluator evaluator(c.model, c.set, MakeGoldenRun(c.model, c.set, 1));
    for (int count : {1, 1, 1, 2, 5, 40}) {
      const ModelChange change = RandomChange(c.model, count, random);
      if (change.codes.empty()) continue;
      const Scores expected = ReferenceScores(c, change, golden);
      ASSERT_EQ(evaluator.EvaluateDifferentially(change, golden), expected) << c.model.name << ", " << count;
      ASSERT_EQ(evaluator.EvaluateDensely(change, golden), expected) << c.model.name << ", " << count;
    }
  }
}

TEST(Differential, EqualsTheReferenceOnLeNet5) {
  std::mt19937_64 random(8);
  for (int bits : {2, 4, 8}) {
    const Case c(model::RandomLeNet5(bits, bits, 3), 130, 4);
    const Golden golden = RunGolden(c.model, c.set, 2);
    Evaluator evaluator(c.model, c.set, MakeGoldenRun(c.model, c.set, 2));
    for (int i = 0; i < 25; ++i) {
      const ModelChange change = RandomChange(c.model, i < 15 ? 1 : i, random);
      if (change.codes.empty()) continue;
      ASSERT_EQ(evaluator.Evaluate(change, golden), ReferenceScores(c, change, golden)) << bits << ", " << i;
    }
  }
}

}  // namespace
}  // namespace steadfast::engine
