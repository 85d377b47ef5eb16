// A QuantizedModel executed by LibTorch on integer levels held in float32: exact while sums stay under 2^24, and then
// equal to the engine code for code. An independent check of the engine, and the door from a model back into LibTorch.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "steadfast/model/quantized_model.h"

namespace steadfast::train {

struct ExactEvaluation {
  std::vector<torch::Tensor> codes;  // by value index: [n, c, h, w] or [n, c]; undefined for the output
  torch::Tensor logits;              // [n, classes]
};

// images: [n, c, h, w] raw bytes (uint8). Throws InputError where sums could reach 2^24.
ExactEvaluation RunInLibTorch(const model::QuantizedModel& model, const torch::Tensor& images);

}  // namespace steadfast::train
