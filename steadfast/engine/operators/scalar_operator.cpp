// Any operator without weights, by its scalar rule: slow, and what a new operator starts with.
#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class ScalarOperator final : public Operator {
 public:
  explicit ScalarOperator(const OperatorSource& source)
      : rule_(source.node.operation.definition().scalar_rule(source.model, source.node)), out_(source.output().shape) {
    for (size_t i = 0; i < source.node.inputs.size(); ++i) in_.push_back(source.input(i).shape);
  }

  void RunBlock(std::span<const uint8_t* const> inputs, Workspace&, const BlockOutput& output) const override {
    Run([&](size_t input, int64_t row) { return inputs[input] + row * kRowBytes; },
        [&](int64_t row) { return output.rows + row * kRowBytes; });
  }

  void RunChanged(const BlockChange& change, Workspace& workspace, std::any&) const override {
    const auto rows_of = [](const ChangedValue& value, int64_t row) {
      const int64_t per_channel = value.rows_of_channel();
      return value.channel(row / per_channel) + row % per_channel * kRowBytes;
    };
    const int64_t per_channel = change.output->rows_of_channel();
    Run([&](size_t input, int64_t row) { return rows_of(*change.inputs[input], row); },
        [&](int64_t row) { return change.output->Begin(row / per_channel) + row % per_channel * kRowBytes; });
    for (int64_t c = 0; c < change.output->channel_count(); ++c)
      change.output->Finish(c, change.valid, *workspace.kernels);
  }

  double ChangedShare(const ChangedValue&, const KernelCosts&) const override { return 1.0; }

 private:
  template <typename InputRow, typename OutputRow>
  void Run(const InputRow& input_row, const OutputRow& output_row) const {
    std::vector<std::vector<uint8_t>> images(in_.size());
    std::vector<std::span<const uint8_t>> inputs(in_.size());
    std::vector<uint8_t> codes(static_cast<size_t>(out_.elements()));
    for (int64_t lane = 0; lane < kBlockImages; ++lane) {
      for (size_t i = 0; i < in_.size(); ++i) {
        images[i].resize(static_cast<size_t>(in_[i].elements()));
        for (int64_t row = 0; row < in_[i].elements(); ++row)
          images[i][static_cast<size_t>(row)] = input_row(i, row)[lane];
        inputs[i] = images[i];
      }
      rule_(inputs, codes, {});
      for (int64_t row = 0; row < out_.elements(); ++row) output_row(row)[lane] = codes[static_cast<size_t>(row)];
    }
  }

  const model::ScalarRule rule_;
  const model::ValueShape out_;
  std::vector<model::ValueShape> in_;
};

}  // namespace

std::unique_ptr<Operator> MakeScalarOperator(const OperatorSource& source) {
  return std::make_unique<ScalarOperator>(source);
}

}  // namespace steadfast::engine
