// Products of two values, group by group. On rows, both are packed as pairs of 16-bit levels along what is summed.
//
// A change of B's group changes all of it. A change of A's channel changes one row of the output where A is not
// transposed, all of its group where it is.
#include "steadfast/model/operators/product.h"

#include "steadfast/engine/kernels/token_slices.h"
#include "steadfast/engine/kernels/tokens.h"
#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {
namespace {

class ProductOperator final : public Operator {
 public:
  explicit ProductOperator(const OperatorSource& source)
      : kernels_(TokenKernelsOf(source.set)),
        slice_kernels_(TokenSliceKernelsOf(source.set)),
        op_(*source.node.operation.As<model::Product>()),
        size_(model::SizeOf(op_, source.input(0).shape, source.input(1).shape)),
        left_positions_(source.input(0).shape.height * source.input(0).shape.width),
        left_channels_(source.input(0).shape.channels / op_.groups),
        zero_points_{source.input(0).coding->zero_point, source.input(1).coding->zero_point} {
    const model::Requantization requantization = model::RequantizationOfProduct(source.model, source.node, op_.factor);
    constants_ = engine::ConstantsOf(requantization, requantization.scale[0], 0.0f);
    for (int64_t m = 0; m < size_.rows; ++m) all_rows_.push_back(m);
  }

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace& workspace,
                const BlockOutput& output) const override {
    for (int64_t g = 0; g < op_.groups; ++g) {
      const auto left = [&](int64_t c) { return inputs[0] + (g * left_channels_ + c) * left_positions_ * kRowBytes; };
      const auto right = [&](int64_t k) { return inputs[1] + (g * size_.inner + k) * size_.columns * kRowBytes; };
      RunGroup(all_rows_, left, right, workspace,
               [&](int64_t m) { return output.rows + (g * size_.rows + m) * size_.columns * kRowBytes; });
    }
  }

  void RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const override {
    const ChangedValue &a = *change.inputs[0], &b = *change.inputs[1];
    for (int64_t g = 0; g < op_.groups; ++g) {
      std::vector<int64_t> rows;
      for (int64_t c = 0; c < left_channels_; ++c) {
        if (a.is_changed(g * left_channels_ + c)) rows.push_back(c);
      }
      bool is_whole = op_.transposed_left && !rows.empty();
      for (int64_t k = 0; k < size_.inner && !is_whole; ++k) is_whole = b.is_changed(g * size_.inner + k);
      if (is_whole) rows = all_rows_;
      if (rows.empty()) continue;
      RunGroup(
          rows, [&](int64_t c) { return a.channel(g * left_channels_ + c); },
          [&](int64_t k) { return b.channel(g * size_.inner + k); }, workspace,
          [&](int64_t m) { return change.output->Begin(g * size_.rows + m); });
      for (const int64_t m : rows) change.output->Finish(g * size_.rows + m, change.valid, *workspace.kernels);
    }
  }

  bool PrepareSlices(const SliceSetting& setting) override {
    setting_ = setting;
    return AreWholeQuads(setting, op_.groups) && size_.inner % 4 == 0;
  }

  void RunSlice(const SliceRun& run, Workspace& workspace) const override {
    const SliceLayout &a = setting_.inputs[0], &b = setting_.inputs[1], &out = *setting_.output;
    std::vector<const uint8_t*> left(static_cast<size_t>(size_.rows)), right(static_cast<size_t>(size_.columns));
    std::vector<uint8_t*> output(static_cast<size_t>(size_.columns));
    if (!op_.transposed_left)
      workspace.rows.resize(static_cast<size_t>(size_.rows * size_.inner / 4 * kSliceQuadBytes));
    for (int64_t g = 0; g < op_.groups; ++g) {
      const int64_t first = g * left_channels_ / 4 * kSliceQuadBytes;
      if (op_.transposed_left) {
        size_t m = 0;
        ForEachPixel(a.shape, [&](int64_t y, int64_t x) { left[m++] = run.inputs[0] + a.at(y, x) + first; });
      } else {
        TransposeLeft(run.inputs[0] + first, a, workspace.rows.data());
        for (int64_t m = 0; m < size_.rows; ++m)
          left[static_cast<size_t>(m)] = workspace.rows.data() + m * size_.inner / 4 * kSliceQuadBytes;
      }
      size_t n = 0;
      ForEachPixel(b.shape, [&](int64_t y, int64_t x) {
        right[n] = run.inputs[1] + b.at(y, x) + g * size_.inner / 4 * kSliceQuadBytes;
        output[n++] = run.output + out.at(y, x) + g * size_.rows / 4 * kSliceQuadBytes;
      });
      slice_kernels_.product({left, right, size_.inner / 4, zero_points_[0], zero_points_[1], constants_, output},
                             workspace.left_levels);
    }
  }

