// One-step SAM sharpness in the quantized weights: how much the loss rises when all quantized weights move by a given
// distance along the gradient (Foret et al., ICLR 2021, with SAQ's choice of what moves: Q(w), not w).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "steadfast/train/network.h"        // Network
#include "steadfast/train/training_data.h"  // TrainingData

namespace steadfast::analysis {

struct SharpnessAt {
  double relative_radius;  // of the norm of all quantized weights; the distance is this times the norm
  double radius;           // absolute
  double increase;         // L(Q(w) + e) - L(Q(w)), mean cross-entropy over the images
};

struct OneStepSharpness {
  int64_t images;      // how many were used
  double loss;         // L(Q(w))
  double weight_norm;  // ||Q(w)||_2 over all layers
  std::vector<SharpnessAt> at;
};

// On the first `images` training images (validation left out), activations quantized, one gradient over all of them.
// Relative radii give comparisons that do not depend on the networks' scales; absolute ones are SAM's own.
OneStepSharpness MeasureOneStepSharpness(train::Network& network, const train::TrainingData& data, int64_t images,
                                         std::span<const double> relative_radii, std::span<const double> radii);

}  // namespace steadfast::analysis
