// A training step of LeNet-5, batch 128, one thread: quantization-aware and SAQ against LibTorch's own float32 step of
// the same network with the same optimizer, in turn.
#include <dlfcn.h>
#include <malloc.h>

#include <cstdio>

#include "bench/libtorch_networks.h"
#include "steadfast/train/optimizer_step.h"

namespace {

using namespace steadfast;

constexpr int kSteps = 40, kRounds = 7;

struct Ours {
  recipe::Recipe recipe;
  std::unique_ptr<train::Network> network;
  std::unique_ptr<torch::optim::Optimizer> optimizer;

  explicit Ours(const char* sharpness, const char* sparsity) {
    recipe::ParseSharpness(sharpness, recipe);
    recipe::ParseSparsity(sparsity, recipe);
    network = train::MakeNetwork(recipe, {{1, 28, 28}, 10});
    optimizer = train::MakeOptimizer(recipe, *network);
  }
  void Step(const torch::Tensor& images, const torch::Tensor& labels) {
    train::OptimizerStep(recipe, *network, *optimizer, [&](bool) {
      train::Pass pass{.training = true};
      auto loss = torch::nn::functional::cross_entropy(network->Forward(pass, {images, 0}).tensor, labels);
      for (const auto& sums : pass.penalties) loss = loss + sums.sum * (recipe.sparsity_strength / 128);
      return loss;
    });
  }
};

}  // namespace

int main() {
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // as steadfast-train does, for both
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  at::set_num_threads(1);
  if (auto* set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(1);
  const auto images = torch::randn({128, 1, 28, 28});
  const auto labels = torch::randint(10, {128}, torch::kLong);
  auto theirs = bench::LibTorchLeNet5();
  torch::optim::Adam adam(theirs->parameters(), torch::optim::AdamOptions(1e-3));
  Ours qat("none", "none"), sparse("none", "l1:1e-4"), saq("saq:0.1", "none"), sparse_saq("saq:0.1", "l1:1e-4");
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
      for (int i = 0; i < kSteps; ++i) {
        adam.zero_grad();
        torch::nn::functional::cross_entropy(theirs->forward(images), labels).backward();
        adam.step();
      }
    });
    if (round > 0) float_seconds.push_back(reference);
    for (Row& row : rows) {
      const double seconds = bench::Seconds([&] {
        for (int i = 0; i < kSteps; ++i) row.ours->Step(images, labels);
      });
      if (round == 0) continue;  // warm-up
      row.seconds.push_back(seconds);
      row.ratios.push_back(reference / seconds);
    }
  }
  std::printf("LibTorch float32: %.0f images/s\n", 128 * kSteps / bench::Median(float_seconds));
  for (const Row& row : rows) {
    std::printf("%-18s %.0f images/s, ratio %.2f (wanted: %.2f)\n", row.name, 128 * kSteps / bench::Median(row.seconds),
                bench::Median(row.ratios), row.wanted);
  }
}
