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
  void RunChannel(int64_t, std::span<const uint8_t* const> inputs, Workspace& workspace,
                  uint8_t* output) const override {
    model::ForEachWindow(in_, out_, window_, [&](const auto& elements) {
      std::memset(output, 0, kRowBytes);
      elements([&](int64_t element) { workspace.kernels->maximum_rows(inputs[0] + element * kRowBytes, output); });
      output += kRowBytes;
    });
  }

  const model::Window window_;
};

}  // namespace

std::unique_ptr<Operator> MakeMaxPool(const OperatorSource& source) {
  return std::make_unique<MaxPoolOperator>(source.node.operation.As<model::MaxPool>()->window, source);
}

}  // namespace steadfast::engine
