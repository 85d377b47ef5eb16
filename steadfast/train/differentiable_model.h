// A QuantizedModel in LibTorch, as a differentiable function of its quantized weights: the door from any model file
// back into LibTorch, and an independent check of the engine.
//
// It computes on integer levels held in floats, as the engine does on integers: without a perturbation, every code and
// every logit equals the engine's. Gradients go straight through the rounding of activations (Bengio et al., arXiv
// 1308.3432) and stop where codes are clipped; second derivatives are those of that surrogate.
#pragma once

#include <map>
#include <vector>

#include "steadfast/model/quantized_model.h"
#include "steadfast/train/libtorch.h"

namespace steadfast::train {

class DifferentiableModel {
 public:
  // dtype: of the arithmetic. kFloat equals the engine code for code; kDouble is for checking derivatives.
  explicit DifferentiableModel(const model::QuantizedModel& model, torch::Dtype dtype = torch::kFloat);

  // One tensor of weights within the flat vector of all weights, in the order of the model's weights.
  struct Part {
    std::string name;
    int64_t offset, count;
    int64_t outputs;  // rows: filters of a convolution, outputs of a linear layer
  };
  const std::vector<Part>& parts() const { return parts_; }
  int64_t weight_count() const { return weights_.numel(); }
  // Q(w) = scale * level of all weights, [weight_count], row-major tensor by tensor.
  const torch::Tensor& weights() const { return weights_; }
  torch::Dtype dtype() const { return dtype_; }

  // The logits [n, classes] with `perturbation` ([weight_count], or undefined: none) added to Q(w), not re-quantized.
  // images: raw bytes (uint8) [n, c, h, w]. codes: gets the codes of each value, by index; undefined for the output.
  torch::Tensor Logits(const torch::Tensor& images, const torch::Tensor& perturbation = {},
                       std::vector<torch::Tensor>* codes = nullptr) const;

  const model::QuantizedModel& model() const { return model_; }

 private:
  friend class DifferentiableRun;
  struct Weight {
    torch::Tensor levels;          // [out, …]
    torch::Tensor inverse_scales;  // [1] or [out, 1, ...]
    bool long_sums;                // sums can reach 2^24: float32 would round them
    size_t part;                   // index into parts_; their number: fixed
  };

  model::QuantizedModel model_;
  torch::Dtype dtype_;
  std::vector<Part> parts_;
  std::map<int, Weight> weights_of_;  // by parameter
  torch::Tensor weights_;
};

}  // namespace steadfast::train
