// Small random networks as ONNX files in the styles of many producers: opsets 10 to 21, bounds as attributes or inputs,
// constants as initializers or nodes, scalar and 1-D scales, zero points of any parity, scales that meet ties, shared
// initializers, biases of both kinds, and now and then something that must be refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace steadfast {

struct StyledModel {
  std::string bytes;
  int opset = 0;
  bool real_input = false;
  bool exact = false;                // all scales are powers of two, and no function rounds: every code must agree
  std::string refused_for;           // part of the error that the reader must give; empty: it must read the file
  std::vector<int64_t> input_shape;  // without the batch
  std::vector<std::string> codes;    // tensors of 8-bit codes, which an added output each gives
};

// The same seed gives the same file.
StyledModel MakeStyledModel(uint64_t seed);

}  // namespace steadfast
