// Max-pooling of codes. Padding never wins.
#include <algorithm>
#include <cstring>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/operators/windows.h"  // ForEachWindow

namespace steadfast::engine {
namespace {

class MaxPoolOperator final : public ChannelwiseOperator {
 public:
  MaxPoolOperator(const model::Window& window, const OperatorSource& source)
      : ChannelwiseOperator(source.input(0).shape, source.output().shape), window_(window) {}

 private:
  void RunPlane(std::span<const From> inputs, Workspace& workspace, const To& output) const override {
    int64_t at = 0;
    model::ForEachWindow(in_, out_, window_, [&](const auto& elements) {
      uint8_t* row = output.at(at++);
      std::memset(row, 0, kRowBytes);
      elements([&](int64_t element) { workspace.kernels->maximum_rows(inputs[0].at(element), row); });
    });
  }

  const model::Window window_;
};

}  // namespace

std::unique_ptr<Operator> MakeMaxPool(const OperatorSource& source) {
  return std::make_unique<MaxPoolOperator>(source.node.operation.As<model::MaxPool>()->window, source);
}

}  // namespace steadfast::engine
