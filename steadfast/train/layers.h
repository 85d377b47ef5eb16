// What a fused step of a network needs for training: quantizers, weights, normalization.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "steadfast/model/quantized_model.h"   // ActivationCoding
#include "steadfast/network/fusion.h"          // FusedStep
#include "steadfast/network/quantized_step.h"  // StepConstants
#include "steadfast/recipe/recipe.h"           // Recipe
#include "steadfast/train/libtorch.h"
#include "steadfast/train/quantizers.h"  // WeightQuantizer

namespace steadfast::train {

struct ActivationPenaltySums {
  torch::Tensor sum;      // scalar
  torch::Tensor squares;  // scalar
};

// What a forward pass is for, and what it leaves behind.
struct Pass {
  bool training = false;
  bool updates_statistics = true;                // of normalization, while training
  double momentum = 0.1;                         // of running statistics; LibTorch's default
  std::vector<ActivationPenaltySums> penalties;  // one for each ReLU, while training with a penalty
};

// What a parameter is, which decides weight decay and what sharpness-aware methods perturb.
enum class ParameterGroup { kWeight, kBias, kNormalization, kActivationStep, kWeightStep };

struct Parameter {
  std::string name;
  torch::Tensor tensor;
  ParameterGroup group;
};

// What a network keeps beside its parameters: running statistics.
struct Buffer {
  std::string name;
  torch::Tensor tensor;
};

struct LayerSettings {
  const recipe::Recipe* recipe;
  torch::Generator generator;  // for initial weights
  torch::Device device;
  std::vector<Parameter>* parameters;
  std::vector<Buffer>* buffers;
};

// Clipping and quantization of a step's output.
class ActivationQuantizer {
 public:
  // Starts from the scale that the step's output had in a quantized network, if it had one.
  ActivationQuantizer(const network::FloatGraph& graph, const network::FusedStep& step, const LayerSettings& settings);

  torch::Tensor operator()(Pass& pass, const torch::Tensor& x);
  model::ActivationCoding coding() const;

  bool is_relu() const { return is_relu_; }
  int highest_code() const { return (1 << bits_) - 1; }
  int zero_below = 0;        // FATReLU over codes, in evaluation
  bool initialized = false;  // whether the step has been set from a batch

 private:
  torch::Tensor Clipped(const torch::Tensor& x) const;

  recipe::Quantizer quantizer_;
  bool is_relu_, is_signed_, penalized_, after_quantizer_;
  std::optional<network::Clip> clip_;
  int bits_;
  torch::Tensor step_;
};

// A convolution or a fully connected layer with quantized weights, bias, and normalization behind it; or a
// normalization that stands alone.
class WeightedLayer {
 public:
  WeightedLayer(const network::FloatGraph& graph, const network::FusedStep& step, const LayerSettings& settings);

  torch::Tensor operator()(const Pass& pass, const torch::Tensor& input);
  network::StepConstants constants() const;
  void Store(network::FloatGraph& graph, const network::FusedStep& step) const;  // its values now

  const std::string& name() const { return name_; }
  bool has_weight() const { return weight_.defined(); }
  const torch::Tensor& quantized_weight() const { return quantized_; }  // Q(w) of the last forward pass
  torch::Tensor perturbation;  // added to Q(w), not re-quantized (SAQ's second pass); undefined: none

 private:
  void MakeWeight(const network::FloatGraph& graph, const network::FloatNode& node, const LayerSettings& settings);
  torch::Tensor Weight();

  const std::string name_;
  std::optional<network::Convolution> convolution_;  // otherwise fully connected
  torch::Tensor weight_, bias_, step_;               // may be undefined
  torch::Tensor gamma_, beta_, mean_, variance_;     // undefined: no normalization
  double epsilon_ = 0;
  bool is_affine_ = false;
  WeightQuantizer quantizer_;
  torch::Tensor quantized_;
};

}  // namespace steadfast::train
