// Float graphs with random values, for tests.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "steadfast/network/float_graph.h"

namespace steadfast::network {

// Gives every parameter values as training would leave them: weights of variance 1 / fan-in, positive variances.
inline void Randomize(FloatGraph& graph, uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto uniform = [&](double low, double high) {
    return static_cast<float>(low + (high - low) * static_cast<double>(random() >> 11) * 0x1p-53);
  };
  for (FloatParameter& parameter : graph.parameters) {
    parameter.values.resize(static_cast<size_t>(parameter.elements()));
    const double bound =
        parameter.shape.size() < 2
            ? 0.3
            : std::sqrt(6.0 * static_cast<double>(parameter.shape[0]) / static_cast<double>(parameter.elements()));
    for (float& value : parameter.values) value = uniform(-bound, bound);
  }
  for (const FloatNode& node : graph.nodes) {
    const auto* op = std::get_if<BatchNormalization>(&node.operation);
    if (op == nullptr) continue;
    for (float& value : graph.parameters[static_cast<size_t>(op->gamma)].values) value = uniform(0.5, 1.5);
    for (float& value : graph.parameters[static_cast<size_t>(op->variance)].values) value = uniform(0.5, 2.0);
  }
}

inline std::vector<uint8_t> RandomBytes(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

}  // namespace steadfast::network
