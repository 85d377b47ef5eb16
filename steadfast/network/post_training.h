// Quantization of a trained float network without training: a start, and a baseline for it.
//
// Each fused step's output gets a scale from what calibration images make of it; weights are quantized symmetrically
// (Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, arXiv 1806.08342). Normalization
// stays as it is, behind the sum.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "steadfast/model/quantized_model.h"
#include "steadfast/network/float_graph.h"
#include "steadfast/network/float_run.h"  // ByteScale

namespace steadfast::network {

enum class Calibration {
  kMinMax,      // everything that was seen has a code
  kPercentile,  // all but the outermost share of it
  kMse,         // the range with the least mean squared error, of weights too
};
Calibration ParseCalibration(std::string_view text);  // "minmax", "percentile", "mse"; throws UsageError
std::string_view NameOf(Calibration calibration);

struct PostTrainingSettings {
  int weight_bits = 8, activation_bits = 8;  // 2 to 8
  bool per_channel = true;                   // a weight scale an output, or one for all
  Calibration calibration = Calibration::kMinMax;
  double percentile = 99.99;        // of kPercentile: the share of numbers within the range
  bool signed_activations = false;  // files and memories hold int8 codes instead of uint8
  int threads = 0;
};

// Throws UsageError for impossible settings; InputError where Fuse refuses the graph, or no calibration image is given.
// `images`: bytes, as RunFloat takes them.
model::QuantizedModel Quantize(const FloatGraph& graph, std::span<const uint8_t> images, ByteScale scale,
                               const PostTrainingSettings& settings, const Cancellation* cancellation = nullptr);

}  // namespace steadfast::network
