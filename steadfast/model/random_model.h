// Valid random networks, for tests that hold one path to another on anything the graph allows.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::model {

// One to six layers: convolutions (any stride, padding, dilation, groups, depthwise), max-, average and global pooling,
// residual additions at different scales, branches that are joined, linear layers; of random widths, level maps,
// per-tensor or per-channel scales, thresholds and zero points. The same seed gives the same network.
QuantizedModel RandomModel(uint64_t seed);

// n random images that fit the model.
std::vector<uint8_t> RandomImages(const QuantizedModel& model, int64_t n, uint64_t seed);

// LeNet-5 for 28 x 28 images with random codes, `weight_bits` and `activation_bits` wide: the shapes of the study.
QuantizedModel RandomLeNet5(int weight_bits, int activation_bits, uint64_t seed);

// ResNet-18 for 32 x 32 colour images with random codes; residual streams have codes of their own.
QuantizedModel RandomResNet18(int weight_bits, int activation_bits, uint64_t seed);

}  // namespace steadfast::model
