// The loss along lines and planes through a network's quantized weights.
//
// Random directions are filter-normalized (Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018):
// each filter of the direction has the norm of the network's own, so 1 is "as far as the weights are large".
// Eigenvectors have unit length, and their axis is in units of ||Q(w)||.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "steadfast/analysis/weight_loss.h"
#include "steadfast/model/quantized_model.h"
#include "steadfast/train/libtorch.h"

namespace steadfast::analysis {

struct SurfacePoint {
  std::string surface;  // "filter", "filter-plane", "eigenvector-1", "eigenvector-plane", "line:LABEL"
  double x, y;          // y is 0 on a line
  double loss, accuracy;
};

// Another network of the same structure.
struct LineTo {
  std::string label;
  model::QuantizedModel model;
};

// Throws InputError unless a straight line can join the two: the same graph with the same shapes.
void CheckLine(const model::QuantizedModel& from, const LineTo& to);

// A normal random direction, filter by filter as long as the weights. [weights]
torch::Tensor FilterNormalizedDirection(const train::DifferentiableModel& network, uint64_t seed, uint64_t index);

// `points` (odd) places on [-extent, extent] along `direction`.
std::vector<SurfacePoint> LossAlong(const WeightLoss& loss, const std::string& name, const torch::Tensor& direction,
                                    double extent, int points);
std::vector<SurfacePoint> LossOnPlane(const WeightLoss& loss, const std::string& name, const torch::Tensor& x,
                                      const torch::Tensor& y, double extent, int points,
                                      const std::function<void(double)>& on_share = {});

// On the straight line from `from` (x = 0) to `to` (x = 1): quantized weights, biases, multipliers and the scales of
// activations all move together. Throws InputError where the two networks differ in structure.
std::vector<SurfacePoint> LossBetween(const model::QuantizedModel& from, const LineTo& to, const torch::Tensor& images,
                                      const torch::Tensor& labels, int points, const Cancellation* cancellation);

}  // namespace steadfast::analysis
