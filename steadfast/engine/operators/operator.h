// What an operator of the graph is to the engine. Each fast operator has one file here, with the path for blocks of
// images, and the differential rule: which of its outputs may change when some of its inputs did. The definition of an
// operator is in model/operators/.
//
// An operator without a file here runs by its scalar rule, image by image (scalar_operator.cpp). To give one a fast
// path, add its file here, and its line to registry.cpp.
#pragma once

#include <any>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "steadfast/engine/buffer.h"
#include "steadfast/engine/kernels.h"
#include "steadfast/engine/slices.h"
#include "steadfast/model/operators/max_pool.h"  // MaxPool, to be fused
#include "steadfast/model/quantized_model.h"     // QuantizedModel, Node
#include "steadfast/model/requantization.h"      // FixedPointScale

namespace steadfast::engine {

// A change of one weight: index into its output's weights, and what its level grew by.
struct WeightDelta {
  int32_t output;
  int32_t source;
  int32_t level_delta;
};

// New requantization constants of an output, after a change of the stored biases, scales or multipliers they come from.
struct ChangedConstants {
  int32_t output;
  float scale;
  float offset;
  int32_t addend = 0;                       // where the output has an integer bias
  model::FixedPointScale fixed_point = {};  // where it has one
};

// The same for one image of a block.
struct ImageWeightDelta {
  WeightDelta delta;
  int32_t image;
};
struct ImageConstants {
  ChangedConstants constants;
  int32_t image;
};

// The codes of a value for one block. In some channels, they may differ from the golden run.
class ChangedValue {
 public:
  // rows: [channels * rows of a channel][64]
  ChangedValue(int64_t channels, int64_t rows_of_channel)
      : rows_of_channel_(rows_of_channel),
        rows_(static_cast<size_t>(channels * rows_of_channel * kRowBytes)),
        is_changed_(static_cast<size_t>(channels), 0) {}

  // Nothing is changed: all channels are those of the golden run.
  void Reset(const uint8_t* golden) {
    golden_ = golden;
    for (int32_t channel : channels_) is_changed_[static_cast<size_t>(channel)] = 0;
    channels_.clear();
    lanes_ = 0;
  }

  const uint8_t* golden(int64_t channel) const { return golden_ + channel * rows_of_channel_ * kRowBytes; }
  const uint8_t* channel(int64_t channel) const {
    return is_changed_[static_cast<size_t>(channel)] != 0 ? rows_.data() + channel * rows_of_channel_ * kRowBytes
                                                          : golden(channel);
  }
  // Where a channel's new rows are written before Finish.
  uint8_t* Begin(int64_t channel) { return rows_.data() + channel * rows_of_channel_ * kRowBytes; }
  // Takes the channel as changed where any of its rows differs from the golden run for one of the `valid` images.
  void Finish(int64_t channel, uint64_t valid, const Kernels& kernels) {
    uint64_t lanes = 0;
    const uint8_t* now = Begin(channel);
    const uint8_t* before = golden(channel);
    for (int64_t r = 0; r < rows_of_channel_; ++r)
      lanes |= kernels.difference(now + r * kRowBytes, before + r * kRowBytes);
    FinishCompared(channel, lanes & valid);
  }
  // The same, where the images for which it differs are known.
  void FinishCompared(int64_t channel, uint64_t lanes) {
    if (lanes == 0) return;
    lanes_ |= lanes;
    is_changed_[static_cast<size_t>(channel)] = 1;
    channels_.push_back(static_cast<int32_t>(channel));
  }

  std::span<const int32_t> channels() const { return channels_; }  // the changed ones
  bool is_changed(int64_t channel) const { return is_changed_[static_cast<size_t>(channel)] != 0; }
  uint64_t lanes() const { return lanes_; }  // the images for which anything changed
  int64_t channel_count() const { return static_cast<int64_t>(is_changed_.size()); }
  int64_t rows_of_channel() const { return rows_of_channel_; }

