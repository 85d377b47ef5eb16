// Softmax, position by position. A change of any term changes all of its group.
#include "steadfast/model/operators/softmax.h"
#include "steadfast/engine/kernels/token_slices.h"
#include "steadfast/engine/kernels/tokens.h"
#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class SoftmaxOperator final : public Operator {
 public:
  explicit SoftmaxOperator(const OperatorSource& source)
      : kernels_(TokenKernelsOf(source.set)),
        slice_kernels_(TokenSliceKernelsOf(source.set)),
        groups_(source.node.operation.As<model::Softmax>()->groups),
        terms_(source.output().shape.channels / groups_),
        positions_(source.output().shape.elements() / source.output().shape.channels),
        exponentials_(model::ExponentialsOf(*source.input(0).coding)),
        constants_(ConstantsOf(source.output(), source.node)) {}

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace& workspace,
                const BlockOutput& output) const override {
    for (int64_t g = 0; g < groups_; ++g)
      RunGroup(inputs[0] + g * GroupBytes(), workspace, output.rows + g * GroupBytes());
  }

  void RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const override {
    const ChangedValue& input = *change.inputs[0];
    ForEachChangedGroup(input, groups_, [&](int64_t g) {
      const int64_t first = g * terms_, bytes = positions_ * kRowBytes;
      workspace.rows.resize(static_cast<size_t>(GroupBytes()));
      for (int64_t t = 0; t < terms_; ++t)
        std::copy_n(input.channel(first + t), bytes, workspace.rows.data() + t * bytes);
      RunGroup(workspace.rows.data(), workspace, change.output->Begin(first));
      for (int64_t t = 0; t < terms_; ++t) change.output->Finish(first + t, change.valid, *workspace.kernels);
    });
  }

  bool PrepareSlices(const SliceSetting& setting) override {
    setting_ = setting;
    return AreWholeQuads(setting, groups_);
  }

  void RunSlice(const SliceRun& run, Workspace& workspace) const override {
    const SliceLayout &in = setting_.inputs[0], &out = *setting_.output;
    const int64_t quads = terms_ / 4;
    workspace.sums.resize(static_cast<size_t>(quads * kSliceQuadBytes));
    ForEachPixel(out.shape, [&](int64_t y, int64_t x) {
      for (int64_t g = 0; g < groups_; ++g) {
        const int64_t first = g * quads * kSliceQuadBytes;
        slice_kernels_.softmax(run.inputs[0] + in.at(y, x) + first, quads, exponentials_, workspace.sums.data(),
                               constants_, run.output + out.at(y, x) + first);
      }
    });
  }

  double ChangedShare(const ChangedValue& input, const KernelCosts&) const override {
    return ChangedGroups(input, groups_);
  }

 private:
  int64_t GroupBytes() const { return terms_ * positions_ * kRowBytes; }
  void RunGroup(const uint8_t* input, Workspace& workspace, uint8_t* output) const {
    workspace.sums.resize(static_cast<size_t>(terms_ * kRowBytes));
    for (int64_t p = 0; p < positions_; ++p)
      kernels_.softmax(input + p * kRowBytes, terms_, positions_ * kRowBytes, exponentials_.whole.data(),
                       workspace.sums.data(), constants_, output + p * kRowBytes);
  }

  const TokenKernels& kernels_;
  const TokenSliceKernels& slice_kernels_;
  const int64_t groups_, terms_, positions_;
  const ExponentialTable exponentials_;
  const QuantizeConstants constants_;
  SliceSetting setting_;
};

}  // namespace

std::unique_ptr<Operator> MakeSoftmax(const OperatorSource& source) {
  return std::make_unique<SoftmaxOperator>(source);
}

}  // namespace steadfast::engine
