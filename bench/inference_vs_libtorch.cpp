// A trial with faults in every layer of W4A4 LeNet-5 over 10,000 images, against LibTorch float32 inference of the same
// network, on the same number of threads, in turn.
#include <cstdio>

#include "bench/libtorch_networks.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/parallel.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/model/random_model.h"

int main() {
  using namespace steadfast;
  const torch::NoGradGuard no_gradients;
  constexpr int64_t kImages = 10000;
  constexpr int kRounds = 7;
  const auto model = model::RandomLeNet5(4, 4, 1);
  const auto bytes = model::RandomImages(model, kImages, 2);
  const std::vector<uint8_t> labels(kImages, 1);
  const auto set = engine::MakeEvaluationSet(model, bytes, labels);
  const auto golden = engine::RunGolden(model, set, 0);
  model::ModelChange change;
  for (int tensor = 0; tensor < 5; ++tensor) {
    const int16_t code = model.weights[static_cast<size_t>(tensor)].codes[0];
    change.codes.push_back({tensor, 0, code, static_cast<int16_t>(code == 7 ? -8 : 7)});
  }
  auto network = bench::LibTorchLeNet5();
  network->eval();
  const auto images = torch::randn({kImages, 1, 28, 28});
  for (int threads : {1, AvailableCores()}) {
    at::set_num_threads(threads);
    std::vector<engine::Evaluator> evaluators;
    for (int t = 0; t < threads; ++t) evaluators.emplace_back(model, set);
    std::vector<double> theirs, ours, ratios;
    for (int round = 0; round < kRounds; ++round) {
      theirs.push_back(bench::Seconds([&] {
        for (int64_t first = 0; first < kImages; first += 128)
          network->forward(images.slice(0, first, std::min(first + 128, kImages)));
      }));
      // As many trials as threads, side by side, as campaigns run them.
      ours.push_back(bench::Seconds([&] {
                       ParallelFor(threads, threads, [&](int worker, int64_t) {
                         evaluators[static_cast<size_t>(worker)].Evaluate(change, golden);
                       });
                     }) /
                     threads);
      ratios.push_back(theirs.back() / ours.back());
    }
    std::printf("%d thread%s: LibTorch float32 %.0f images/s, a trial %.0f images/s, ratio %.1f (wanted: 4)\n", threads,
                threads == 1 ? "" : "s", kImages / bench::Median(theirs), kImages / bench::Median(ours),
                bench::Median(ratios));
    if (threads == AvailableCores()) break;
  }
}
