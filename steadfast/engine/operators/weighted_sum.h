// What convolutions and linear layers share: packed weights, products on blocks of images, the differential rule.
// Internal to the operators.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "steadfast/engine/kernels/integers.h"
#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {

// A linear layer is a convolution of 1 x 1 windows on an input of one pixel.
class WeightedSum final : public WeightedOperator {
 public:
  // in: [channels, h, w] as the window sees it.
  WeightedSum(const model::ValueShape& in, const model::Window& window, int groups, const OperatorSource& source);

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace& workspace, const BlockOutput& output) const override;
  void RunChanged(const BlockChange& change, Workspace& workspace, std::any& state) const override;
  void SetParameters(const model::QuantizedModel& model, const model::Node& node) override;
  bool HasParameters(const model::QuantizedModel& model, const model::Node& node) const override;
  std::shared_ptr<WeightedOperator> Clone() const override;
  int64_t PackedBytes() const override;
  void ChooseTiles(Workspace& workspace) override;
  int WaysToTile() const override { return static_cast<int>(TileChoices().size()); }
  void TakeTiles(int way) override;
  void RunSlicesAlone(bool alone) override;
  bool Fuse(const model::MaxPool& pool) override;
  void PrepareDifferential() override;
  void PrepareSparsePath() override;
  void DropSparsePath() override { columns_.clear(); }
  void RunBlockSparsely(std::span<const uint8_t* const> inputs, Workspace& workspace,
                        const BlockOutput& output) const override;
  void RunBlockOfChangedImages(std::span<const uint8_t* const> inputs, Workspace& workspace, const BlockOutput& output,
                               std::span<const ImageWeightDelta> deltas,
                               std::span<const ImageConstants> constants) const override;
  int64_t SumsKept() const override { return out_.elements(); }
  int32_t ZeroPoint() const override { return zero_point_; }
  int64_t SlackOf(const int32_t* golden_sums, int64_t lane, int winner) const override;
  double ChangedShare(const ChangedValue& input, const KernelCosts& costs) const override;
  bool LookUpOf(int64_t output, const int32_t* golden_sums, LookUp& look_up) const override;
  bool PrepareSlices(const SliceSetting& setting) override;
  void RunSlice(const SliceRun& run, Workspace& workspace) const override;
  const model::Window& window() const override { return window_; }
  int groups() const override { return groups_; }

 private:
  int LevelAt(int64_t output, int64_t source) const {
    return levels_[static_cast<size_t>(output * products_ + source)];
  }
  const model::ValueShape in_, out_;
  const model::Window window_;
  const int groups_;
  const InstructionSet set_;
  const int outputs_per_call_;
  const int zero_point_;
  const int largest_code_;  // of the input
  model::Requantization requantization_;
  bool has_negative_scale_ = false;  // a fault can make a scale negative: codes then fall where sums grow

  // One way to arrange the products of an output as 4-way taps, with the weights packed for it.
  struct Arrangement {
    QuadShape quad{4, 1};
    bool planes_inside = false;  // the taps of a window position together, instead of those of a plane
    int64_t planes_per_group = 0;
    int64_t taps_per_plane = 0;                   // of one term
    std::vector<std::array<int32_t, 4>> sources;  // [tap]: indices into an output's weights, or -1 for a zero
    std::vector<int32_t> offsets;                 // [tap]: of its quad, relative to the position's first; quads lie as
                                                  // [pixel][group][plane]
    std::vector<uint32_t> by_tap;                 // [group][output block][tap][output in block]
    std::vector<uint32_t> weights;                // the same as the kernels want it
    std::vector<int64_t> starts;  // [output]: of its block in `weights`; valid for a block's first output

    int64_t taps() const { return static_cast<int64_t>(offsets.size()); }
  };
  // How to compute the sums of a block of outputs at a position: what they start from, and the taps to be added.
  struct Program {
    const Arrangement* arrangement = nullptr;
    const uint8_t* quads = nullptr;
    std::span<const int32_t> offsets = {};
    const uint32_t* weights = nullptr;     // as in Arrangement, of these taps
    std::span<const int64_t> starts = {};  // the same; empty: `weights` is of one output alone
    const int32_t* initial = nullptr;      // [out][position][64], or null: 0
    bool has_changed_weights = false;      // changed weights are among `weights` already
  };
  struct State;
  struct Slices;
  // How slices are run: the kernels, and how much input a band of places may take.
  struct TileChoice {
    const SliceKernels* kernels = nullptr;  // null: by the layer's shape
    int64_t band_bytes = 0;                 // 0: by the weights
  };

  int64_t outputs_per_group() const { return out_.channels / groups_; }
  int64_t positions() const { return out_.height * out_.width; }
  void PlaceWindows();
  int64_t padded_outputs_per_group() const { return (outputs_per_group() + 15) / 16 * 16; }
  void PackColumns();
  void AddImage(const uint8_t* rows, int64_t image, const Kernels& kernels, int32_t* sums) const;
  // changed: the output's constants, or null.
  void FinishOutput(int64_t output, const int32_t* sums, const ChangedConstants* changed, Workspace& workspace,
                    uint8_t* rows, float* reals) const;
  void AddToImage(const uint8_t* rows, const WeightDelta& delta, int64_t image, int64_t lane, int32_t* sums) const;
  Arrangement Arrange(QuadShape quad, bool planes_inside) const;
  void Pack(Arrangement& arrangement) const;
  void PackBlocks(std::span<const uint32_t> by_tap, int64_t taps, std::vector<uint32_t>& packed,
                  std::vector<int64_t>& starts) const;
  // `level_of` gives the level of a source (an index into an output's weights).
  template <typename LevelOf>
  uint32_t PackedTap(const Arrangement& arrangement, int64_t tap, const LevelOf& level_of) const;
  Buffer<uint8_t>& Resized(Buffer<uint8_t>& quads, const Arrangement& arrangement) const;
  template <typename ChannelRows>
  void ExpandPlane(const Arrangement& arrangement, int64_t plane, const ChannelRows& channel_rows,
                   const Kernels& kernels, uint8_t* quads) const;
  template <typename ChannelRows>
  void ExpandAll(const ChannelRows& channel_rows, Workspace& workspace) const;
  const uint8_t* QuadAt(const Arrangement& arrangement, const uint8_t* quads, int64_t group, int64_t oy,
                        int64_t ox) const;
  const int32_t* ProductsAt(const Program& program, int64_t channel, int count, int64_t position,
                            const Kernels& kernels, int32_t* into) const;
  std::vector<int16_t> LevelsOf(const model::Parameter& weight) const;
  std::vector<TileChoice> TileChoices() const;
  bool PrepareSlices(const SliceSetting& setting, const TileChoice& choice);
  std::vector<int64_t> ShapeKey(const SliceSetting& setting) const;  // what the fastest choice depends on
  void PlanTiles(Slices& slices) const;
  void QuadsFromSums(const Tile& tile, int64_t first, uint8_t* codes) const;
  // Packs the tiles of changed outputs.
  void PackSlices(const std::vector<uint8_t>& is_changed);
  // Calls block(first channel, outputs) for the blocks of outputs of a group that are computed together.
  template <typename Block>
  void ForEachOutputBlock(int64_t group, const Block& block) const;
  void PlanesOf(std::span<const int32_t> channels, std::vector<int32_t>& groups, std::vector<int32_t>& planes) const;
  void SelectTaps(State& state) const;
  void ExpandChanged(const BlockChange& change, bool golden, Workspace& workspace, const State& state) const;
  Program ProgramOfChangedPlanes(const BlockChange& change, Workspace& workspace, State& state) const;
  Program ProgramOfOutput(int64_t channel, std::span<const WeightDelta> deltas, Workspace& workspace) const;
  void AddDeltas(const BlockChange& change, std::span<const WeightDelta> deltas, int64_t position,
                 const Kernels& kernels, const int32_t* from, int32_t* into) const;
  const uint8_t* RowUnder(const BlockChange& change, const WeightDelta& delta, int64_t position) const;
  void RunOutputOfOneDelta(const BlockChange& change, const WeightDelta& delta, Workspace& workspace) const;
  void RunOutputsOfChangedInput(const BlockChange& change, const Program& program, int64_t channel, int count,
                                Workspace& workspace) const;
  void RunOutputs(const BlockChange& change, const Program& program, int64_t channel, int count,
                  std::span<const WeightDelta> deltas, Workspace& workspace) const;
  void StoreOutput(int64_t output, int64_t position, const int32_t* sums, int32_t correction,
                   const RequantizeConstants& constants, const Kernels& kernels, uint8_t* rows, float* reals) const;
  RequantizeConstants ConstantsOf(int64_t output) const {
    const auto c = static_cast<size_t>(output);
    RequantizeConstants constants =
        engine::ConstantsOf(requantization_, requantization_.scale[c], requantization_.offset[c]);
    if (is_fixed_point()) constants.fixed_point = requantization_.fixed_point[c];
    return constants;
  }
  RequantizeConstants With(RequantizeConstants constants, const ChangedConstants& changed) const {
    constants.scale = changed.scale;
    constants.offset = changed.offset;
    if (is_fixed_point()) constants.fixed_point = changed.fixed_point;
    return constants;
  }
  StepRange StepsOfCodes() const {
    return {static_cast<int32_t>(requantization_.lowest), static_cast<int32_t>(requantization_.highest),
            requantization_.zero_point};
  }
  bool is_fixed_point() const { return !requantization_.fixed_point.empty(); }
  // A row of codes from 64 sums, as the kernel of that name, or by fixed-point scales.
  void RequantizeRow(const int32_t* sums, int32_t correction, const RequantizeConstants& constants,
                     const Kernels& kernels, uint8_t* row) const;
  // The same under a change.
  RequantizeConstants ConstantsOf(int64_t output, std::span<const ChangedConstants> changed) const {
    return changed.empty() ? ConstantsOf(output) : ConstantsAmong(output, changed);
  }
  RequantizeConstants ConstantsAmong(int64_t output, std::span<const ChangedConstants> changed) const;
  static const ChangedConstants* Among(int64_t output, std::span<const ChangedConstants> changed);  // or null
  // What is added to the sums of an output, under a change of its constants (or null).
  int32_t CorrectionOf(int64_t output, const ChangedConstants* changed) const;
  uint64_t RequantizedAndCompared(const int32_t* sums, int32_t correction, const RequantizeConstants& constants,
                                  const Kernels& kernels, const uint8_t* other, uint8_t* row) const;
  // Takes the sums of `count` outputs from `channel` on into those that are pooled: of each, the one that gives the
  // larger code.
  void Pool(int64_t channel, int count, const int32_t* sums, std::span<const ChangedConstants> changed,
            const Kernels& kernels, int32_t* into) const;

  const int64_t products_;  // per output
  const int64_t group_inputs_;
  const model::CodeFormat format_;
  const int terms_;  // weights whose levels exceed int8 are sums of so many int8 terms
  const int64_t padded_h_, padded_w_;
  const std::array<uint8_t, kRowBytes> padding_row_;
  int pool_h_ = 1, pool_w_ = 1;       // fused pooling window (= stride)
  std::vector<int16_t> levels_;       // [out][product]
  std::vector<int32_t> corrections_;  // [out]: -zero_point * sum of levels, and the integer bias
  std::vector<int32_t> level_sums_;   // [out]
  std::vector<int32_t> columns_;      // of the sparse path: [input channel][ky][kx][output of its group], low 16 bits
  Arrangement dense_;                 // the fewest taps
  Arrangement differential_;          // the fewest taps for one input channel
  std::shared_ptr<Slices> slices_;    // the path of slices, once prepared; of this operator alone
  bool slices_alone_ = false;
  struct Place {
    int32_t group, plane;  // plane: in its group, of the differential arrangement
  };
  std::vector<Place> places_;  // [input channel]
  struct Position {
    int32_t y, x;
  };
  std::vector<Position> positions_;     // [position]: the window's first row and column in the input, padding included
  std::vector<int64_t> window_starts_;  // [pooled position]: the first position under it
  std::vector<int64_t> window_steps_;   // from there to each position of a pooling window
};

}  // namespace steadfast::engine
