// Evaluating a model, whole or changed, on labelled images.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "steadfast/base/cancellation.h"      // Cancellation
#include "steadfast/engine/dense.h"           // DenseEngine, PreparedImages
#include "steadfast/engine/differential.h"    // DifferentialPlan, GoldenBlock
#include "steadfast/engine/evaluation_set.h"  // EvaluationSet
#include "steadfast/engine/scores.h"          // Scores
#include "steadfast/model/model_change.h"     // ModelChange
#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::engine {

// What the fault-free network answers, image by image.
struct Golden {
  std::vector<uint16_t> predictions;  // [n]
  std::vector<int64_t> margins;       // [n], in units of 2^-20
  std::vector<int64_t> losses;        // [n], in units of 2^-20
  Scores scores;
};
Golden RunGolden(const model::QuantizedModel& model, const EvaluationSet& set, int threads,
                 const Cancellation* cancellation = nullptr);

// How the results under a change differ from the golden ones. Sums of any images, in any order.
struct Tally {
  int64_t changed = 0;                       // predictions that differ
  int64_t broken = 0;                        // right before, wrong now
  int64_t repaired = 0;                      // wrong before, right now
  int64_t margin_delta = 0, loss_delta = 0;  // in units of 2^-20

  Tally& operator+=(const Tally& other);
  bool operator==(const Tally&) const = default;
};
Scores ScoresOf(const Tally& tally, const Scores& golden);
// One image's part.
Tally TallyOf(uint16_t label, uint16_t golden_prediction, uint16_t prediction, int64_t margin_delta,
              int64_t loss_delta);

// What differential evaluations start from: of all blocks, or of some that follow one another. Shared by all threads.
struct GoldenRun {
  DifferentialPlan plan;
  std::vector<GoldenBlock> blocks;
};
std::shared_ptr<const GoldenRun> MakeGoldenRun(DifferentialPlan plan, const EvaluationSet& set, int threads,
                                               const Cancellation* cancellation = nullptr);

// The share of zero codes of each coded value over all images, by value index (values that are not outputs of weighted
// nodes get -1), and of all of them together.
struct ZeroShares {
  std::vector<double> values;
  double weighted;
};
ZeroShares MeasureZeroShares(const model::QuantizedModel& model, std::span<const uint8_t> images, int threads);

// How a changed network, which `engine` has, answers the images of blocks [first, end).
Tally RunDensely(DenseEngine& engine, const EvaluationSet& set, const Golden& golden, int64_t first, int64_t end,
                 const Cancellation* cancellation = nullptr);

// Evaluates changes of one model, one after another. One evaluator serves one thread.
class Evaluator {
 public:
  // With a golden run, changes are evaluated differentially where that is expected, or was measured, to cost less.
  Evaluator(const model::QuantizedModel& model, const EvaluationSet& set,
            std::shared_ptr<const GoldenRun> run = nullptr, InstructionSet instruction_set = BestInstructionSet());
  // For another thread: what was measured is known to it, and packed weights are shared as long as `other` lives, but
  // for those of layers that a change has changed.
  Evaluator(const Evaluator& other);
  ~Evaluator();
  Evaluator(Evaluator&&) noexcept;

  // The scores of the changed model on all images. Throws InterruptedError between blocks when cancelled.
  Scores Evaluate(const model::ModelChange& change, const Golden& golden, const Cancellation* cancellation = nullptr);

  // What the change does to the images of the golden run's blocks.
  Tally EvaluateBlocks(const model::ModelChange& change, const Golden& golden,
                       const Cancellation* cancellation = nullptr);

  // The same with faulty buffers of values too, densely.
  Scores Evaluate(const model::ModelChange& change, const model::ValueFaults& faults, const Golden& golden,
                  const Cancellation* cancellation = nullptr);

  // The same where images have faults of their own.
  Scores Evaluate(const model::ModelChange& change, const model::ImageFaultSource& faults, const Golden& golden,
                  const Cancellation* cancellation = nullptr);

  // The same as Evaluate by one path. Changed scales of activations are evaluated densely by all.
  Scores EvaluateDensely(const model::ModelChange& change, const Golden& golden,
                         const Cancellation* cancellation = nullptr);
  Scores EvaluateDifferentially(const model::ModelChange& change, const Golden& golden,
                                const Cancellation* cancellation = nullptr);

 private:
  struct Differential;
  // Of the golden run's blocks; stops where it takes more than `limit` nanoseconds a block. Returns how many it did.
  int64_t AddDifferentially(const model::ModelChange& change, const Golden& golden, double limit,
                            const Cancellation* cancellation, Tally& tally);
  void AddDensely(const model::ModelChange& change, const Golden& golden, int64_t first, int64_t end,
                  const Cancellation* cancellation, Tally& tally);
  model::QuantizedModel model_;
  const EvaluationSet* set_;
  DenseEngine dense_;
  std::unique_ptr<Differential> differential_;
};

}  // namespace steadfast::engine
