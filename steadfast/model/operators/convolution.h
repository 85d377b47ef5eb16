// Convolution with stride, padding, dilation and groups (depthwise among them). Padding has level 0.
#pragma once

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Convolution {
  Weighted weighted;
  Window window;
  int groups = 1;
  bool operator==(const Convolution&) const = default;
};
template <>
const OperatorDefinition& Definition<Convolution>();

}  // namespace steadfast::model
