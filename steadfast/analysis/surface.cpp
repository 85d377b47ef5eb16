#include "steadfast/analysis/surface.h"

#include <fmt/format.h>

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
std::vector<float> Between(std::vector<float> a, std::vector<float> b, float if_empty, double t) {
  if (a.empty() && b.empty()) return {};
  if (a.empty()) a.assign(b.size(), if_empty);
  if (b.empty()) b.assign(a.size(), if_empty);
  for (size_t i = 0; i < a.size(); ++i) a[i] = Between(a[i], b[i], t);
  return a;
}

// `a` with everything but its weights moved towards b.
model::QuantizedModel SurroundingsBetween(model::QuantizedModel a, const model::QuantizedModel& b, double t) {
  for (size_t v = 0; v < a.values.size(); ++v) {
    if (a.values[v].coding)
      a.values[v].coding->scale = Between(a.values[v].coding->scale, b.values[v].coding->scale, t);
  }
  for (size_t n = 0; n < a.nodes.size(); ++n) {
    const model::Affine* other = model::AffineOf(b.nodes[n]);
    if (other == nullptr) continue;
    std::visit(
        [&](auto& operation) {
          if constexpr (requires { operation.affine; }) {
            operation.affine.bias = Between(operation.affine.bias, other->bias, 0.0f, t);
            operation.affine.multiplier = Between(operation.affine.multiplier, other->multiplier, 1.0f, t);
          }
        },
        a.nodes[n].operation);
  }
  return a;
}

}  // namespace

void CheckLine(const model::QuantizedModel& a, const LineTo& to) {
  const model::QuantizedModel& b = to.model;
  bool same =
      a.nodes.size() == b.nodes.size() && a.weights.size() == b.weights.size() && a.values.size() == b.values.size();
  for (size_t i = 0; same && i < a.nodes.size(); ++i)
    same = a.nodes[i].operation.index() == b.nodes[i].operation.index() && a.nodes[i].inputs == b.nodes[i].inputs &&
           model::WeightOf(a.nodes[i]) == model::WeightOf(b.nodes[i]);
  for (size_t i = 0; same && i < a.weights.size(); ++i) same = a.weights[i].shape == b.weights[i].shape;
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
    Tensor own = direction.narrow(0, part.offset, part.count).view({part.outputs, -1});
    const Tensor weights = network.weights().narrow(0, part.offset, part.count).view({part.outputs, -1});
    own *= weights.norm(2, {1}, true) / own.norm(2, {1}, true);
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
