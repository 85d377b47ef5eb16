// The dense path: the whole network on blocks of 64 images, bit-identical to the reference.
//
// Images lie in the lanes of vector registers (codes of 64 images side by side), so a weight is one broadcast, there is
// no im2col, and small layers run as fast as large ones. Products are 4-way int8 dot products (VNNI where the machine
// has it); a max-pool right behind a convolution is taken on the sums, before requantization, which is monotone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "steadfast/engine/block.h"            // PreparedImages
#include "steadfast/engine/instruction_set.h"  // InstructionSet
#include "steadfast/model/image_faults.h"      // ImageFaultSource, ValueFaults
#include "steadfast/model/quantized_model.h"   // QuantizedModel

namespace steadfast::engine {

// One engine serves one thread. Holds packed weights and a workspace of one block.
class DenseEngine {
 public:
  // The model must be valid; what is needed of it is copied.
  explicit DenseEngine(const model::QuantizedModel& model, InstructionSet set = BestInstructionSet());
  // A second engine of the same network: they share packed weights until one takes other parameters.
  DenseEngine(const DenseEngine& other);
  ~DenseEngine();
  DenseEngine(DenseEngine&&) noexcept;
  DenseEngine& operator=(DenseEngine&&) noexcept;

  // Takes the parameters of a model with the same structure. Where scales of activations are others than those it was
  // made for, it is built anew, until they are the same again.
  void SetParameters(const model::QuantizedModel& model);

  // What the buffers of values do to them from now on; null: nothing. Codes that CodesOf gives are those after it.
  void SetValueFaults(std::shared_ptr<const model::ValueFaults> faults);

  // Faults that images have of their own, instead of SetValueFaults, until other parameters are set; `model` has this
  // engine's parameters. Null: none.
  void SetImageFaults(model::ImageFaultSource source, const model::QuantizedModel& model);

  // Keeps the codes of every value from now on (no pooling on sums), for CodesOf.
  void KeepAllValues(const model::QuantizedModel& model);
  // The codes of a value after the last block: [element][64], of which the first images_in(block) images count.
  std::span<const uint8_t> CodesOf(int value) const;

  InstructionSet instruction_set() const;
  int64_t classes() const;

  // Of a block, on the path that was chosen; 0 before ChoosePaths.
  double nanoseconds_per_block() const;

  // What a thread holds after a run, in bytes: of the values of its images, and of packed weights, which engines of the
  // same network share as long as their parameters are the same.
  struct Held {
    int64_t values, weights;
  };
  Held held() const;

  // Measures how long each step takes on these images by each path: dense, or sparse, which goes image by image and
  // skips inputs of level 0. Later runs take the faster path for each step; the results are the same.
  struct StepTime {
    std::string name;  // of the node
    int input;         // value
    double dense_ns;   // per image
    double sparse_ns;  // per image; below 0 where there is no such path
    double empty_ns;   // of the sparse path where every input has level 0: what skipping cannot save
  };
  std::vector<StepTime> ChoosePaths(const PreparedImages& images);
  // Takes the sparse path wherever there is one.
  void UseSparsePaths();

  // Runs one block; logits: [classes][64], of which the first images_in(block) images count.
  void RunBlock(const PreparedImages& images, int64_t block, std::span<float> logits);

  // All images; [n, classes].
  std::vector<float> Run(const PreparedImages& images);

 private:
  struct Plan;
  Plan& current() { return rebuilt_ != nullptr ? *rebuilt_ : *plan_; }
  std::shared_ptr<const model::ValueFaults> value_faults_;
  struct FaultyImages;
  std::unique_ptr<FaultyImages> faulty_images_;
  std::unique_ptr<Plan> plan_;
  std::unique_ptr<Plan> rebuilt_;  // under other scales of activations, which operators work out once; otherwise null
};

}  // namespace steadfast::engine
