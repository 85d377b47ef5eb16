// Runs a float graph on images, without LibTorch: for calibration, and for the accuracy of an imported network.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "steadfast/base/cancellation.h"  // Cancellation
#include "steadfast/network/float_graph.h"

namespace steadfast::network {

// The values of one image, [value][channel][row][column]. values[0] must be filled in; the others are computed. All
// parameters must have values.
using FloatValues = std::vector<std::vector<float>>;
void RunFloat(const FloatGraph& graph, FloatValues& values);

// How raw bytes become the input: scale * (byte - zero_point), as data::InputScale.
struct ByteScale {
  float scale;
  int zero_point;
};

// The logits of images given as bytes, [image][class], on `threads` threads; of each image, `observe` sees all values.
std::vector<float> RunFloat(const FloatGraph& graph, std::span<const uint8_t> images, ByteScale scale, int threads,
                            const std::function<void(int worker, int64_t image, const FloatValues&)>& observe = {},
                            const Cancellation* cancellation = nullptr);

}  // namespace steadfast::network
