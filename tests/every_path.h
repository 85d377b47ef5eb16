// That every path of the engine gives what the scalar rules say, with and without faults.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "steadfast/engine/changes_to_try.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/random_model.h"

namespace steadfast {

inline constexpr int64_t kImagesOfPaths = 70;

inline std::vector<uint16_t> SomeLabels(const model::QuantizedModel& model, int64_t images) {
  std::vector<uint16_t> labels;
  for (int64_t i = 0; i < images; ++i) labels.push_back(static_cast<uint16_t>(i % model.classes()));
  return labels;
}

// Dense and differential, for a random change of each of so many elements.
inline void ExpectEveryPathEqualsTheReference(const model::QuantizedModel& model, uint64_t seed,
                                              engine::InstructionSet instructions, std::initializer_list<int> counts,
                                              std::mt19937_64& random) {
  const std::vector<uint8_t> images = model::RandomImages(model, kImagesOfPaths, seed);
  const std::vector<uint16_t> labels = SomeLabels(model, kImagesOfPaths);
  const engine::EvaluationSet set = engine::MakeEvaluationSet(model, images, labels);
  const engine::Golden golden = engine::RunGolden(model, set, 1);
  const auto classes = static_cast<int>(model.classes());
  ASSERT_EQ(golden.scores, engine::ScoreOf(engine::RunReference(model, images), classes, labels, {})) << seed;
  const auto run = engine::MakeGoldenRun(engine::DifferentialPlan(model, instructions), set, 1);
  engine::Evaluator evaluator(model, set, run, instructions);
  for (const int count : counts) {
    const model::ModelChange change = engine::RandomChange(model, count, random);
    model::QuantizedModel changed = model;
    Apply(change, changed);
    const engine::Scores expected =
        engine::ScoreOf(engine::RunReference(changed, images), classes, labels, golden.predictions);
    ASSERT_EQ(evaluator.EvaluateDensely(change, golden), expected) << "network " << seed;
    ASSERT_EQ(evaluator.EvaluateDifferentially(change, golden), expected) << "network " << seed;
  }
}

}  // namespace steadfast
