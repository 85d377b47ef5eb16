#include "steadfast/analysis/weight_loss.h"

#include <algorithm>

namespace steadfast::analysis {

using torch::Tensor;

namespace {

constexpr int64_t kBatchImages = 250;

Tensor SumOfLosses(const Tensor& logits, const Tensor& labels) {
  return torch::cross_entropy_loss(logits, labels, {}, torch::Reduction::Sum);
}

}  // namespace

WeightLoss::WeightLoss(const model::QuantizedModel& model, Tensor images, Tensor labels, torch::Dtype dtype,
                       const Cancellation* cancellation)
    : network_(model, dtype), images_(std::move(images)), labels_(std::move(labels)), cancellation_(cancellation) {}

WeightLoss::Value WeightLoss::At(const Tensor& perturbation) const {
  const torch::NoGradGuard no_gradients;
  double loss = 0;
  int64_t correct = 0;
  for (int64_t first = 0; first < images(); first += kBatchImages) {
    if (cancellation_ != nullptr) cancellation_->ThrowIfRequested();
    const Tensor labels = labels_.slice(0, first, first + kBatchImages);
    const Tensor logits = network_.Logits(images_.slice(0, first, first + kBatchImages), perturbation);
    loss += SumOfLosses(logits.to(torch::kDouble), labels).item<double>();
    correct += logits.argmax(1).eq(labels).sum().item<int64_t>();
  }
  const auto n = static_cast<double>(images());
  return {loss / n, static_cast<double>(correct) / n};
}

Tensor WeightLoss::Logits() const {
  const torch::NoGradGuard no_gradients;
  std::vector<Tensor> batches;
  for (int64_t first = 0; first < images(); first += kBatchImages) {
    if (cancellation_ != nullptr) cancellation_->ThrowIfRequested();
    batches.push_back(network_.Logits(images_.slice(0, first, first + kBatchImages)));
  }
  return torch::cat(batches);
}

WeightLoss::Slope WeightLoss::SlopeAt(const Tensor& perturbation) const {
  Slope slope{0, torch::zeros_like(weights())};
  for (int64_t first = 0; first < images(); first += kBatchImages) {
    if (cancellation_ != nullptr) cancellation_->ThrowIfRequested();
    const Tensor at =
        (perturbation.defined() ? perturbation.detach().clone() : torch::zeros_like(weights())).set_requires_grad(true);
    const Tensor loss = SumOfLosses(network_.Logits(images_.slice(0, first, first + kBatchImages), at),
                                    labels_.slice(0, first, first + kBatchImages));
    slope.gradient += torch::autograd::grad({loss}, {at})[0];
    slope.loss += loss.item<double>();
  }
  const auto n = static_cast<double>(images());
  slope.loss /= n;
  slope.gradient /= n;
  return slope;
}

Tensor WeightLoss::HessianTimes(const Tensor& v) const {
  Tensor product = torch::zeros_like(weights());
  const Tensor direction = v.to(network_.dtype());
  for (int64_t first = 0; first < images(); first += kBatchImages) {
    if (cancellation_ != nullptr) cancellation_->ThrowIfRequested();
    const Tensor at = torch::zeros_like(weights()).set_requires_grad(true);
    const Tensor loss = SumOfLosses(network_.Logits(images_.slice(0, first, first + kBatchImages), at),
                                    labels_.slice(0, first, first + kBatchImages));
    const Tensor gradient = torch::autograd::grad({loss}, {at}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
    product += torch::autograd::grad({gradient.dot(direction)}, {at})[0];
  }
  return product / static_cast<double>(images());
}

Tensor ImageTensor(const data::ImageSet& set, const std::vector<int64_t>& indices) {
  const int64_t pixels = set.shape.pixels();
  Tensor images = torch::empty(
      {static_cast<int64_t>(indices.size()), set.shape.channels, set.shape.height, set.shape.width}, torch::kByte);
  for (size_t i = 0; i < indices.size(); ++i) {
    std::copy_n(set.images.begin() + indices[i] * pixels, pixels,
                images.data_ptr<uint8_t>() + static_cast<int64_t>(i) * pixels);
  }
  return images;
}

Tensor LabelTensor(const data::ImageSet& set, const std::vector<int64_t>& indices) {
  Tensor labels = torch::empty({static_cast<int64_t>(indices.size())}, torch::kLong);
  for (size_t i = 0; i < indices.size(); ++i) {
    labels[static_cast<int64_t>(i)] = static_cast<int64_t>(set.labels[static_cast<size_t>(indices[i])]);
  }
  return labels;
}

}  // namespace steadfast::analysis
