// What a network expects of its input, folded into its first layer, so that it takes bytes with one scale and zero
// point.
#pragma once

#include <vector>

#include "steadfast/network/float_graph.h"
#include "steadfast/network/float_run.h"  // ByteScale

namespace steadfast::network {

// What a network was trained on: (byte / 255 - mean) / deviation, of one value, or one a channel.
struct InputNormalization {
  std::vector<double> mean = {0}, deviation = {1};
};

// What a file of our own says of its input (metadata "steadfast.input"); otherwise bytes / 255.
InputNormalization NormalizationOf(const FloatGraph& graph);
// Writes that down: the graph takes scale * (byte - zero_point).
void SetInput(FloatGraph& graph, ByteScale scale);

// The bytes' scale and zero point that fit a network best, with the normalization at its own front: the means' mean,
// rounded. Throws InputError where counts of channels do not fit.
ByteScale ByteScaleOf(const FloatGraph& graph, const InputNormalization& normalization);

// Changes the graph, which takes normalized images, into one that takes scale * (byte - zero_point), and takes up a
// normalization that stands at its front: both become part of the first convolution or linear layer, whose bias carries
// what the one zero point leaves of each channel's mean. That is exact (but for rounding) where no padding is involved;
// at padded edges the input's padding is now byte `zero_point` of each channel, where it was the channel's mean: the
// largest difference, in bytes, is returned. Throws InputError where the first layer is neither, or where counts of
// channels do not fit.
double FoldInput(FloatGraph& graph, const InputNormalization& normalization, ByteScale scale);

}  // namespace steadfast::network
