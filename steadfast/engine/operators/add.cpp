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
  void RunChannel(int64_t, std::span<const uint8_t* const> inputs, Workspace& workspace,
                  uint8_t* output) const override {
    const OperandConstants a{codings_[0].zero_point, codings_[0].scale}, b{codings_[1].zero_point, codings_[1].scale};
    const QuantizeConstants constants{quantization_.scale, quantization_.zero_point, quantization_.lowest,
                                      quantization_.highest, quantization_.zero_below};
    for (int64_t row = 0; row < out_.height * out_.width; ++row) {
      const int64_t at = row * kRowBytes;
      workspace.kernels->add_rows(inputs[0] + at, a, inputs[1] + at, b, constants, output + at);
    }
  }

  const model::ActivationCoding codings_[2];
  const model::Quantization quantization_;
};

}  // namespace

std::unique_ptr<Operator> MakeAdd(const OperatorSource& source) {
  return std::make_unique<AddOperator>(source);
}

}  // namespace steadfast::engine
