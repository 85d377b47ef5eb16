// Blocks of which images read parameters differently. Internal to the engine.
//
// A block is run by rows, with its sums kept; what an image's own weights add to its sums is added afterwards, product
// by product, and what changed is requantized again. So few changes cost little beside the block, and every image gets
// what the network with its parameters gives.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "steadfast/engine/apply_value_faults.h"  // BlockFaults
#include "steadfast/engine/block.h"               // PreparedImages
#include "steadfast/engine/instruction_set.h"
#include "steadfast/engine/plan.h"
#include "steadfast/model/image_faults.h"

namespace steadfast::engine {

// Serves one thread.
class ImageChanges {
 public:
  ImageChanges(const model::QuantizedModel& model, InstructionSet set);

  // logits: [classes][64]
  void RunBlock(const PreparedImages& images, int64_t block, const model::ImageFaults& faults, std::span<float> logits);

 private:
  // Of a step, of all images of the block, ascending by output.
  struct OfStep {
    std::vector<ImageWeightDelta> weights;
    std::vector<ImageConstants> constants;
  };
  void Gather(std::span<const model::ModelChange> changes);

  model::QuantizedModel model_;
  InstructionSet set_;
  std::vector<Step> steps_;
  std::vector<model::Requantization> requantizations_;  // [step]
  Workspace workspace_;
  std::vector<Buffer<uint8_t>> rows_;  // [value]
  Buffer<int32_t> sums_;
  std::vector<OfStep> changes_;            // [step]
  std::vector<int64_t> with_own_codings_;  // images of the block whose scales of activations changed
};

}  // namespace steadfast::engine
