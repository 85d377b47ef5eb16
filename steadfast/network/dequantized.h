// A quantized network as the float graph that it stands for, to be trained on: weights are scale * level.
#pragma once

#include "steadfast/model/quantized_model.h"
#include "steadfast/network/float_graph.h"

namespace steadfast::network {

// Steps behind sums become biases and normalizations. Codes that begin at the zero point become a ReLU, as what clips
// there did. The graph's values and weights keep the scales and widths that they had, for quantizers to start from.
// Throws InputError where the model has thresholds (FATReLU), which no float network has.
FloatGraph GraphOf(const model::QuantizedModel& model);

}  // namespace steadfast::network
