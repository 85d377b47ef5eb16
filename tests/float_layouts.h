// Small random float networks as ONNX files that move axes about as exporters of transformers do: transposed, reshaped,
// sliced, split, joined and repeated tensors under products, normalizations, sums and functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace steadfast {

struct FloatLayout {
  std::string bytes;                 // input "input", output "logits"
  std::vector<int64_t> input_shape;  // [1, channels, height, width]
};

// The same seed gives the same file.
FloatLayout MakeFloatLayout(uint64_t seed);

}  // namespace steadfast
