// The mean loss of a network over chosen images, as a function of a perturbation of its quantized weights: values,
// gradients, products with the Hessian.
//
// Activations are quantized throughout. Gradients go straight through their rounding, and the Hessian is that of the
// surrogate (train/differentiable_model.h), at the network as it is; normalization is as in evaluation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/data/dataset.h"                // ImageSet
#include "steadfast/train/differentiable_model.h"  // DifferentiableModel
#include "steadfast/train/libtorch.h"

namespace steadfast::analysis {

class WeightLoss {
 public:
  // images: raw bytes [n, c, h, w]; labels: int64 [n]. Both are kept.
  WeightLoss(const model::QuantizedModel& model, torch::Tensor images, torch::Tensor labels,
             torch::Dtype dtype = torch::kFloat, const Cancellation* cancellation = nullptr);

  struct Value {
    double loss;      // mean cross-entropy, nats
    double accuracy;  // share
  };
  // perturbation: [weights], added to Q(w); undefined: none. Throws InterruptedError when cancelled, as all here.
  Value At(const torch::Tensor& perturbation = {}) const;

  // [n, classes], at no perturbation.
  torch::Tensor Logits() const;

  struct Slope {
    double loss;
    torch::Tensor gradient;  // [weights]
  };
  Slope SlopeAt(const torch::Tensor& perturbation = {}) const;

  // H v at no perturbation. v: [weights].
  torch::Tensor HessianTimes(const torch::Tensor& v) const;

  const train::DifferentiableModel& network() const { return network_; }
  const torch::Tensor& weights() const { return network_.weights(); }  // Q(w), flat
  double weight_norm() const { return weights().norm().item<double>(); }
  int64_t images() const { return labels_.size(0); }

 private:
  train::DifferentiableModel network_;
  torch::Tensor images_, labels_;
  const Cancellation* cancellation_;
};

// The images of these indices as a tensor of bytes [n, c, h, w], and their labels.
torch::Tensor ImageTensor(const data::ImageSet& set, const std::vector<int64_t>& indices);
torch::Tensor LabelTensor(const data::ImageSet& set, const std::vector<int64_t>& indices);

}  // namespace steadfast::analysis
