// Small random networks in the form that ONNX Runtime calls QOperator: operators on codes, each with scales and zero
// points of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace steadfast {

struct QOperatorNetwork {
  std::string bytes;
  bool real_input = false;
  bool is_int8 = false;            // activations
  std::vector<std::string> codes;  // tensors of codes
};

// The same seed gives the same file. Weights beyond ±63 meet int16 sums that saturate on x86 processors without VNNI.
QOperatorNetwork MakeQOperatorNetwork(uint64_t seed);

}  // namespace steadfast
