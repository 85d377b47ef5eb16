#include "steadfast/analysis/surface.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "steadfast/analysis/spectrum.h"  // NormalVector
#include "steadfast/base/error.h"

namespace steadfast::analysis {

using torch::Tensor;

namespace {

double Place(int i, int points, double low, double high) {
  return points == 1 ? low : low + (high - low) * i / (points - 1);
}

float Between(float a, float b, double t) {
  return static_cast<float>((1 - t) * double{a} + t * double{b});
}
bool IsScale(const model::Parameter& parameter) {
  return parameter.role == model::Role::kScale || parameter.role == model::Role::kActivationScale;
}
// Parameters without the scales of activations, which are the last, and which values name.
size_t ParametersBeforeActivationScales(const model::QuantizedModel& model) {
  const auto first = std::find_if(model.parameters.begin(), model.parameters.end(),
                                  [](const model::Parameter& p) { return p.role == model::Role::kActivationScale; });
  return static_cast<size_t>(first - model.parameters.begin());
}
// `a` with everything but its weights moved towards b.
model::QuantizedModel SurroundingsBetween(model::QuantizedModel a, const model::QuantizedModel& b, double t) {
  for (size_t v = 0; v < a.values.size(); ++v) {
    if (a.values[v].coding)
      a.values[v].coding->scale = Between(a.values[v].coding->scale, b.values[v].coding->scale, t);
    a.values[v].scale = a.values[v].dequantizing_scale = -1;
  }
  a.parameters.resize(ParametersBeforeActivationScales(a));
  for (size_t p = 0; p < a.parameters.size(); ++p) {
    model::Parameter& parameter = a.parameters[p];
    if (parameter.role == model::Role::kWeight || IsScale(parameter)) continue;
    for (int64_t i = 0; i < parameter.elements(); ++i)
      parameter.bits[static_cast<size_t>(i)] =
          std::bit_cast<uint32_t>(Between(parameter.real(i), b.parameters[p].real(i), t));
  }
  return a;
}

// Constants that a line moves must be float32 on both ends.
bool CanMove(const model::Parameter& parameter) {
  return parameter.role == model::Role::kWeight || IsScale(parameter) ||
         parameter.format.kind == model::StorageFormat::Kind::kFloat32;
}

}  // namespace

void CheckLine(const model::QuantizedModel& a, const LineTo& to) {
  const model::QuantizedModel& b = to.model;
  bool same = a.nodes.size() == b.nodes.size() &&
              ParametersBeforeActivationScales(a) == ParametersBeforeActivationScales(b) &&
              a.values.size() == b.values.size();
  for (size_t i = 0; same && i < a.nodes.size(); ++i) same = a.nodes[i] == b.nodes[i];
  for (size_t i = 0; same && i < ParametersBeforeActivationScales(a); ++i) {
    const model::Parameter &of_a = a.parameters[i], &of_b = b.parameters[i];
    const bool same_shape = of_a.role == model::Role::kScale || of_a.shape == of_b.shape;  // per tensor, or per channel
    same = of_a.role == of_b.role && same_shape && CanMove(of_a) && CanMove(of_b);
  }
  for (size_t i = 0; same && i < a.values.size(); ++i)
    same = a.values[i].shape == b.values[i].shape && a.values[i].coding.has_value() == b.values[i].coding.has_value() &&
           (!a.values[i].coding || a.values[i].coding->bits == b.values[i].coding->bits);
  if (!same)
    throw InputError(
        fmt::format("{} and {} differ in structure: there is no straight line between them", a.name, to.label));
}

Tensor FilterNormalizedDirection(const train::DifferentiableModel& network, uint64_t seed, uint64_t index) {
  const Tensor direction = NormalVector(network.weight_count(), seed, index).to(network.dtype());
  for (const auto& part : network.parts()) {
    Tensor of_part = direction.narrow(0, part.offset, part.count).view({part.outputs, -1});
    const Tensor weights = network.weights().narrow(0, part.offset, part.count).view({part.outputs, -1});
    of_part *= weights.norm(2, {1}, true) / of_part.norm(2, {1}, true);
  }
  return direction;
}

std::vector<SurfacePoint> LossAlong(const WeightLoss& loss, const std::string& name, const Tensor& direction,
                                    double extent, int points) {
  std::vector<SurfacePoint> surface;
  for (int i = 0; i < points; ++i) {
    const double x = Place(i, points, -extent, extent);
    const auto value = loss.At(direction * x);
    surface.push_back({name, x, 0, value.loss, value.accuracy});
  }
  return surface;
}

std::vector<SurfacePoint> LossOnPlane(const WeightLoss& loss, const std::string& name, const Tensor& x_direction,
                                      const Tensor& y_direction, double extent, int points,
                                      const std::function<void(double)>& on_share) {
  std::vector<SurfacePoint> surface;
  for (int j = 0; j < points; ++j) {
    for (int i = 0; i < points; ++i) {
      const double x = Place(i, points, -extent, extent), y = Place(j, points, -extent, extent);
      const auto value = loss.At(x_direction * x + y_direction * y);
      surface.push_back({name, x, y, value.loss, value.accuracy});
    }
    if (on_share) on_share(static_cast<double>(j + 1) / points);
  }
  return surface;
}

std::vector<SurfacePoint> LossBetween(const model::QuantizedModel& from, const LineTo& to, const Tensor& images,
                                      const Tensor& labels, int points, const Cancellation* cancellation) {
  CheckLine(from, to);
  const Tensor way = train::DifferentiableModel(to.model).weights() - train::DifferentiableModel(from).weights();
  std::vector<SurfacePoint> surface;
  for (int i = 0; i < points; ++i) {
    const double t = Place(i, points, 0, 1);
    const WeightLoss loss(SurroundingsBetween(from, to.model, t), images, labels, torch::kFloat, cancellation);
    const auto value = loss.At(way * t);
    surface.push_back({"line:" + to.label, t, 0, value.loss, value.accuracy});
  }
  return surface;
}

}  // namespace steadfast::analysis
