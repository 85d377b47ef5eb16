// Which operators have a fast path.
#include "steadfast/engine/operators/operator.h"
#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/concatenate.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/dequantize.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/layer_normalization.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/operators/multiply.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/rearrange.h"
#include "steadfast/model/operators/softmax.h"

namespace steadfast::engine {

std::unique_ptr<Operator> MakeOperator(const model::QuantizedModel& model, const model::Node& node,
                                       InstructionSet set) {
  struct FastPath {
    const model::OperatorDefinition* of;
    std::unique_ptr<Operator> (*make)(const OperatorSource& source);
  };
  static const FastPath paths[] = {{&model::Definition<model::Convolution>(), MakeConvolution},
                                   {&model::Definition<model::Linear>(), MakeLinear},
                                   {&model::Definition<model::MaxPool>(), MakeMaxPool},
                                   {&model::Definition<model::AveragePool>(), MakeAveragePool},
                                   {&model::Definition<model::Add>(), MakeAdd},
                                   {&model::Definition<model::Concatenate>(), MakeConcatenate},
                                   {&model::Definition<model::Flatten>(), MakeFlatten},
                                   {&model::Definition<model::Elementwise>(), MakeElementwise},
                                   {&model::Definition<model::Multiply>(), MakeMultiply},
                                   {&model::Definition<model::Product>(), MakeProduct},
                                   {&model::Definition<model::Softmax>(), MakeSoftmax},
                                   {&model::Definition<model::LayerNormalization>(), MakeLayerNormalization},
                                   {&model::Definition<model::Constant>(), MakeConstant},
                                   {&model::Definition<model::Dequantize>(), MakeDequantize},
                                   {&model::Definition<model::Rearrange>(), MakeRearrange}};
  const OperatorSource source{model, node, set};
  const auto* pool = node.operation.As<model::AveragePool>();
  // What only the standard's arithmetic has a fast path for.
  const bool is_slow = node.operation.Is<model::Softmax>() || node.operation.Is<model::Multiply>() ||
                       (pool != nullptr && pool->is_mean == IsOfTflite(model.profile));
  if (model.profile != model::Profile::kOnnx && is_slow) return MakeScalarOperator(source);
  // Of codes whose numbers fall, which the fast path does not know: a fault has made their scale negative.
  if (node.operation.As<model::Softmax>() != nullptr && source.input(0).coding->real_scale() < 0)
    return MakeScalarOperator(source);
  for (const FastPath& path : paths) {
    if (path.of == &node.operation.definition()) return path.make(source);
  }
  return MakeScalarOperator(source);
}

}  // namespace steadfast::engine
