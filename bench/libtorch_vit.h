// The small vision transformer (steadfast/network/built_in.cpp) as anyone would write it for LibTorch.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

namespace steadfast::bench {

struct VitBlockImpl : torch::nn::Module {
  VitBlockImpl(int64_t width, int64_t head_count)
      : heads(head_count),
        norm1(register_module("norm1", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})))),
        norm2(register_module("norm2", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})))),
        queries(register_module("queries", torch::nn::Linear(width, width))),
        keys(register_module("keys", torch::nn::Linear(width, width))),
        values(register_module("values", torch::nn::Linear(width, width))),
        projection(register_module("projection", torch::nn::Linear(width, width))),
        fc1(register_module("fc1", torch::nn::Linear(width, 2 * width))),
        fc2(register_module("fc2", torch::nn::Linear(2 * width, width))) {}

  torch::Tensor forward(torch::Tensor x) {
    const int64_t images = x.size(0), tokens = x.size(1), width = x.size(2), depth = width / heads;
    torch::Tensor y = norm1(x);
    const auto split = [&](const torch::Tensor& t) { return t.view({images, tokens, heads, depth}).transpose(1, 2); };
    const torch::Tensor q = split(queries(y)), k = split(keys(y)), v = split(values(y));
    const torch::Tensor attention =
        torch::softmax(torch::matmul(q, k.transpose(2, 3)) / std::sqrt(static_cast<double>(depth)), -1);
    x = x + projection(torch::matmul(attention, v).transpose(1, 2).reshape({images, tokens, width}));
    return x + fc2(torch::gelu(fc1(norm2(x))));
  }
  int64_t heads;
  torch::nn::LayerNorm norm1, norm2;
  torch::nn::Linear queries, keys, values, projection, fc1, fc2;
};
TORCH_MODULE(VitBlock);

struct VitImpl : torch::nn::Module {
  explicit VitImpl(int64_t patch = 4, int64_t depth = 6, int64_t width = 64, int64_t heads = 4)
      : patches(register_module("patches", torch::nn::Conv2d(torch::nn::Conv2dOptions(3, width, patch).stride(patch)))),
        positions(register_parameter("positions", torch::randn({1, (32 / patch) * (32 / patch), width}) * 0.1)),
        blocks(register_module("blocks", torch::nn::Sequential())),
        norm(register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({width})))),
        fc(register_module("fc", torch::nn::Linear(width, 10))) {
    for (int64_t i = 0; i < depth; ++i) blocks->push_back(VitBlock(width, heads));
  }
  torch::Tensor forward(const torch::Tensor& images) {
    const torch::Tensor tokens = patches(images).flatten(2).transpose(1, 2) + positions;
    return fc(norm(blocks->forward(tokens)).mean(1));
  }
  torch::nn::Conv2d patches;
  torch::Tensor positions;
  torch::nn::Sequential blocks;
  torch::nn::LayerNorm norm;
  torch::nn::Linear fc;
};
TORCH_MODULE(Vit);

}  // namespace steadfast::bench
