// One optimization step, plain or sharpness-aware, around any LibTorch optimizer.
//
// SAM: Foret et al., ICLR 2021. ASAM: Kwon et al., ICML 2021. SAQ: Liu, Cai, Zhuang, arXiv 2111.12273: the perturbation
// is added to the quantized weights, and the second pass does not quantize them again.
#pragma once

#include <functional>
#include <memory>

#include "steadfast/recipe/recipe.h"  // Recipe
#include "steadfast/train/libtorch.h"
#include "steadfast/train/network.h"  // Network

namespace steadfast::train {

// The optimizer of a recipe over the network's parameters: weight decay on weights, its own on steps, none elsewhere.
std::unique_ptr<torch::optim::Optimizer> MakeOptimizer(const recipe::Recipe& recipe, const Network& network);

// The learning rate after `done` of `total` steps, `steps_per_epoch` each epoch.
double LearningRateAt(const recipe::Recipe& recipe, int64_t done, int64_t total, int64_t steps_per_epoch);
void SetLearningRate(torch::optim::Optimizer& optimizer, double rate);

// Computes the loss of the current batch at the current parameters, with a graph for gradients. Called once for a plain
// step, twice for a sharpness-aware one (first_pass tells which).
using LossFunction = std::function<torch::Tensor(bool first_pass)>;

// Does one step; gives the loss of the first pass. Steps (of quantizers) stay positive.
double OptimizerStep(const recipe::Recipe& recipe, Network& network, torch::optim::Optimizer& optimizer,
                     const LossFunction& loss);

}  // namespace steadfast::train
