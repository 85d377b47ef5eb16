// Codes that are the same for every image: of where a token lies, say, so that a 1 x 1 convolution behind them is an
// embedding of positions whose weights are stored like all others. They belong to the program, not to the memory.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/model/quantized_model.h"

namespace steadfast::model {

struct Constant {
  ValueShape shape;
  std::vector<uint8_t> codes;  // [channels, height, width]
  bool operator==(const Constant&) const = default;
};
template <>
const OperatorDefinition& Definition<Constant>();

// Channel i has 1 at position i and 0 elsewhere, of height * width positions. Its coding is 8 bits of scale 1.
Constant OneHotPositions(int64_t height, int64_t width);

}  // namespace steadfast::model
