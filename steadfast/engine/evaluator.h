// Evaluating a model, whole or changed, on labelled images.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "steadfast/base/cancellation.h"      // Cancellation
#include "steadfast/engine/dense.h"           // DenseEngine, PreparedImages
#include "steadfast/engine/scores.h"          // Scores
#include "steadfast/model/model_change.h"     // ModelChange
#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::engine {

// Images in the engine's own order, with their labels. Shared by all evaluators.
struct EvaluationSet {
  PreparedImages images;
  std::vector<uint8_t> labels;  // [n]
};

// Throws InputError where images or labels do not fit the model.
EvaluationSet MakeEvaluationSet(const model::QuantizedModel& model, std::span<const uint8_t> images,
                                std::span<const uint8_t> labels);

// What the fault-free network answers.
struct Golden {
  std::vector<uint16_t> predictions;  // [n]
  Scores scores;
};
Golden RunGolden(const model::QuantizedModel& model, const EvaluationSet& set, int threads,
                 const Cancellation* cancellation = nullptr);

// The share of zero codes of each coded value over all images, by value index (values that are not outputs of weighted
// nodes get -1), and of all of them together.
struct ZeroShares {
  std::vector<double> values;
  double weighted;
};
ZeroShares MeasureZeroShares(const model::QuantizedModel& model, std::span<const uint8_t> images, int threads);

// Evaluates changes of one model, one after another. One evaluator serves one thread.
class Evaluator {
 public:
  Evaluator(const model::QuantizedModel& model, const EvaluationSet& set);

  // The scores of the changed model on all images. Throws InterruptedError between blocks when cancelled.
  Scores Evaluate(const model::ModelChange& change, const Golden& golden, const Cancellation* cancellation = nullptr);

 private:
  model::QuantizedModel model_;
  const EvaluationSet* set_;
  DenseEngine engine_;
  std::vector<float> logits_;
};

}  // namespace steadfast::engine
