#include "steadfast/train/optimizer_step.h"

#include <cmath>

#include "steadfast/base/error.h"

namespace steadfast::train {
namespace {

using recipe::Recipe;
using torch::Tensor;

constexpr double kNormFloor = 1e-12;  // Foret et al.

bool IsStep(ParameterGroup group) {
  return group == ParameterGroup::kActivationStep || group == ParameterGroup::kWeightStep;
}

bool SaqPerturbs(const recipe::PerturbedGroups& groups, ParameterGroup group) {
  switch (group) {
    case ParameterGroup::kWeight:
      return false;  // their quantized values are perturbed instead
    case ParameterGroup::kBias:
      return groups.biases;
    case ParameterGroup::kNormalization:
      return groups.normalization;
    case ParameterGroup::kActivationStep:
      return groups.activation_steps;
    case ParameterGroup::kWeightStep:
      return groups.weight_steps;
  }
  return false;
}

double NormOf(const std::vector<Tensor>& tensors) {
  double squares = 0.0;
  for (const Tensor& tensor : tensors) {
    if (!tensor.defined()) continue;
    const double norm = tensor.norm().item<double>();
    squares += norm * norm;
  }
  return std::sqrt(squares);
}

// Adds perturbations to parameters in place; puts the exact old values back when it ends.
class InPlacePerturbation {
 public:
  void Add(const Tensor& parameter, const Tensor& perturbation) {
    const torch::NoGradGuard no_gradients;
    saved_.emplace_back(parameter, parameter.detach().clone());
    Tensor target = parameter;
    target.add_(perturbation);
  }
  void Restore() {
    const torch::NoGradGuard no_gradients;
    for (auto& [parameter, value] : saved_) parameter.copy_(value);
    saved_.clear();
  }
  ~InPlacePerturbation() { Restore(); }
  InPlacePerturbation() = default;
  InPlacePerturbation(const InPlacePerturbation&) = delete;
  InPlacePerturbation& operator=(const InPlacePerturbation&) = delete;

