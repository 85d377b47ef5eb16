#include "steadfast/train/layers.h"

#include <fmt/format.h>

#include <cmath>

#include "steadfast/base/error.h"

namespace steadfast::train {
namespace {

using recipe::Quantizer;
using torch::Tensor;

Tensor AddParameter(const LayerSettings& settings, const std::string& name, Tensor tensor, ParameterGroup group) {
  tensor = tensor.to(settings.device);
  tensor.set_requires_grad(true);
  settings.parameters->push_back({name, tensor, group});
  return tensor;
}

// The graph's values, or uniform ones.
Tensor Initial(const LayerSettings& settings, const network::FloatParameter& parameter, double bound) {
  const Tensor tensor = torch::empty(parameter.shape);
  if (parameter.values.empty()) return Tensor(tensor).uniform_(-bound, bound, settings.generator);
  std::copy(parameter.values.begin(), parameter.values.end(), tensor.data_ptr<float>());
  return tensor;
}

// A step that covers with other bits what `scale` covered.
double RescaledStep(float scale, int bits_before, int bits) {
  return double{scale} * ((1 << bits_before) - 1) / ((1 << bits) - 1);
}

std::vector<float> ToVector(const Tensor& tensor) {
  if (!tensor.defined()) return {};
  const Tensor flat = tensor.detach().to(torch::kCPU).contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

}  // namespace

ActivationQuantizer::ActivationQuantizer(const network::FloatGraph& graph, const network::FusedStep& step,
                                         const LayerSettings& settings)
    : quantizer_(settings.recipe->quantizer),
      is_relu_(step.clip && step.clip->lowest == 0),
      is_signed_(step.range == network::OutputRange::kSigned),
      penalized_(is_relu_ && (settings.recipe->sparsity == recipe::Sparsity::kL1 ||
                              settings.recipe->sparsity == recipe::Sparsity::kHoyerSquare)),
      after_quantizer_(settings.recipe->sparsity_after_quantizer),
      clip_(step.clip),
      bits_(recipe::BitsOf(*settings.recipe, step.name).activation_bits) {
  if (step.needs_precision && !recipe::HasBitsOfItsOwn(*settings.recipe, step.name)) bits_ = std::max(bits_, 8);
  if (quantizer_ != Quantizer::kFloat && is_signed_ && bits_ < 2)
    throw UsageError(
        fmt::format("activation_bits: '{}' has values on both sides of 0 (nothing clips them), which take at least 2 "
                    "bits: layer_bits can say so",
                    step.name));
  // All quantizers share LSQ's learned step (ours: SAQ's code and DoReFa clip to a learned range and to [0, 1], and
  // rely on batch normalization, which a network may lack).
  if (quantizer_ != Quantizer::kFloat) {
    step_ = AddParameter(settings, step.name + ".activation_step", torch::ones({1}), ParameterGroup::kActivationStep);
    const network::FloatValue& value = graph.value(step.output);
    if (value.scale > 0) {
      const torch::NoGradGuard no_gradients;
      step_.fill_(RescaledStep(value.scale, value.bits, bits_));
      initialized = true;
    }
  }
}

Tensor ActivationQuantizer::Clipped(const Tensor& x) const {
  if (!clip_) return x;
  if (std::isinf(clip_->highest)) return clip_->lowest == 0 ? torch::relu(x) : torch::clamp_min(x, clip_->lowest);
  return torch::clamp(x, clip_->lowest, clip_->highest);
}

Tensor ActivationQuantizer::operator()(Pass& pass, const Tensor& x) {
  const bool with_sums = pass.training && penalized_;
  if (quantizer_ == Quantizer::kFloat) {
    const Tensor clipped = Clipped(x);
    if (with_sums) pass.penalties.push_back({clipped.sum(), clipped.square().sum()});
    return clipped;
  }
  const int lowest = is_signed_ ? -(1 << (bits_ - 1)) : 0, highest = highest_code() + lowest;
  if (!initialized) {
    const torch::NoGradGuard no_gradients;
    step_.fill_(InitialStep(is_signed_ ? Clipped(x) : torch::relu(x), highest));
    initialized = true;
  }
  const double features = static_cast<double>(x.numel()) / static_cast<double>(x.size(0));
  const double scale = 1.0 / std::sqrt(features * highest);
  // Codes from 0 contain the ReLU.
  if (is_signed_) return LsqQuantize(Clipped(x), step_, lowest, highest, scale);
  const bool has_top = clip_ && !std::isinf(clip_->highest);
  const Tensor below_top = has_top ? torch::clamp_max(x, clip_->highest) : x;
  QuantizedActivations result = LsqQuantizeActivations(below_top, step_, highest, scale, with_sums, after_quantizer_);
  if (with_sums) pass.penalties.push_back({result.sum, result.squares});
  if (zero_below > 0 && !pass.training) {
    return torch::where(result.values < (zero_below - 0.5) * step_, torch::zeros_like(result.values), result.values);
  }
  return result.values;
}

model::ActivationCoding ActivationQuantizer::coding() const {
  return {.bits = bits_,
          .scale = std::max(step_.item<float>(), kSmallestStep),
          .zero_point = is_signed_ ? 1 << (bits_ - 1) : 0,
          .zero_below = zero_below};
}

WeightedLayer::WeightedLayer(const network::FloatGraph& graph, const network::FusedStep& step,
                             const LayerSettings& settings)
    : name_(step.name) {
  const network::FloatNode& node = graph.nodes[static_cast<size_t>(step.node)];
  if (network::WeightOf(node) >= 0) MakeWeight(graph, node, settings);
  if (!step.normalization) return;
  const auto values = [&](int parameter) { return Initial(settings, graph.parameter(parameter), 0); };
  gamma_ = AddParameter(settings, name_ + ".gamma", values(step.normalization->gamma), ParameterGroup::kNormalization);
  beta_ = AddParameter(settings, name_ + ".beta", values(step.normalization->beta), ParameterGroup::kNormalization);
  mean_ = values(step.normalization->mean).to(settings.device);
  variance_ = values(step.normalization->variance).to(settings.device);
  epsilon_ = step.normalization->epsilon;
  is_affine_ = step.normalization->is_affine;
  settings.buffers->push_back({name_ + ".mean", mean_});
  settings.buffers->push_back({name_ + ".variance", variance_});
}

void WeightedLayer::MakeWeight(const network::FloatGraph& graph, const network::FloatNode& node,
                               const LayerSettings& settings) {
  if (const auto* convolution = std::get_if<network::Convolution>(&node.operation)) convolution_ = *convolution;
  const int bias = convolution_ ? convolution_->bias : std::get<network::Linear>(node.operation).bias;
  const network::FloatParameter& weight = graph.parameter(network::WeightOf(node));
  quantizer_ = {settings.recipe->quantizer, recipe::BitsOf(*settings.recipe, name_).weight_bits,
                settings.recipe->narrow, convolution_.has_value()};
  // LibTorch's own default for convolutions and linear layers: uniform within 1 / sqrt(fan in).
  const double bound = 1.0 / std::sqrt(static_cast<double>(weight.elements() / weight.shape[0]));
  weight_ = AddParameter(settings, name_ + ".weight", Initial(settings, weight, bound), ParameterGroup::kWeight);
  if (bias >= 0) {
    bias_ =
        AddParameter(settings, name_ + ".bias", Initial(settings, graph.parameter(bias), bound), ParameterGroup::kBias);
  }
  if (quantizer_.has_step()) {
    const bool has_scale = weight.scale > 0 && quantizer_.kind == Quantizer::kLsq;
    const double start = has_scale ? RescaledStep(weight.scale, weight.bits, quantizer_.bits)
                                   : quantizer_.initial_step(weight_.detach());
    const Tensor initial = torch::full({1}, start);
    step_ = AddParameter(settings, name_ + ".weight_step", initial, ParameterGroup::kWeightStep);
  }
}

Tensor WeightedLayer::Weight() {
  quantized_ = quantizer_(weight_, step_);
  return perturbation.defined() ? quantized_ + perturbation : quantized_;
}

Tensor WeightedLayer::operator()(const Pass& pass, const Tensor& input) {
  Tensor sums = input;
  if (convolution_) {
    const network::Window& w = convolution_->window;
    const bool is_even = w.pad_top == w.pad_bottom && w.pad_left == w.pad_right;
    const Tensor padded =
        is_even ? input : torch::constant_pad_nd(input, {w.pad_left, w.pad_right, w.pad_top, w.pad_bottom});
    const std::vector<int64_t> padding =
        is_even ? std::vector<int64_t>{w.pad_top, w.pad_left} : std::vector<int64_t>{0, 0};
    sums = torch::conv2d(padded, Weight(), bias_, {w.stride_h, w.stride_w}, padding, {w.dilation_h, w.dilation_w},
                         convolution_->groups);
  } else if (has_weight()) {
    sums = torch::linear(input, Weight(), bias_);
  }
  if (!gamma_.defined()) return sums;
  if (is_affine_) return torch::batch_norm(sums, gamma_, beta_, mean_, variance_, false, 0, epsilon_, false);
  const bool updates = pass.training && pass.updates_statistics, keeps = pass.training && !updates;
  return torch::batch_norm(sums, gamma_, beta_, keeps ? Tensor() : mean_, keeps ? Tensor() : variance_, pass.training,
                           pass.momentum, epsilon_, /*cudnn_enabled=*/false);
}

network::StepConstants WeightedLayer::constants() const {
  network::StepConstants constants;
  if (has_weight()) {
    const WeightQuantizer::Stored stored = quantizer_.store(weight_, step_);
    constants.format = quantizer_.format();
    constants.scales = {stored.scale};
    constants.codes = stored.codes;
  }
  constants.bias = ToVector(bias_);
  constants.gamma = ToVector(gamma_);
  constants.beta = ToVector(beta_);
  constants.mean = ToVector(mean_);
  constants.variance = ToVector(variance_);
  return constants;
}

void WeightedLayer::Store(network::FloatGraph& graph, const network::FusedStep& step) const {
  const network::FloatNode& node = graph.nodes[static_cast<size_t>(step.node)];
  const auto store = [&](int parameter, const Tensor& tensor) {
    if (parameter >= 0) graph.parameters[static_cast<size_t>(parameter)].values = ToVector(tensor);
  };
  if (has_weight()) {
    store(network::WeightOf(node), weight_);
    store(convolution_ ? convolution_->bias : std::get<network::Linear>(node.operation).bias, bias_);
  }
  if (!step.normalization) return;
  store(step.normalization->gamma, gamma_);
  store(step.normalization->beta, beta_);
  store(step.normalization->mean, mean_);
  store(step.normalization->variance, variance_);
}

}  // namespace steadfast::train
