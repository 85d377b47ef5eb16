// LeNet-5 in float32 as a LibTorch user writes it: what Steadfast's speed is compared with.
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
