#include "steadfast/train/layers.h"

#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/operators/max_pool.h"

#include <cmath>

namespace steadfast::train {
namespace {

using recipe::Quantizer;
using torch::Tensor;

Tensor AddParameter(const LayerSettings& settings, const std::string& name, Tensor tensor, ParameterGroup group) {
  tensor.set_requires_grad(true);
  settings.parameters->push_back({name, tensor, group});
  return tensor;
}

Tensor Uniform(const LayerSettings& settings, at::IntArrayRef shape, double bound) {
  return torch::empty(shape).uniform_(-bound, bound, settings.generator);
}

int AddValue(model::QuantizedModel& model, const std::string& name, model::Node node,
             std::optional<model::ActivationCoding> coding) {
  node.name = name;
  node.output = static_cast<int>(model.values.size());
  model.values.push_back(
      {coding && model::WeightOf(node) ? name + ".codes" : name, model::OutputShape(model, node), coding});
  model.nodes.push_back(std::move(node));
  return static_cast<int>(model.values.size()) - 1;
}

std::vector<float> ToVector(const Tensor& tensor) {
  const Tensor flat = tensor.detach().contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

}  // namespace

recipe::LayerBits LayerSettings::bits_of(const std::string& layer) const {
  const auto found = recipe->layer_bits.find(layer);
  return found != recipe->layer_bits.end() ? found->second
                                           : recipe::LayerBits{recipe->weight_bits, recipe->activation_bits};
}

ActivationQuantizer::ActivationQuantizer(const std::string& layer, const LayerSettings& settings)
    : quantizer_(settings.recipe->quantizer),
      penalized_(settings.recipe->sparsity == recipe::Sparsity::kL1 ||
                 settings.recipe->sparsity == recipe::Sparsity::kHoyerSquare),
      after_quantizer_(settings.recipe->sparsity_after_quantizer),
      bits_(settings.bits_of(layer).activation_bits) {
  // All quantizers share LSQ's learned step (ours: SAQ's code and DoReFa clip to a learned range and to [0, 1], and
  // rely on batch normalization, which a network may lack).
  if (quantizer_ != Quantizer::kFloat) {
    step_ = AddParameter(settings, layer + ".activation_step", torch::ones({1}), ParameterGroup::kActivationStep);
  }
}

Tensor ActivationQuantizer::operator()(Pass& pass, const Tensor& x) {
  const bool with_sums = pass.training && penalized_;
  if (quantizer_ == Quantizer::kFloat) {
    const Tensor positive = torch::relu(x);
    if (with_sums) pass.penalties.push_back({positive.sum(), positive.square().sum()});
    return positive;
  }
  if (!initialized) {
    const torch::NoGradGuard no_gradients;
    step_.fill_(InitialStep(torch::relu(x), highest_code()));
    initialized = true;
  }
  const double features = static_cast<double>(x.numel()) / static_cast<double>(x.size(0));
  const double scale = 1.0 / std::sqrt(features * highest_code());
  QuantizedActivations result = LsqQuantizeActivations(x, step_, highest_code(), scale, with_sums, after_quantizer_);
  if (with_sums) pass.penalties.push_back({result.sum, result.squares});
  if (zero_below > 0 && !pass.training) {
    return torch::where(result.values < (zero_below - 0.5) * step_, torch::zeros_like(result.values), result.values);
  }
  return result.values;
}

model::ActivationCoding ActivationQuantizer::coding() const {
  return {
      .bits = bits_, .scale = std::max(step_.item<float>(), kSmallestStep), .zero_point = 0, .zero_below = zero_below};
}

WeightedLayer::WeightedLayer(std::string name, const LayerSettings& settings, std::vector<int64_t> weight_shape,
                             bool has_activation, bool convolution)
    : name_(std::move(name)), has_activation_(has_activation) {
  quantizer_ = {settings.recipe->quantizer, settings.bits_of(name_).weight_bits, settings.recipe->narrow, convolution};
  int64_t fan_in = 1;
  for (size_t d = 1; d < weight_shape.size(); ++d) fan_in *= weight_shape[d];
  // LibTorch's own default for convolutions and linear layers: uniform within 1 / sqrt(fan in).
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  weight_ = AddParameter(settings, name_ + ".weight", Uniform(settings, weight_shape, bound), ParameterGroup::kWeight);
  bias_ = AddParameter(settings, name_ + ".bias", Uniform(settings, {weight_shape[0]}, bound), ParameterGroup::kBias);
  if (quantizer_.has_step()) {
    const Tensor step = torch::full({1}, quantizer_.initial_step(weight_.detach()));
    step_ = AddParameter(settings, name_ + ".weight_step", step, ParameterGroup::kWeightStep);
  }
  if (has_activation_) activation_ = ActivationQuantizer(name_, settings);
}

Tensor WeightedLayer::QuantizeWeight() {
  quantized_ = quantizer_(weight_, step_);
  return perturbation.defined() ? quantized_ + perturbation : quantized_;
}

Flow WeightedLayer::Finish(Pass& pass, Tensor sums, int input,
                           const std::function<model::Operation(model::Weighted)>& make) {
  Flow output{has_activation_ ? activation_(pass, sums) : sums, 0};
  if (pass.exporting == nullptr) return output;
  model::QuantizedModel& model = *pass.exporting;
  const WeightQuantizer::Stored stored = quantizer_.store(weight_, step_);
  const int weight = model::AddWeights(model, name_ + ".weight", weight_.sizes().vec(), quantizer_.format(),
                                       {stored.scale}, stored.codes);
  model::Node node{"", make(model::AddAffine(model, name_, weight, {}, ToVector(bias_))), {input}, 0};
  node.activation.relu = has_activation_;
  std::optional<model::ActivationCoding> coding;
  if (has_activation_) coding = activation_.coding();
  output.value = AddValue(model, name_, std::move(node), coding);
  if (!has_activation_) model.values.back().name = "logits";
  return output;
}

ConvolutionLayer::ConvolutionLayer(std::string name, const LayerSettings& settings, int64_t in, int64_t out,
                                   model::Window window)
    : WeightedLayer(std::move(name), settings, {out, in, window.kernel_h, window.kernel_w}, true, true),
      window_(window) {}

Flow ConvolutionLayer::operator()(Pass& pass, const Flow& input) {
  const Tensor sums = torch::conv2d(input.tensor, QuantizeWeight(), bias_, {window_.stride_h, window_.stride_w},
                                    {window_.pad_top, window_.pad_left}, {window_.dilation_h, window_.dilation_w});
  return Finish(pass, sums, input.value, [this](model::Weighted weighted) {
    return model::Operation(model::Convolution{std::move(weighted), window_});
  });
}

LinearLayer::LinearLayer(std::string name, const LayerSettings& settings, int64_t in, int64_t out, bool last)
    : WeightedLayer(std::move(name), settings, {out, in}, !last, false) {}

Flow LinearLayer::operator()(Pass& pass, const Flow& input) {
  return Finish(pass, torch::linear(input.tensor, QuantizeWeight(), bias_), input.value,
                [](model::Weighted weighted) { return model::Operation(model::Linear{std::move(weighted)}); });
}

Flow MaxPooled(Pass& pass, const Flow& input, const std::string& name, int size) {
  Flow output{torch::max_pool2d(input.tensor, size), 0};
  if (pass.exporting == nullptr) return output;
  model::QuantizedModel& model = *pass.exporting;
  const model::Window window{.kernel_h = size, .kernel_w = size, .stride_h = size, .stride_w = size};
  output.value = AddValue(model, name, {"", model::MaxPool{window}, {input.value}, 0},
                          model.values[static_cast<size_t>(input.value)].coding);
  return output;
}

Flow Flattened(Pass& pass, const Flow& input, const std::string& name) {
  Flow output{input.tensor.flatten(1), 0};
  if (pass.exporting == nullptr) return output;
  model::QuantizedModel& model = *pass.exporting;
  output.value = AddValue(model, name, {"", model::Flatten{}, {input.value}, 0},
                          model.values[static_cast<size_t>(input.value)].coding);
  return output;
}

}  // namespace steadfast::train
