// The mean over a window.
#include <algorithm>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/windows.h"  // ForEachWindow
#include "steadfast/model/requantization.h"

namespace steadfast::engine {
namespace {

class AveragePoolOperator final : public ChannelwiseOperator {
 public:
  // Means of codes, rounded away from zero, as TFLite's kernels have them.
  struct OfCodes {
    int stored_offset;
    model::Quantization range;
  };

  AveragePoolOperator(const model::AveragePool& pool, const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape),
        window_(pool.window),
        zero_point_(source.input(0).coding->zero_point),
        requantization_(model::RequantizationOfMean(source.model, source.node, pool.elements())) {
    const model::ActivationCoding& coding = *source.output().coding;
    if (IsOfTflite(source.model.profile))
      of_codes_ = {coding.stored_offset(), model::QuantizationOf(coding, source.node.activation)};
  }

 private:
  void Divide(const Kernels& kernels, const int32_t* sums, int32_t correction, uint8_t* row) const {
    for (size_t i = 0; i < kBlockImages; ++i)
      row[i] = model::Requantize(sums[kernels.lane_of_image[i]] + correction, requantization_, 0);
  }

  void RunPlane(std::span<const From> inputs, Workspace& workspace, const To& output) const override {
    const RequantizeConstants constants =
        ConstantsOf(requantization_, requantization_.scale[0], requantization_.offset[0]);
    int64_t at = 0;
    model::ForEachWindow(in_, out_, window_, [&](const auto& elements) {
      int32_t sums[kBlockImages] = {};
      int32_t count = 0;
      elements([&](int64_t element) {
        workspace.kernels->add_scaled_row(inputs[0].at(element), 1, sums, sums);
        ++count;
      });
      if (of_codes_)
        for (size_t i = 0; i < kBlockImages; ++i)
          output.at(at)[i] = model::RoundedMean(sums[workspace.kernels->lane_of_image[i]], count,
                                                of_codes_->stored_offset, of_codes_->range);
      else if (requantization_.divisor == 1)
        workspace.kernels->requantize(sums, -zero_point_ * count, constants, output.at(at));
      else
        Divide(*workspace.kernels, sums, -zero_point_ * count, output.at(at));
      ++at;
    });
  }

  const model::Window window_;
  const int zero_point_;
  const model::Requantization requantization_;
  std::optional<OfCodes> of_codes_;
};

}  // namespace

std::unique_ptr<Operator> MakeAveragePool(const OperatorSource& source) {
  return std::make_unique<AveragePoolOperator>(*source.node.operation.As<model::AveragePool>(), source);
}

}  // namespace steadfast::engine
