// The residual addition of two values at different scales.
#include "steadfast/model/operators/add.h"

#include "steadfast/engine/kernels/integers.h"
#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class AddOperator final : public ChannelwiseOperator {
 public:
  explicit AddOperator(const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape),
        kernels_(IntegerKernelsOf(source.set)),
        a_(OperandOf(*source.input(0).coding)),
        b_(OperandOf(*source.input(1).coding)),
        constants_(ConstantsOf(source.output(), source.node)) {
    if (IsOfTflite(source.model.profile))
      integer_ = model::IntegerAddOf(source.model.profile, *source.input(0).coding, *source.input(1).coding,
                                     *source.output().coding);
    if (IsOfOrtKernels(source.model, source.node)) MakeTable(source);
  }

 private:
  // Of every pair of codes, by the scalar rule.
  void MakeTable(const OperatorSource& source) {
    std::vector<uint8_t> first, second;
    for (int pair = 0; pair < 1 << 16; ++pair) {
      first.push_back(static_cast<uint8_t>(pair >> 8));
      second.push_back(static_cast<uint8_t>(pair & 255));
    }
    table_.resize(1 << 16);
    const std::span<const uint8_t> inputs[] = {first, second};
    source.node.operation.definition().scalar_rule(source.model, source.node)(inputs, table_, {});
  }

  void RunPlane(std::span<const From> inputs, Workspace& workspace, const To& output) const override {
    if (integer_) {
      const int32_t zero_point = constants_.zero_point;
      const StepRange range{constants_.lowest - zero_point, constants_.highest - zero_point, zero_point};
      for (int64_t i = 0; i < out_.height * out_.width; ++i)
        kernels_.add_rows(inputs[0].at(i), a_.zero_point, inputs[1].at(i), b_.zero_point, *integer_, range,
                          output.at(i));
      return;
    }
    if (!table_.empty()) {
      for (int64_t i = 0; i < out_.height * out_.width; ++i) {
        const uint8_t *a = inputs[0].at(i), *b = inputs[1].at(i);
        for (size_t image = 0; image < kBlockImages; ++image)
          output.at(i)[image] = table_[static_cast<size_t>(a[image] << 8 | b[image])];
      }
      return;
    }
    for (int64_t i = 0; i < out_.height * out_.width; ++i)
      workspace.kernels->add_rows(inputs[0].at(i), a_, inputs[1].at(i), b_, constants_, output.at(i));
  }

  const IntegerKernels& kernels_;
  const OperandConstants a_, b_;
  const QuantizeConstants constants_;
  std::optional<model::IntegerAdd> integer_;  // of TFLite's profiles
  std::vector<uint8_t> table_;                // [first * 256 + second]: of ONNX Runtime's, which no kernel has
};

}  // namespace

std::unique_ptr<Operator> MakeAdd(const OperatorSource& source) {
  return std::make_unique<AddOperator>(source);
}

}  // namespace steadfast::engine
