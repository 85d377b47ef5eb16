// LeNet-5 and ResNet-18 (CIFAR) in float32 as a LibTorch user writes them: what Steadfast's speed is compared with.
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace steadfast::bench {

inline torch::nn::Sequential LibTorchLeNet5() {
  using namespace torch::nn;
  return Sequential(Conv2d(Conv2dOptions(1, 6, 5).padding(2)), ReLU(), MaxPool2d(2), Conv2d(6, 16, 5), ReLU(),
                    MaxPool2d(2), Flatten(), Linear(400, 120), ReLU(), Linear(120, 84), ReLU(), Linear(84, 10));
}

struct LibTorchBasicBlockImpl : torch::nn::Module {
  torch::nn::Sequential branch, shortcut;
  LibTorchBasicBlockImpl(int64_t in, int64_t out, int64_t stride) {
    using namespace torch::nn;
    branch = register_module(
        "branch", Sequential(Conv2d(Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false)), BatchNorm2d(out),
                             ReLU(), Conv2d(Conv2dOptions(out, out, 3).padding(1).bias(false)), BatchNorm2d(out)));
    if (stride != 1)
      shortcut = Sequential(Conv2d(Conv2dOptions(in, out, 1).stride(stride).bias(false)), BatchNorm2d(out));
    register_module("shortcut", shortcut);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return torch::relu(branch->forward(x) + (shortcut->is_empty() ? x : shortcut->forward(x)));
  }
};
TORCH_MODULE(LibTorchBasicBlock);

inline torch::nn::Sequential LibTorchResNet18() {
  using namespace torch::nn;
  Sequential network(Conv2d(Conv2dOptions(3, 64, 3).padding(1).bias(false)), BatchNorm2d(64), ReLU());
  int64_t channels = 64;
  for (int stage = 0; stage < 4; ++stage) {
    const int64_t out = 64 << stage;
    network->push_back(LibTorchBasicBlock(channels, out, stage > 0 ? 2 : 1));
    network->push_back(LibTorchBasicBlock(out, out, 1));
    channels = out;
  }
  network->push_back(AdaptiveAvgPool2d(1));
  network->push_back(Flatten());
  network->push_back(Linear(512, 10));
  return network;
}

// Seconds of one call.
template <typename Function>
double Seconds(Function function) {
  const auto start = std::chrono::steady_clock::now();
  function();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace steadfast::bench
