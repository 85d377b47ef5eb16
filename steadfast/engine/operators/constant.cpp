// Rows that are the same for every image.
#include <algorithm>

#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/operators/constant.h"

namespace steadfast::engine {
namespace {

class ConstantOperator final : public Operator {
 public:
  explicit ConstantOperator(const OperatorSource& source)
      : codes_(source.node.operation.As<model::Constant>()->codes) {}

  void RunBlock(std::span<const uint8_t* const>, Workspace&, const BlockOutput& output) const override {
    for (size_t i = 0; i < codes_.size(); ++i)
      std::fill_n(output.rows + static_cast<int64_t>(i) * kRowBytes, kRowBytes, codes_[i]);
  }
  void RunChanged(const BlockChange&, Workspace&, std::any&) const override {}

 private:
  const std::vector<uint8_t> codes_;
};

}  // namespace

std::unique_ptr<Operator> MakeConstant(const OperatorSource& source) {
  return std::make_unique<ConstantOperator>(source);
}

}  // namespace steadfast::engine
