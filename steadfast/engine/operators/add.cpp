// The residual addition of two values at different scales.
#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

class AddOperator final : public ChannelwiseOperator {
 public:
  explicit AddOperator(const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape),
        a_(OperandOf(*source.input(0).coding)),
        b_(OperandOf(*source.input(1).coding)),
        constants_(ConstantsOf(source.output(), source.node)) {}

 private:
  void RunPlane(std::span<const From> inputs, Workspace& workspace, const To& output) const override {
    for (int64_t i = 0; i < out_.height * out_.width; ++i)
      workspace.kernels->add_rows(inputs[0].at(i), a_, inputs[1].at(i), b_, constants_, output.at(i));
  }

  const OperandConstants a_, b_;
  const QuantizeConstants constants_;
};

}  // namespace

std::unique_ptr<Operator> MakeAdd(const OperatorSource& source) {
  return std::make_unique<AddOperator>(source);
}

}  // namespace steadfast::engine
