// Quantizers as differentiable LibTorch operations, and what they store.
//
// LSQ: Esser et al., ICLR 2020. LIQ: the weight-normalized quantizer of SAQ's code (Liu, Cai, Zhuang, arXiv
// 2111.12273). DoReFa: Zhou et al., arXiv 1606.06160.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/model/quantized_model.h"  // CodeFormat
#include "steadfast/recipe/recipe.h"          // Quantizer
#include "steadfast/train/libtorch.h"

namespace steadfast::train {

// Steps and clips never fall below this (ours: training can push them through zero).
inline constexpr float kSmallestStep = 1e-5f;

// LSQ of a tensor: step * round(clip(x / step, lowest, highest)), straight-through gradients, step gradient times
// gradient_scale. step: a tensor of one element.
torch::Tensor LsqQuantize(const torch::Tensor& x, const torch::Tensor& step, int lowest, int highest,
                          double gradient_scale);

// LSQ of activations behind a ReLU (which unsigned clipping contains): codes 0 to highest.
struct QuantizedActivations {
  torch::Tensor values;   // like x
  torch::Tensor sum;      // scalar: sum of max(x, 0) (of the quantized values where after_quantizer), for penalties
  torch::Tensor squares;  // scalar: sum of squares of the same
};
QuantizedActivations LsqQuantizeActivations(const torch::Tensor& x, const torch::Tensor& step, int highest,
                                            double gradient_scale, bool with_sums, bool after_quantizer);

// 2 mean|x| / sqrt(highest), LSQ's initial step.
double InitialStep(const torch::Tensor& x, int highest);

// How a layer's weights are quantized. `normalize`: LIQ normalizes convolutions only.
struct WeightQuantizer {
  recipe::Quantizer kind = recipe::Quantizer::kLsq;
  int bits = 4;
  bool narrow = false;
  bool normalize = false;

  model::CodeFormat format() const;
  bool has_step() const { return kind == recipe::Quantizer::kLsq || kind == recipe::Quantizer::kLiq; }
  // The initial step (LSQ) or clip (LIQ) for these weights.
  double initial_step(const torch::Tensor& weight) const;
  // The quantized weights Q(w), differentiable in both.
  torch::Tensor operator()(const torch::Tensor& weight, const torch::Tensor& step) const;

  struct Stored {
    std::vector<int16_t> codes;
    float scale;  // Q(w) = scale * level(code)
  };
  Stored store(const torch::Tensor& weight, const torch::Tensor& step) const;
};

}  // namespace steadfast::train
