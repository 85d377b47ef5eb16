// The residual addition of two values at different scales.
#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {
namespace {

class AddOperator final : public ChannelwiseOperator {
 public:
  explicit AddOperator(const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape),
        codings_{*source.input(0).coding, *source.input(1).coding},
        quantization_(model::QuantizationOf(*source.output().coding, source.node.activation)) {}

 private:
  void RunPlane(std::span<const From> inputs, Workspace& workspace, const To& output) const override {
    const OperandConstants a{codings_[0].zero_point, codings_[0].scale}, b{codings_[1].zero_point, codings_[1].scale};
    const QuantizeConstants constants{quantization_.scale, quantization_.zero_point, quantization_.lowest,
                                      quantization_.highest, quantization_.zero_below};
    for (int64_t i = 0; i < out_.height * out_.width; ++i)
      workspace.kernels->add_rows(inputs[0].at(i), a, inputs[1].at(i), b, constants, output.at(i));
  }

  const model::ActivationCoding codings_[2];
  const model::Quantization quantization_;
};

}  // namespace

std::unique_ptr<Operator> MakeAdd(const OperatorSource& source) {
  return std::make_unique<AddOperator>(source);
}

}  // namespace steadfast::engine
