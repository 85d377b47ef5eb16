#include "steadfast/analysis/one_step_sharpness.h"

#include <algorithm>
#include <cmath>

namespace steadfast::analysis {
namespace {

using torch::Tensor;

constexpr int64_t kImagesAtOnce = 500;

class OneStepMeter {
 public:
  OneStepMeter(train::Network& network, const train::TrainingData& data, int64_t images)
      : network_(network), data_(data) {
    const auto& training = data.split.training;
    indices_.assign(training.begin(),
                    training.begin() + std::min<int64_t>(images, static_cast<int64_t>(training.size())));
  }

  // Mean loss over the images; with gradients to the quantized weights where asked.
  double Loss(std::vector<Tensor>* gradients = nullptr) {
    const c10::AutoGradMode mode(gradients != nullptr);
    const auto total = static_cast<double>(indices_.size());
    double loss = 0.0;
    for (size_t first = 0; first < indices_.size(); first += kImagesAtOnce) {
      const auto piece = std::span(indices_).subspan(first, std::min<size_t>(kImagesAtOnce, indices_.size() - first));
      const train::Batch batch = train::MakeBatch(data_.images, piece, data_.scale);
      train::Pass pass;
      const Tensor logits = network_.Forward(pass, batch.images);
      const Tensor mean = torch::cross_entropy_loss(logits, batch.labels.to(logits.device()));
      const double weight = static_cast<double>(piece.size()) / total;
      loss += mean.item<double>() * weight;
      if (gradients == nullptr) continue;
      std::vector<Tensor> inputs;
      for (const auto* layer : network_.layers()) inputs.push_back(layer->quantized_weight());
      const auto piece_gradients = torch::autograd::grad({mean}, inputs);
      gradients->resize(inputs.size());
      for (size_t l = 0; l < inputs.size(); ++l) {
        const Tensor part = piece_gradients[l] * weight;
        (*gradients)[l] = (*gradients)[l].defined() ? (*gradients)[l] + part : part;
      }
    }
    return loss;
  }

  double LossAt(const std::vector<Tensor>& direction, double factor) {
    const auto layers = network_.layers();
    for (size_t l = 0; l < layers.size(); ++l) layers[l]->perturbation = direction[l] * factor;
    const double loss = Loss();
    for (auto* layer : layers) layer->perturbation = Tensor();
    return loss;
  }

  int64_t images() const { return static_cast<int64_t>(indices_.size()); }

 private:
  train::Network& network_;
  const train::TrainingData& data_;
  std::vector<int64_t> indices_;
};

double NormOf(const std::vector<Tensor>& tensors) {
  double squares = 0.0;
  for (const Tensor& tensor : tensors) squares += tensor.square().sum().item<double>();
  return std::sqrt(squares);
}

}  // namespace

OneStepSharpness MeasureOneStepSharpness(train::Network& network, const train::TrainingData& data, int64_t images,
                                         std::span<const double> relative_radii, std::span<const double> radii) {
  OneStepMeter meter(network, data, images);
  OneStepSharpness result;
  result.images = meter.images();
  std::vector<Tensor> gradients;
  result.loss = meter.Loss(&gradients);
  std::vector<Tensor> weights;
  for (const auto* layer : network.layers()) weights.push_back(layer->quantized_weight().detach());
  result.weight_norm = NormOf(weights);
  const double gradient_norm = NormOf(gradients) + 1e-12;
  const auto measure = [&](double radius) {
    result.at.push_back(
        {radius / result.weight_norm, radius, meter.LossAt(gradients, radius / gradient_norm) - result.loss});
  };
  for (double relative : relative_radii) measure(relative * result.weight_norm);
  for (double radius : radii) measure(radius);
  return result;
}

}  // namespace steadfast::analysis
