// Layer normalization, position by position. A change of any channel changes all.
#include "steadfast/model/operators/layer_normalization.h"

#include "steadfast/engine/kernels/token_slices.h"
#include "steadfast/engine/kernels/tokens.h"
#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class LayerNormalizationOperator final : public Operator {
 public:
  explicit LayerNormalizationOperator(const OperatorSource& source)
      : kernels_(TokenKernelsOf(source.set)),
        slice_kernels_(TokenSliceKernelsOf(source.set)),
        channels_(source.output().shape.channels),
        positions_(source.output().shape.elements() / channels_),
        zero_point_(source.input(0).coding->zero_point),
        epsilon_(model::EpsilonOf(*source.node.operation.As<model::LayerNormalization>(), channels_,
                                  source.input(0).coding->real_scale())),
        constants_(ConstantsOf(source.output(), source.node)) {
    constants_.scale = model::SignedOutputScale(constants_.scale, source.input(0).coding->real_scale());
  }

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace&, const BlockOutput& output) const override {
    Run(inputs[0], output.rows);
  }

  void RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const override {
    const ChangedValue& input = *change.inputs[0];
    if (input.channels().empty()) return;
    const int64_t bytes = positions_ * kRowBytes;
    workspace.rows.resize(static_cast<size_t>(channels_ * bytes));
    for (int64_t c = 0; c < channels_; ++c) std::copy_n(input.channel(c), bytes, workspace.rows.data() + c * bytes);
    Run(workspace.rows.data(), change.output->Begin(0));
    for (int64_t c = 0; c < channels_; ++c) change.output->Finish(c, change.valid, *workspace.kernels);
  }

  bool PrepareSlices(const SliceSetting& setting) override {
    setting_ = setting;
    return AreWholeQuads(setting, 1);
  }

  void RunSlice(const SliceRun& run, Workspace&) const override {
    ForEachPixel(setting_.output->shape, [&](int64_t y, int64_t x) {
      slice_kernels_.normalize(run.inputs[0] + setting_.inputs[0].at(y, x), channels_ / 4, zero_point_, epsilon_,
                               constants_, run.output + setting_.output->at(y, x));
    });
  }

  double ChangedShare(const ChangedValue& input, const KernelCosts&) const override {
    return input.channels().empty() ? 0.0 : 1.0;
  }

 private:
  void Run(const uint8_t* input, uint8_t* output) const {
    for (int64_t p = 0; p < positions_; ++p)
      kernels_.normalize(input + p * kRowBytes, channels_, positions_ * kRowBytes, zero_point_, epsilon_, constants_,
                         output + p * kRowBytes);
  }

  const TokenKernels& kernels_;
  const TokenSliceKernels& slice_kernels_;
  const int64_t channels_, positions_;
  const int zero_point_;
  const double epsilon_;
  QuantizeConstants constants_;
  SliceSetting setting_;
};

}  // namespace

std::unique_ptr<Operator> MakeLayerNormalization(const OperatorSource& source) {
  return std::make_unique<LayerNormalizationOperator>(source);
}

}  // namespace steadfast::engine
