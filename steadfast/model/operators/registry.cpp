// The operators, in the order in which random graphs draw them.
#include <array>

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

namespace steadfast::model {

std::span<const OperatorDefinition* const> AllOperators() {
  static const std::array operators = {
      &Definition<Convolution>(), &Definition<MaxPool>(),     &Definition<AveragePool>(),
      &Definition<Add>(),         &Definition<Concatenate>(), &Definition<Flatten>(),
      &Definition<Linear>(),      &Definition<Elementwise>(), &Definition<Multiply>(),
      &Definition<Product>(),     &Definition<Softmax>(),     &Definition<LayerNormalization>(),
      &Definition<Constant>(),    &Definition<Rearrange>(),   &Definition<Dequantize>(),
  };
  return operators;
}

}  // namespace steadfast::model