 private:
  int64_t rows_of_channel_;
  const uint8_t* golden_ = nullptr;
  Buffer<uint8_t> rows_;
  std::vector<uint8_t> is_changed_;
  std::vector<int32_t> channels_;
  uint64_t lanes_ = 0;
};

// Memory for one thread's work, shared by the operators it runs one after another.
struct Workspace {
  explicit Workspace(InstructionSet set) : kernels(&KernelsOf(set)), costs(&CostsOf(set)) {}
  const Kernels* kernels;
  const KernelCosts* costs;
  Buffer<uint8_t> quads, changed_quads;
  std::vector<int32_t> sums, pooled;
  std::vector<uint32_t> weights;
  Buffer<int32_t> sparse_sums, image_sums;
  std::vector<const int32_t*> sum_pointers;
  std::vector<const uint8_t*> row_pointers;
  Buffer<uint8_t> rows;
  Buffer<int16_t> left_levels, right_levels;
};

// Where an operator's results of one block go.
struct BlockOutput {
  uint8_t* rows;                  // coded outputs: [elements][64]
  float* reals;                   // real outputs: [elements][64]
  int32_t* sums;                  // weighted operators: where to keep the sums ([SumsKept()][64]), or null
  int64_t images = kBlockImages;  // how many lanes count, where a path can leave the others out
};

// What of a block changed before an operator, and where its output's changes go.
struct BlockChange {
  std::span<ChangedValue* const> inputs;
  std::span<const WeightDelta> deltas;          // of this operator's weights, ascending by output
  std::span<const ChangedConstants> constants;  // the same
  int64_t golden_run = 0;  // golden sums and rows of another block, or of another run, have another
  const int32_t* golden_sums = nullptr;
  uint64_t valid = 0;  // the lanes that hold an image
  ChangedValue* output = nullptr;
  // Real outputs: [elements][64], of which only changed ones are written; the lanes for which any may have changed.
  float* reals = nullptr;
  uint64_t* real_lanes = nullptr;
};

// How an operator's inputs and output lie on the path of slices.
struct SliceSetting {
  std::vector<SliceLayout> inputs;
  std::optional<SliceLayout> output;  // nothing: real numbers
  // A residual addition to be taken behind a weighted sum, and how its other operand lies.
  std::optional<AddedOperand> add;
  SliceLayout other;
};

// A slice of a block on its way through an operator.
struct SliceRun {
  std::span<const uint8_t* const> inputs;
  const uint8_t* other = nullptr;
  uint8_t* output = nullptr;
  float* reals = nullptr;  // real outputs: [elements][64], of which this slice's 16 are written
};

class WeightedOperator;

class Operator {
 public:
  virtual ~Operator() = default;

  // A block of images. inputs: the rows of each input.
  virtual void RunBlock(std::span<const uint8_t* const> inputs, Workspace& workspace,
                        const BlockOutput& output) const = 0;

  // The differential rule: the output's changed channels, from those of the inputs and the changed weights. `state` is
  // the operator's own memory between calls of one thread.
  virtual void RunChanged(const BlockChange& change, Workspace& workspace, std::any& state) const = 0;

  // Roughly the cost of RunChanged as a share of RunBlock, when these channels of its input changed.
  virtual double ChangedShare(const ChangedValue& input, const KernelCosts&) const {
    return static_cast<double>(input.channels().size()) / static_cast<double>(input.channel_count());
  }

  // The path of slices: false where the operator has none for this setting. To be prepared before RunSlice.
  virtual bool PrepareSlices(const SliceSetting&) { return false; }
  virtual void RunSlice(const SliceRun&, Workspace&) const {}

  virtual WeightedOperator* weighted() { return nullptr; }
  const WeightedOperator* weighted() const { return const_cast<Operator*>(this)->weighted(); }
};

// An operator that sums products of its input's levels with stored weights.
class WeightedOperator : public Operator {
 public:
  WeightedOperator* weighted() final { return this; }

