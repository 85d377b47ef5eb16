// How sharply the loss rises around a network's quantized weights, in all the ways that Steadfast knows.
//
// SAM sharpness: max over ||e|| <= rho of L(Q(w) + e) - L(Q(w)) (Foret et al., ICLR 2021), by projected gradient ascent
// with restarts; the adaptive form bounds ||e / T|| with T = |Q(w)| + eta (ASAM, Kwon et al., ICML 2021), so that
// networks of different scale compare fairly. Average-case sharpness: the same for random e of norm rho. Fault
// sharpness: the mean loss increase under random bit flips at small rates, computed by the integer engine.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/analysis/spectrum.h"          // SpectralNode
#include "steadfast/analysis/surface.h"           // SurfacePoint
#include "steadfast/analysis/weight_loss.h"       // WeightLoss
#include "steadfast/recipe/sharpness_settings.h"  // SharpnessSettings

namespace steadfast::analysis {

// One number. `parameter`: the radius, the fault rate, or the rank of an eigenvalue (1: largest); 0 where there is
// none.
struct Measure {
  std::string name;   // "sam", "sam-relative", "hessian-trace", ... (docs/formats.md has them all)
  std::string layer;  // a weight tensor, or empty: the whole network
  double parameter;
  double value;
  double error;  // standard error, or the residual of an eigenvalue; 0 where there is none
};

struct SharpnessResult {
  int64_t images;
  double loss, accuracy;  // fault-free, on these images
  double weight_norm;
  std::vector<Measure> measures;
  std::vector<SpectralNode> density;
  std::vector<SurfacePoint> surfaces;
};
nlohmann::json ToJson(const SharpnessResult& result);

// Largest increase of the loss found within the ball, by ascent. adaptive: `radius` bounds ||e / T||.
double AscendSharpness(const WeightLoss& loss, double clean_loss, double radius, bool adaptive, int steps, int restarts,
                       uint64_t seed);
// Mean increase over random perturbations e (adaptive: T u) of that norm.
Estimate AverageSharpness(const WeightLoss& loss, double clean_loss, double radius, bool adaptive, int draws,
                          uint64_t seed);

// What to measure and on what: the model, and the training set it was made with.
struct SharpnessInput {
  const model::QuantizedModel& model;
  const data::ImageSet& images;          // the training set
  const std::vector<int64_t>& training;  // indices to choose from, in order
  std::vector<LineTo> lines;             // networks to draw straight lines to
};
// on_progress: share done, and what is being done.
SharpnessResult MeasureSharpness(const SharpnessInput& input, const recipe::SharpnessSettings& settings,
                                 const std::function<void(double, const std::string&)>& on_progress,
                                 const Cancellation* cancellation);

}  // namespace steadfast::analysis
