// The differential path: from a golden run and a change of the model, computes only what differs.
//
// Layer by layer, from the first that changed: the output channels whose weights changed, then what changed activations
// lead to, until no code differs any more. Layers above the first change are never computed again; an image that no
// longer differs stops. Each step chooses between computing what changed and computing everything by what the kernels
// cost on this machine (the numbers do not depend on the choice); images that still differ are gathered from several
// blocks, and from several changes, so that vector registers stay full. Bit-identical to the reference.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "steadfast/base/cancellation.h"  // Cancellation
#include "steadfast/engine/block.h"       // kBlockImages
#include "steadfast/engine/buffer.h"
#include "steadfast/engine/evaluation_set.h"   // EvaluationSet
#include "steadfast/engine/instruction_set.h"  // InstructionSet
#include "steadfast/model/model_change.h"      // ModelChange
#include "steadfast/model/quantized_model.h"   // QuantizedModel
#include "steadfast/model/value_faults.h"      // ValueFaults

namespace steadfast::engine {

// A model prepared for differential runs. Shared by threads, never changed.
class DifferentialPlan {
 public:
  explicit DifferentialPlan(const model::QuantizedModel& model, InstructionSet set = BestInstructionSet());
  ~DifferentialPlan();
  DifferentialPlan(DifferentialPlan&&) noexcept;

  // What a GoldenBlock holds.
  int64_t bytes_per_block() const;
  double nanoseconds_per_block() const;  // of a dense run, measured
  // Roughly the cost of EvaluateFaultyValue for a block, if everything that follows the value changes.
  double nanoseconds_behind(int value) const;

  struct Steps;
  const Steps& steps() const { return *steps_; }

 private:
  std::unique_ptr<Steps> steps_;
};

// What the fault-free network computed for one block.
struct GoldenBlock {
  int64_t number = 0;                 // of the block in the evaluation set
  int64_t run = 0;                    // unique among the golden blocks of this process, so that what is kept between
                                      // changes of one block is not used for another
  int64_t images = 0;                 // in the block
  std::vector<Buffer<uint8_t>> rows;  // [value][element * 64 + image]
  std::vector<Buffer<int32_t>> sums;  // [step]
  std::vector<float> logits;          // [classes][64]
  std::array<uint16_t, kBlockImages> labels = {};
  // How far the input codes of the last layer may move (the sum of absolute differences) while the decision provably
  // stays. It follows from bounds on the integer sums, because the float outputs are monotone in them. 0: unknown.
  std::array<int64_t, kBlockImages> slack = {};
};
GoldenBlock RunGoldenBlock(const DifferentialPlan& plan, const EvaluationSet& set, int64_t block);

// Some blocks of a set, on `threads` threads, or all.
std::vector<GoldenBlock> RunGoldenBlocks(const DifferentialPlan& plan, const EvaluationSet& set, int64_t first,
                                         int64_t count, int threads, const Cancellation* cancellation = nullptr);
std::vector<GoldenBlock> RunGoldenBlocks(const DifferentialPlan& plan, const EvaluationSet& set, int threads,
                                         const Cancellation* cancellation = nullptr);

// The changes of a ModelChange, by step of the plan: of weights, and of the constants of requantization that other
// parameters give.
class StepDeltas {
 public:
  StepDeltas(const DifferentialPlan& plan, const model::QuantizedModel& model, const model::ModelChange& change);
  ~StepDeltas();
  StepDeltas(StepDeltas&&) noexcept;

  // Roughly the cost of a differential run of a block, if everything that follows the changes changes.
  double expected_nanoseconds(const DifferentialPlan& plan) const;
  int first_step() const;  // with any

  struct Lists;
  const Lists& lists() const { return *lists_; }

 private:
  std::unique_ptr<Lists> lists_;
};

// One image under one change.
struct LaneTag {
  int32_t change;  // the caller's number
  int32_t image;   // in the evaluation set
};

// Receives the results of images for which the network may answer otherwise than in the golden run. All others answer
// the same.
class ResultSink {
 public:
  virtual ~ResultSink() = default;
  // margins and losses: in units of 2^-20; empty where they are not computed.
  virtual void Take(std::span<const LaneTag> tags, std::span<const uint16_t> predictions,
                    std::span<const int64_t> margins, std::span<const int64_t> losses) = 0;
};

// What is computed from an image's logits. With kDecisions, images whose decision provably cannot change stop before
// the last layer (GoldenBlock::slack).
enum class ResultDetail { kDecisions, kMargins, kLosses };

// Serves one thread. Results may reach the sink as late as Flush.
class DifferentialEngine {
 public:
  DifferentialEngine(const DifferentialPlan& plan, ResultSink& sink, ResultDetail detail);
  ~DifferentialEngine();

  // One block under the change.
  void Evaluate(const GoldenBlock& golden, const StepDeltas& deltas, int32_t change);

  // One block where `channel` of the output of the node that owns the weight parameter `weight` has this code for every
  // image.
  void EvaluateForced(const GoldenBlock& golden, int weight, int64_t channel, uint8_t code, int32_t change);

  // One block where the buffer of a value (model::StoredValues) reads wrongly in one element, for every image.
  void EvaluateFaultyValue(const GoldenBlock& golden, int value, const model::ValueFaults::InEveryImage& fault,
                           int32_t change);

  void Flush();
  // Forgets what was not flushed.
  void Discard();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Looks up what changes of one fully connected neuron's weights lead to on a block: a neuron has few codes, and each
// code's consequences are computed once (EvaluateForced) and kept in a table.
class NeuronLookUp {
 public:
  // Throws Error where the parameter is not the weights of one fully connected layer with quantized output.
  NeuronLookUp(const DifferentialPlan& plan, const GoldenBlock& golden, int weight, int64_t neuron);
  ~NeuronLookUp();
  NeuronLookUp(NeuronLookUp&&) noexcept;

  // One weight of the neuron: index of its input, and what its level grows by.
  struct Change {
    int64_t input;
    int32_t level_delta;
  };
  // The sum over the block's images of table[code][place of the image], code being what the neuron gives for it under
  // the change. table: [codes][64]
  int64_t Sum(const Change& change, const int64_t* table) const;

  // Where tables keep the images of a block.
  static std::array<uint8_t, kBlockImages> PlacesOf(const DifferentialPlan& plan);
  // How many codes a neuron of the layer of this weight parameter has; 0 where it has no neurons to look up, or where
  // several layers share the weights.
  static int CodesOf(const DifferentialPlan& plan, int weight);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace steadfast::engine
