// The dense path slice by slice: steps that can take values as slices' quads run one after the other on 16 images.
// Internal to the engine.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "steadfast/engine/apply_value_faults.h"
#include "steadfast/engine/buffer.h"
#include "steadfast/engine/plan.h"
#include "steadfast/engine/slices.h"

namespace steadfast::engine {

// What a thread needs to run a network slice by slice.
class SlicedMemory {
 public:
  int64_t bytes() const;

 private:
  friend class SlicedPath;
  std::vector<Buffer<uint8_t>> quads;  // [memory]
  std::vector<Buffer<uint8_t>> rows;   // [value]; empty where they are not needed
  std::vector<const uint8_t*> inputs;
};

// How a network is run slice by slice. Never changed; shared by threads. The operators come with each call: those that
// it was made for, or clones with other parameters.
class SlicedPath {
 public:
  // Prepares the operators of `steps`. Null where the set has no kernels for slices.
  static std::unique_ptr<const SlicedPath> Make(const model::QuantizedModel& model, const std::vector<Step>& steps,
                                                InstructionSet set);

  // Whether any weighted sum runs on the rows of a whole block.
  bool HasRowSteps() const { return has_row_steps_; }

  // Parts between which values go from slices to rows or back; one where all steps run slice by slice.
  int64_t StageCount() const { return static_cast<int64_t>(stages_.size()); }

  // A block: images as rows; logits: [classes][64], of which the first `count` images count.
  void Run(const std::vector<Step>& steps, const uint8_t* images, int64_t count, Workspace& workspace,
           SlicedMemory& memory, float* logits, const BlockFaults& faults = {}) const {
    RunFrom(steps, 0, 0, images, count, workspace, memory, logits, faults);
  }
  // The steps from `first` on, which need this value alone of those before them: its rows.
  void RunFrom(const std::vector<Step>& steps, size_t first, int value, const uint8_t* rows, int64_t count,
               Workspace& workspace, SlicedMemory& memory, float* logits, const BlockFaults& faults = {}) const;

 private:
  struct Memory {
    SliceLayout layout;
    uint8_t padding;
    int64_t slices;  // that are kept: 1, or all of a block
  };
  // A value as it is held: as quads, as rows, or both.
  struct Held {
    SliceLayout layout;
    int memory = -1;  // of quads
    bool has_rows = false;
    bool must_be_split = false;  // rows are made from quads
  };
  struct Action {
    size_t step;
    std::vector<int> inputs;  // values
    int output;               // value
    int other = -1;           // value that is added
  };
  // Steps that run slice by slice, or one that runs on the whole block.
  struct Stage {
    std::vector<int> quads_made;  // values whose quads are made from rows first
    std::vector<Action> actions;
    bool by_slices;
    std::vector<int> rows_made;  // values whose rows are made from quads behind it
  };

  void Prepare(SlicedMemory& memory) const;
  uint8_t* QuadsOf(int value, int64_t slice, SlicedMemory& memory) const;
  void MakeQuads(int value, int64_t slice, const uint8_t* rows, SlicedMemory& memory) const;
  void MakeRows(int value, int64_t slice, SlicedMemory& memory) const;

  const SliceKernels* kernels_ = nullptr;
  bool has_row_steps_ = false;
  std::vector<uint8_t> zero_points_;  // [value]
  std::vector<int> held_as_;          // [value]: a flattened one is held as it was
  std::vector<Held> values_;
  std::vector<Memory> memories_;
  std::vector<Stage> stages_;
};

}  // namespace steadfast::engine
