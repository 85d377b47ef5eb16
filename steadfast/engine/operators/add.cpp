// The residual addition of two values at different scales.
#include "steadfast/model/operators/add.h"

#include <algorithm>

#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class AddOperator final : public ChannelwiseOperator {
 public:
  explicit AddOperator(const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape),
        a_(OperandOf(*source.input(0).coding)),
        b_(OperandOf(*source.input(1).coding)),
        constants_(ConstantsOf(source.output(), source.node)) {
    if (IsOfTflite(source.model.profile))
      integer_ = model::IntegerAddOf(source.model.profile, *source.input(0).coding, *source.input(1).coding, *source.output().coding);
  }

 private:
  void AddRows(const uint8_t* a, const uint8_t* b, const model::IntegerAdd& add, uint8_t* row) const {
    if (add.rounds_twice) {
      for (int64_t i = 0; i < kBlockImages; ++i)
        row[i] = static_cast<uint8_t>(std::clamp<int64_t>(
            int64_t{add.Of(a[i] - a_.zero_point, b[i] - b_.zero_point)} + constants_.zero_point, constants_.lowest,
            constants_.highest));
      return;
    }
    const int32_t zero_a = a_.zero_point, zero_b = b_.zero_point;
    const int32_t lowest = constants_.lowest, highest = constants_.highest, zero_point = constants_.zero_point;
    for (int64_t i = 0; i < kBlockImages; ++i)
      row[i] = static_cast<uint8_t>(
          std::min(std::max(add.Of(a[i] - zero_a, b[i] - zero_b) + zero_point, lowest), highest));
  }

  void RunPlane(std::span<const From> inputs, Workspace& workspace, const To& output) const override {
    if (integer_) {
      for (int64_t i = 0; i < out_.height * out_.width; ++i)
        AddRows(inputs[0].at(i), inputs[1].at(i), *integer_, output.at(i));
      return;
    }
    for (int64_t i = 0; i < out_.height * out_.width; ++i)
      workspace.kernels->add_rows(inputs[0].at(i), a_, inputs[1].at(i), b_, constants_, output.at(i));
  }

  const OperandConstants a_, b_;
  const QuantizeConstants constants_;
  std::optional<model::IntegerAdd> integer_;  // of TFLite's profiles
};

}  // namespace

std::unique_ptr<Operator> MakeAdd(const OperatorSource& source) {
  return std::make_unique<AddOperator>(source);
}

}  // namespace steadfast::engine
