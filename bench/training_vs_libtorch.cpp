// A training step, batch 128, one thread: quantization-aware and SAQ against LibTorch's own float32 step of the same
// network with the same optimizer, in turn. LeNet-5 on 28 x 28 images, ResNet-8 and vit on 32 x 32 colour images.
//
//   training_vs_libtorch [NETWORK]
#include <dlfcn.h>
#include <malloc.h>

#include <cstdio>
#include <string>

#include "bench/libtorch_networks.h"
#include "bench/libtorch_vit.h"
#include "steadfast/train/optimizer_step.h"

namespace {

using namespace steadfast;

constexpr int kRounds = 7;

struct Ours {
  recipe::Recipe recipe;
  std::unique_ptr<train::Network> network;
  std::unique_ptr<torch::optim::Optimizer> optimizer;

  Ours(const char* name, const data::ImageShape& shape, const char* sharpness, const char* sparsity) {
    recipe.network = name;
    recipe::ParseSharpness(sharpness, recipe);
    recipe::ParseSparsity(sparsity, recipe);
    network = train::MakeNetwork(recipe, {shape, 10}, {0.01f, 128});
    optimizer = train::MakeOptimizer(recipe, *network);
  }
  void Step(const torch::Tensor& images, const torch::Tensor& labels) {
    train::OptimizerStep(recipe, *network, *optimizer, [&](bool first_pass) {
      train::Pass pass{.training = true, .updates_statistics = first_pass, .penalties = {}};
      auto loss = torch::nn::functional::cross_entropy(network->Forward(pass, images), labels);
      for (const auto& sums : pass.penalties) loss = loss + sums.sum * (recipe.sparsity_strength / 128);
      return loss;
    });
  }
};

// ResNet-8 as anyone would write it for LibTorch.
struct ResidualBlockImpl : torch::nn::Module {
  ResidualBlockImpl(int64_t in, int64_t out, int64_t stride)
      : conv1(register_module("conv1", Convolution(in, out, 3, stride, 1))),
        conv2(register_module("conv2", Convolution(out, out, 3, 1, 1))),
        bn1(register_module("bn1", torch::nn::BatchNorm2d(out))),
        bn2(register_module("bn2", torch::nn::BatchNorm2d(out))) {
    if (stride == 1 && in == out) return;
    shortcut = register_module("shortcut",
                               torch::nn::Sequential(Convolution(in, out, 1, stride, 0), torch::nn::BatchNorm2d(out)));
  }
  static torch::nn::Conv2d Convolution(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding) {
    return torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, kernel).stride(stride).padding(padding).bias(false));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor y = bn2(conv2(torch::relu(bn1(conv1(x)))));
    return torch::relu(y + (shortcut.is_empty() ? x : shortcut->forward(x)));
  }
  torch::nn::Conv2d conv1, conv2;
  torch::nn::BatchNorm2d bn1, bn2;
  torch::nn::Sequential shortcut{nullptr};
};
TORCH_MODULE(ResidualBlock);

torch::nn::Sequential LibTorchResNet8() {
  return torch::nn::Sequential(ResidualBlockImpl::Convolution(3, 16, 3, 1, 1), torch::nn::BatchNorm2d(16),
                               torch::nn::ReLU(), ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2),
                               ResidualBlock(32, 64, 2), torch::nn::AdaptiveAvgPool2d(1), torch::nn::Flatten(),
                               torch::nn::Linear(64, 10));
}

template <typename Theirs>
void Measure(const char* name, const data::ImageShape& shape, Theirs theirs, int steps) {
  const auto images = torch::randn({128, shape.channels, shape.height, shape.width});
  const auto labels = torch::randint(10, {128}, torch::kLong);
  torch::optim::Adam adam(theirs->parameters(), torch::optim::AdamOptions(1e-3));
  Ours qat(name, shape, "none", "none"), sparse(name, shape, "none", "l1:1e-4"), saq(name, shape, "saq:0.1", "none"),
      sparse_saq(name, shape, "saq:0.1", "l1:1e-4");
  struct Row {
    const char* name;
    Ours* ours;
    double wanted;
    std::vector<double> seconds, ratios;
  };
  std::vector<Row> rows = {{"W4A4 LSQ", &qat, 0.70, {}, {}},
                           {"W4A4 LSQ, L1", &sparse, 0.70, {}, {}},
                           {"W4A4 LSQ, SAQ", &saq, 0.35, {}, {}},
                           {"W4A4 LSQ, L1, SAQ", &sparse_saq, 0.35, {}, {}}};
  std::vector<double> float_seconds;
  for (int round = 0; round <= kRounds; ++round) {
    const double reference = bench::Seconds([&] {
      for (int i = 0; i < steps; ++i) {
        adam.zero_grad();
        torch::nn::functional::cross_entropy(theirs->forward(images), labels).backward();
        adam.step();
      }
    });
    if (round > 0) float_seconds.push_back(reference);
    for (Row& row : rows) {
      const double seconds = bench::Seconds([&] {
        for (int i = 0; i < steps; ++i) row.ours->Step(images, labels);
      });
      if (round == 0) continue;  // warm-up
      row.seconds.push_back(seconds);
      row.ratios.push_back(reference / seconds);
    }
  }
  std::printf("%s, LibTorch float32: %.0f images/s\n", name, 128 * steps / bench::Median(float_seconds));
  for (const Row& row : rows) {
    std::printf("%-18s %.0f images/s, ratio %.2f (wanted: %.2f)\n", row.name, 128 * steps / bench::Median(row.seconds),
                bench::Median(row.ratios), row.wanted);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string only = argc > 1 ? argv[1] : "";
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // as steadfast-train does, for both
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  at::set_num_threads(1);
  if (auto* set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(1);
  if (only.empty() || only == "lenet5") Measure("lenet5", {1, 28, 28}, bench::LibTorchLeNet5(), 40);
  if (only.empty() || only == "resnet8") Measure("resnet8", {3, 32, 32}, LibTorchResNet8(), 4);
  if (only.empty() || only == "vit") Measure("vit", {3, 32, 32}, bench::Vit(), 2);
}