  // Takes the parameters of its node: weights, and what the constants of requantization follow from. Packs again what
  // changed.
  virtual void SetParameters(const model::QuantizedModel& model, const model::Node& node) = 0;
  virtual bool HasParameters(const model::QuantizedModel& model, const model::Node& node) const = 0;
  virtual std::shared_ptr<WeightedOperator> Clone() const = 0;
  virtual int64_t PackedBytes() const = 0;  // of weights, in every form that is held
  // Measures the ways that there are to run slices, where they are prepared, and takes the fastest, which is remembered
  // for later operators of the same shape. No result depends on it.
  virtual void ChooseTiles(Workspace& workspace) = 0;
  // How many ways there are, and taking one of them; 0 is what the layer's shape suggests. Nothing where slices are not
  // prepared.
  virtual int WaysToTile() const = 0;
  virtual void TakeTiles(int way) = 0;
  // Whether, from now on, RunSlice is all that is called.
  virtual void RunSlicesAlone(bool alone) = 0;
  // Fuses the max-pool that follows it, if that gives the same results; otherwise returns false.
  virtual bool Fuse(const model::MaxPool& pool) = 0;
  // Another path for blocks of images: image by image, it skips inputs of level 0. To be prepared before
  // RunBlockSparsely; takes part in SetParameters from then on.
  virtual void PrepareSparsePath() = 0;
  virtual void DropSparsePath() = 0;
  virtual void RunBlockSparsely(std::span<const uint8_t* const> inputs, Workspace& workspace,
                                const BlockOutput& output) const = 0;
  // A block of which images have weights and constants of their own, both ascending by output. Keeps sums.
  virtual void RunBlockOfChangedImages(std::span<const uint8_t* const> inputs, Workspace& workspace,
                                       const BlockOutput& output, std::span<const ImageWeightDelta> deltas,
                                       std::span<const ImageConstants> constants) const = 0;
  virtual const model::Window& window() const = 0;
  virtual int groups() const = 0;
  // To be called before RunChanged.
  virtual void PrepareDifferential() = 0;
  // How many rows of sums the golden run keeps for RunChanged.
  virtual int64_t SumsKept() const = 0;
  // Fills in the table look-up of an output; false if that is not a neuron that sums all rows of its input to a code.
  virtual bool LookUpOf(int64_t output, const int32_t* golden_sums, LookUp& look_up) const = 0;
  virtual int32_t ZeroPoint() const = 0;  // of its input
  // Of a fully connected layer with real output: how far the codes of its input may move, added up without signs, so
  // that the largest output provably stays `winner` (0: unknown). golden_sums: as kept; lane: place among 64 sums.
  virtual int64_t SlackOf(const int32_t* golden_sums, int64_t lane, int winner) const = 0;
};

// Where 64 codes of each pixel of a channel lie: rows of a block, or quads of a slice.
template <typename Byte>
struct Plane {
  Byte* first;
  int64_t width;
  int64_t pixel_bytes, line_bytes;
  Byte* at(int64_t element) const {
    if (line_bytes == width * pixel_bytes) return first + element * pixel_bytes;
    return first + element / width * line_bytes + element % width * pixel_bytes;
  }
};

// Operators that compute each channel of their output from one channel of each input, all channels alike.
class ChannelwiseOperator : public Operator {
 public:
  void RunBlock(std::span<const uint8_t* const> inputs, Workspace& workspace, const BlockOutput& output) const override;
  void RunChanged(const BlockChange& change, Workspace& workspace, std::any& state) const override;
  bool PrepareSlices(const SliceSetting& setting) override;
  void RunSlice(const SliceRun& run, Workspace& workspace) const override;