 private:
  std::vector<std::pair<Tensor, Tensor>> saved_;
};

void KeepStepsPositive(const Network& network) {
  const torch::NoGradGuard no_gradients;
  for (const Parameter& parameter : network.parameters) {
    if (IsStep(parameter.group)) {
      Tensor step = parameter.tensor;
      step.clamp_min_(kSmallestStep);
    }
  }
}

// Scales all gradients down where their norm together is above the recipe's bound (Pascanu et al., ICML 2013).
void ClipGradients(const Recipe& recipe, const Network& network) {
  if (recipe.gradient_clip <= 0) return;
  std::vector<Tensor> gradients;
  for (const Parameter& parameter : network.parameters) gradients.push_back(parameter.tensor.grad());
  const double norm = NormOf(gradients);
  if (norm <= recipe.gradient_clip) return;
  for (Tensor& gradient : gradients) {
    if (gradient.defined()) gradient.mul_(recipe.gradient_clip / norm);
  }
}

double PlainStep(const Recipe& recipe, Network& network, torch::optim::Optimizer& optimizer, const LossFunction& loss) {
  const Tensor value = loss(true);
  optimizer.zero_grad();
  value.backward();
  ClipGradients(recipe, network);
  optimizer.step();
  return value.item<double>();
}

double SamStep(const Recipe& recipe, Network& network, torch::optim::Optimizer& optimizer, const LossFunction& loss) {
  const bool adaptive = recipe.sharpness == recipe::Sharpness::kAsam;
  const Tensor value = loss(true);
  optimizer.zero_grad();
  value.backward();
  std::vector<Tensor> scales, scaled;  // T and T * gradient, T = 1 for SAM and for all but weights
  for (const Parameter& parameter : network.parameters) {
    const Tensor gradient = parameter.tensor.grad();
    const bool weight = parameter.group == ParameterGroup::kWeight;
    scales.push_back(adaptive && weight ? parameter.tensor.detach().abs() + recipe.asam_eta : Tensor());
    scaled.push_back(!gradient.defined() ? Tensor() : scales.back().defined() ? scales.back() * gradient : gradient);
  }
  const double factor = recipe.rho / (NormOf(scaled) + kNormFloor);
  InPlacePerturbation perturbation;
  for (size_t i = 0; i < scaled.size(); ++i) {
    if (!scaled[i].defined()) continue;
    const Tensor direction = scales[i].defined() ? scales[i] * scaled[i] : scaled[i];
    perturbation.Add(network.parameters[i].tensor, direction * factor);
  }
  const Tensor perturbed = loss(false);
  optimizer.zero_grad();
  perturbed.backward();
  perturbation.Restore();
  ClipGradients(recipe, network);
  optimizer.step();
  return value.item<double>();
}

double SaqStep(const Recipe& recipe, Network& network, torch::optim::Optimizer& optimizer, const LossFunction& loss) {
  const Tensor value = loss(true);
  const auto layers = network.layers();
  std::vector<Tensor> inputs;
  for (const WeightedLayer* layer : layers) inputs.push_back(layer->quantized_weight());
  std::vector<Tensor> in_place;
  for (const Parameter& parameter : network.parameters) {
    if (SaqPerturbs(recipe.perturbed, parameter.group)) in_place.push_back(parameter.tensor);
  }
  inputs.insert(inputs.end(), in_place.begin(), in_place.end());
  const auto gradients =
      torch::autograd::grad({value}, inputs, {}, /*retain_graph=*/false, /*create_graph=*/false, /*allow_unused=*/true);
  const double factor = recipe.rho / (NormOf(gradients) + kNormFloor);
  for (size_t l = 0; l < layers.size(); ++l) layers[l]->perturbation = gradients[l] * factor;
  InPlacePerturbation perturbation;
  for (size_t i = 0; i < in_place.size(); ++i) {
    const Tensor& gradient = gradients[layers.size() + i];
    if (gradient.defined()) perturbation.Add(in_place[i], gradient * factor);
  }
  const Tensor perturbed = loss(false);
  optimizer.zero_grad();
  perturbed.backward();
  for (WeightedLayer* layer : layers) layer->perturbation = Tensor();
  perturbation.Restore();
  ClipGradients(recipe, network);
  optimizer.step();
  return value.item<double>();
}

}  // namespace

std::unique_ptr<torch::optim::Optimizer> MakeOptimizer(const Recipe& recipe, const Network& network) {
  std::vector<Tensor> weights, steps, others;
  for (const Parameter& parameter : network.parameters) {
    (parameter.group == ParameterGroup::kWeight ? weights
     : IsStep(parameter.group)                  ? steps
                                                : others)
        .push_back(parameter.tensor);
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
  const auto add = [&](const std::vector<Tensor>& tensors, double weight_decay) {
    if (tensors.empty()) return;
    if (recipe.optimizer == recipe::Optimizer::kAdam) {
      auto options = std::make_unique<torch::optim::AdamOptions>(recipe.learning_rate);
      options->weight_decay(weight_decay);
      groups.emplace_back(tensors, std::move(options));
    } else {
      auto options = std::make_unique<torch::optim::SGDOptions>(recipe.learning_rate);
      options->weight_decay(weight_decay).momentum(recipe.momentum).nesterov(recipe.nesterov && recipe.momentum > 0);
      groups.emplace_back(tensors, std::move(options));
    }
  };
  add(weights, recipe.weight_decay);
  add(steps, recipe.step_weight_decay);
  add(others, 0.0);
  if (recipe.optimizer == recipe::Optimizer::kAdam) {
    return std::make_unique<torch::optim::Adam>(groups, torch::optim::AdamOptions(recipe.learning_rate));
  }
  return std::make_unique<torch::optim::SGD>(groups, torch::optim::SGDOptions(recipe.learning_rate));
}

double LearningRateAt(const Recipe& recipe, int64_t done, int64_t total, int64_t steps_per_epoch) {
  const double warm_up = recipe.warm_up * static_cast<double>(steps_per_epoch);
  if (static_cast<double>(done) < warm_up) return recipe.learning_rate * static_cast<double>(done + 1) / (warm_up + 1);
  switch (recipe.schedule) {
    case recipe::Schedule::kConstant:
      return recipe.learning_rate;
    case recipe::Schedule::kCosine:
      return recipe.learning_rate * 0.5 *
             (1.0 + std::cos(M_PI * static_cast<double>(done) / static_cast<double>(total)));
    case recipe::Schedule::kStep: {
      double rate = recipe.learning_rate;
      for (int epoch : recipe.step_epochs) {
        if (done >= epoch * steps_per_epoch) rate *= recipe.step_factor;
      }
      return rate;
    }
  }
  return recipe.learning_rate;
}

void SetLearningRate(torch::optim::Optimizer& optimizer, double rate) {
  for (auto& group : optimizer.param_groups()) {
    if (auto* adam = dynamic_cast<torch::optim::AdamOptions*>(&group.options())) adam->lr(rate);
    if (auto* sgd = dynamic_cast<torch::optim::SGDOptions*>(&group.options())) sgd->lr(rate);
  }
}

double OptimizerStep(const Recipe& recipe, Network& network, torch::optim::Optimizer& optimizer,
                     const LossFunction& loss) {
  double value = 0.0;
  switch (recipe.sharpness) {
    case recipe::Sharpness::kNone:
      value = PlainStep(recipe, network, optimizer, loss);
      break;
    case recipe::Sharpness::kSam:
    case recipe::Sharpness::kAsam:
      value = SamStep(recipe, network, optimizer, loss);
      break;
    case recipe::Sharpness::kSaq:
      value = SaqStep(recipe, network, optimizer, loss);
      break;
  }
  KeepStepsPositive(network);
  return value;
}

}  // namespace steadfast::train