  double ChangedShare(const ChangedValue& input, const KernelCosts&) const override {
    return ChangedGroups(input, op_.groups);
  }

 private:
  // left, right: the rows of a channel of the group; output: of a row of the result.
  template <typename Left, typename Right, typename Output>
  void RunGroup(const std::vector<int64_t>& rows, const Left& left, const Right& right, Workspace& workspace,
                const Output& output) const {
    const int64_t pairs = (size_.inner + 1) / 2, matrix = pairs * 2 * kRowBytes;
    const auto count = static_cast<int64_t>(rows.size());
    workspace.left_levels.resize(static_cast<size_t>(count * matrix));
    workspace.right_levels.resize(static_cast<size_t>(size_.columns * matrix));
    const auto left_row = [&](int64_t m, int64_t k) {
      return op_.transposed_left ? left(k) + m * kRowBytes : left(m) + k * kRowBytes;
    };
    for (int64_t k = 0; k < size_.inner; k += 2) {
      const bool has_second = k + 1 < size_.inner;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t m = rows[static_cast<size_t>(i)];
        kernels_.pair_rows(left_row(m, k), has_second ? left_row(m, k + 1) : nullptr, zero_points_[0],
                           workspace.left_levels.data() + i * matrix + k * kRowBytes);
      }
      const uint8_t *first = right(k), *second = has_second ? right(k + 1) : nullptr;
      for (int64_t n = 0; n < size_.columns; ++n)
        kernels_.pair_rows(first + n * kRowBytes, has_second ? second + n * kRowBytes : nullptr, zero_points_[1],
                           workspace.right_levels.data() + n * matrix + k * kRowBytes);
    }
    std::vector<uint8_t*> outputs;
    for (const int64_t m : rows) outputs.push_back(output(m));
    kernels_.product(workspace.left_levels.data(), count, workspace.right_levels.data(), size_.columns, pairs,
                     constants_, outputs.data());
  }

  // Quads of 4 pixels, for each channel of a group one after the other.
  void TransposeLeft(const uint8_t* quads, const SliceLayout& layout, uint8_t* into) const {
    const int64_t bytes = size_.inner / 4 * kSliceQuadBytes;
    for (int64_t p = 0; p < left_positions_; p += 4) {
      for (int64_t plane = 0; plane < size_.rows / 4; ++plane) {
        const uint8_t* pixels[4];
        uint8_t* channels[4];
        for (int64_t i = 0; i < 4; ++i) {
          pixels[i] =
              quads + layout.at((p + i) / layout.shape.width, (p + i) % layout.shape.width) + plane * kSliceQuadBytes;
          channels[i] = into + (plane * 4 + i) * bytes + p / 4 * kSliceQuadBytes;
        }
        slice_kernels_.transpose(pixels, channels);
      }
    }
  }

  const TokenKernels& kernels_;
  const TokenSliceKernels& slice_kernels_;
  const model::Product op_;
  const model::ProductSize size_;
  const int64_t left_positions_, left_channels_;
  const int zero_points_[2];
  RequantizeConstants constants_;
  std::vector<int64_t> all_rows_;
  SliceSetting setting_;
};

}  // namespace

std::unique_ptr<Operator> MakeProduct(const OperatorSource& source) {
  return std::make_unique<ProductOperator>(source);
}

}  // namespace steadfast::engine