 protected:
  using From = Plane<const uint8_t>;
  using To = Plane<uint8_t>;
  ChannelwiseOperator(const model::ValueShape& in, const model::ValueShape& out) : in_(in), out_(out) {}
  // Of 64 codes of each pixel, whichever channels and images they are of.
  virtual void RunPlane(std::span<const From> inputs, Workspace& workspace, const To& output) const = 0;
  static constexpr size_t kMostInputs = 2;
  const model::ValueShape in_, out_;

 private:
  void RunChannel(std::span<const uint8_t* const> inputs, Workspace& workspace, uint8_t* output) const;
  SliceSetting setting_;
};

// Whether all inputs and the output of a setting lie as quads of 4 channels, and each of `groups` equal parts of their
// channels fills quads.
bool AreWholeQuads(const SliceSetting& setting, int64_t groups);
// Calls on_pixel(y, x) for each.
template <typename OnPixel>
void ForEachPixel(const model::ValueShape& shape, const OnPixel& on_pixel) {
  for (int64_t y = 0; y < shape.height; ++y) {
    for (int64_t x = 0; x < shape.width; ++x) on_pixel(y, x);
  }
}

// The constants of an operator whose output is quantized from real numbers.
QuantizeConstants ConstantsOf(const model::Value& output, const model::Node& node);
OperandConstants OperandOf(const model::ActivationCoding& coding);

// Calls on_group(g) for each of the `groups` equal parts of a value's channels in which any changed.
template <typename OnGroup>
void ForEachChangedGroup(const ChangedValue& value, int64_t groups, const OnGroup& on_group) {
  const int64_t channels = value.channel_count() / groups;
  for (int64_t g = 0; g < groups; ++g) {
    bool is_changed = false;
    for (int64_t c = g * channels; c < (g + 1) * channels; ++c) is_changed |= value.is_changed(c);
    if (is_changed) on_group(g);
  }
}
// Their share.
double ChangedGroups(const ChangedValue& value, int64_t groups);

// What an operator of `model` is made from. The model is not kept.
struct OperatorSource {
  const model::QuantizedModel& model;
  const model::Node& node;
  InstructionSet set;  // that RunBlock and RunChanged will be called for
  const model::Value& input(size_t i) const { return model.values[static_cast<size_t>(node.inputs[i])]; }
  const model::Value& output() const { return model.values[static_cast<size_t>(node.output)]; }
};
// The fast path of an operator where it has one, else its scalar rule.
std::unique_ptr<Operator> MakeOperator(const model::QuantizedModel& model, const model::Node& node, InstructionSet set);
// Runs the scalar rule of any operator without weights.
std::unique_ptr<Operator> MakeScalarOperator(const OperatorSource& source);

// The fast paths, one file each.
std::unique_ptr<Operator> MakeConvolution(const OperatorSource& source);
std::unique_ptr<Operator> MakeLinear(const OperatorSource& source);
std::unique_ptr<Operator> MakeMaxPool(const OperatorSource& source);
std::unique_ptr<Operator> MakeAveragePool(const OperatorSource& source);
std::unique_ptr<Operator> MakeAdd(const OperatorSource& source);
std::unique_ptr<Operator> MakeConcatenate(const OperatorSource& source);
std::unique_ptr<Operator> MakeRearrange(const OperatorSource& source);
std::unique_ptr<Operator> MakeFlatten(const OperatorSource& source);
std::unique_ptr<Operator> MakeElementwise(const OperatorSource& source);
std::unique_ptr<Operator> MakeMultiply(const OperatorSource& source);
std::unique_ptr<Operator> MakeProduct(const OperatorSource& source);
std::unique_ptr<Operator> MakeSoftmax(const OperatorSource& source);
std::unique_ptr<Operator> MakeLayerNormalization(const OperatorSource& source);
std::unique_ptr<Operator> MakeConstant(const OperatorSource& source);
std::unique_ptr<Operator> MakeDequantize(const OperatorSource& source);

}  // namespace steadfast::engine
