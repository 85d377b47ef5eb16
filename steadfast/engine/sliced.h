// The dense path slice by slice: steps that can take values as slices' quads run one after the other on 16 images. Internal to
// the engine.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "steadfast/engine/buffer.h"
#include "steadfast/engine/plan.h"
#include "steadfast/engine/slices.h"

namespace steadfast::engine {

class SlicedPath {
 public:
  // Prepares the operators of `steps`, which must outlive it. Null where the set has no kernels for slices.
  static std::unique_ptr<SlicedPath> Make(const model::QuantizedModel& model, const std::vector<Step>& steps,
                                          InstructionSet set);

  // A block: images as rows; logits: [classes][64].
  void Run(const uint8_t* images, int64_t count, Workspace& workspace, float* logits);

 private:
  struct Memory {
    SliceLayout layout;
    uint8_t padding;
    int64_t slices;  // that are kept: 1, or all of a block
    Buffer<uint8_t> bytes;
    uint8_t* of(int64_t slice) { return bytes.data() + (slices == 1 ? 0 : slice * layout.bytes()); }
  };
  // A value as it is held: as quads, as rows, or both.
  struct Held {
    SliceLayout layout;
    int memory = -1;            // of quads
    Buffer<uint8_t> rows;       // empty where they are not needed
    bool must_be_split = false;  // rows are made from quads
  };
  struct Action {
    const Operator* operation;
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

  void MakeQuads(int value, int64_t slice, const uint8_t* rows);
  void MakeRows(int value, int64_t slice);

  const SliceKernels* kernels_ = nullptr;
  std::vector<uint8_t> zero_points_;  // [value]
  std::vector<Held> values_;
  std::vector<Memory> memories_;
  std::vector<Stage> stages_;
  std::vector<const uint8_t*> inputs_;
};

}  // namespace steadfast::engine
