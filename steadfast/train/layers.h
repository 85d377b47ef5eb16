// Layers that are written once and serve training, evaluation and export.
//
// A Flow is what passes between layers: a LibTorch batch, and, while exporting, the value of the QuantizedModel under
// construction that it stands for. A Pass says what is being done.
#pragma once

#include <torch/torch.h>
#include <functional>

#include <cstdint>
#include <string>
#include <vector>

#include "steadfast/data/dataset.h"           // InputScale
#include "steadfast/model/quantized_model.h"  // QuantizedModel
#include "steadfast/recipe/recipe.h"          // Recipe
#include "steadfast/train/quantizers.h"       // WeightQuantizer

namespace steadfast::train {

struct Flow {
  torch::Tensor tensor;  // [n, c, h, w] or [n, c]
  int value = 0;         // index into QuantizedModel::values while exporting
};

struct ActivationPenaltySums {
  torch::Tensor sum;      // scalar
  torch::Tensor squares;  // scalar
};

struct Pass {
  bool training = false;
  model::QuantizedModel* exporting = nullptr;
  std::vector<ActivationPenaltySums> penalties;  // one for each layer with activations, while training with a penalty
};

// What a parameter is, which decides weight decay and what sharpness-aware methods perturb.
enum class ParameterGroup { kWeight, kBias, kNormalization, kActivationStep, kWeightStep };

struct Parameter {
  std::string name;
  torch::Tensor tensor;
  ParameterGroup group;
};

struct LayerSettings {
  const recipe::Recipe* recipe;
  torch::Generator generator;  // for initial weights
  std::vector<Parameter>* parameters;

  recipe::LayerBits bits_of(const std::string& layer) const;
};

// ReLU and quantization of a layer's output, or nothing for the last layer.
class ActivationQuantizer {
 public:
  ActivationQuantizer() = default;
  ActivationQuantizer(const std::string& layer, const LayerSettings& settings);

  torch::Tensor operator()(Pass& pass, const torch::Tensor& x);
  model::ActivationCoding coding() const;

  bool quantized() const { return quantizer_ != recipe::Quantizer::kFloat; }
  int highest_code() const { return (1 << bits_) - 1; }
  int zero_below = 0;        // FATReLU over codes, in evaluation
  bool initialized = false;  // whether the step has been set from a batch

 private:
  recipe::Quantizer quantizer_ = recipe::Quantizer::kLsq;
  bool penalized_ = false, after_quantizer_ = false;
  int bits_ = 8;
  torch::Tensor step_;
};

// A convolution or a fully connected layer with quantized weights, bias, and what follows.
class WeightedLayer {
 public:
  const std::string& name() const { return name_; }
  const torch::Tensor& quantized_weight() const { return quantized_; }  // Q(w) of the last forward pass
  torch::Tensor perturbation;  // added to Q(w), not re-quantized (SAQ's second pass); undefined: none
  ActivationQuantizer& activation() { return activation_; }
  bool has_activation() const { return has_activation_; }

 protected:
  WeightedLayer(std::string name, const LayerSettings& settings, std::vector<int64_t> weight_shape, bool has_activation,
                bool convolution);

  torch::Tensor QuantizeWeight();
  // Activation, and while exporting the node with its output value.
  Flow Finish(Pass& pass, torch::Tensor sums, int input, const std::function<model::Operation(model::Weighted)>& make);

  std::string name_;
  torch::Tensor weight_, bias_, step_;
  WeightQuantizer quantizer_;
  torch::Tensor quantized_;
  bool has_activation_;
  ActivationQuantizer activation_;
};

class ConvolutionLayer : public WeightedLayer {
 public:
  ConvolutionLayer(std::string name, const LayerSettings& settings, int64_t in, int64_t out, model::Window window);
  Flow operator()(Pass& pass, const Flow& input);

 private:
  model::Window window_;
};

class LinearLayer : public WeightedLayer {
 public:
  LinearLayer(std::string name, const LayerSettings& settings, int64_t in, int64_t out, bool last = false);
  Flow operator()(Pass& pass, const Flow& input);
};

Flow MaxPooled(Pass& pass, const Flow& input, const std::string& name, int size);
Flow Flattened(Pass& pass, const Flow& input, const std::string& name);

}  // namespace steadfast::train
