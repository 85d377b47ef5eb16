// One table of ratios: evaluating faults with Steadfast against LibTorch float32 inference of the same network on the
// same threads, and the dense path against oneDNN's int8 convolutions alone. Measured in turn, medians of rounds.
//
//   inference_vs_others [MODEL]    a trained LeNet-5 for Fashion-MNIST; without it, random codes
#include <omp.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <random>

#include "bench/libtorch_networks.h"
#include "bench/onednn_convolutions.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/parallel.h"
#include "steadfast/campaign/loaded_model.h"
#include "steadfast/campaign/sweep.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/memory/fault_map.h"
#include "steadfast/memory/fault_sampler.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/model/random_model.h"

namespace {

using namespace steadfast;

constexpr int kRounds = 5;

void PrintRow(const std::string& what, int threads, double own, const char* other, double others, double wanted) {
  std::printf("%-58s %d thread%s  %12.6f s  %s %9.4f s  ratio %8.1f", what.c_str(), threads, threads == 1 ? " " : "s",
              own, other, others, others / own);
  if (wanted > 0) std::printf("  (wanted: %g)", wanted);
  std::printf("\n");
}

// Seconds of evaluating each of `changes` once, side by side on all threads, per change; and of LibTorch in turn.
struct Measured {
  double own, libtorch;
};
Measured Measure(int threads, const std::vector<model::ModelChange>& changes,
                 const std::function<engine::Evaluator()>& make_evaluator, const engine::Golden& golden,
                 const std::function<void()>& libtorch) {
  std::vector<engine::Evaluator> evaluators;
  for (int t = 0; t < threads; ++t) evaluators.push_back(make_evaluator());
  std::vector<double> own, theirs;
  for (int round = 0; round <= kRounds; ++round) {
    const double a = bench::Seconds([&] {
                       ParallelFor(threads, static_cast<int64_t>(changes.size()), [&](int worker, int64_t i) {
                         evaluators[static_cast<size_t>(worker)].Evaluate(changes[static_cast<size_t>(i)], golden);
                       });
                     }) /
                     static_cast<double>(changes.size());
    const double b = bench::Seconds(libtorch);
    if (round == 0) continue;  // warms up
    own.push_back(a);
    theirs.push_back(b);
  }
  return {bench::Median(own), bench::Median(theirs)};
}

void LeNet5(const model::ModelFile& file, const campaign::TestData& data) {
  const model::QuantizedModel& model = file.model;
  const auto set = engine::MakeEvaluationSet(model, data.images.images, data.images.labels);
  const auto golden = engine::RunGolden(model, set, 0);
  const auto run = engine::MakeGoldenRun(engine::DifferentialPlan(model), set, 0);
  const memory::MemoryImage image(model, {});
  const auto arrays = image.sampled_arrays();
  auto network = bench::LibTorchLeNet5();
  network->eval();
  const int64_t n = data.images.size();
  const auto floats = torch::randn({n, 1, 28, 28});
  const auto libtorch = [&] {
    for (int64_t first = 0; first < n; first += 128) network->forward(floats.slice(0, first, std::min(first + 128, n)));
  };
  const auto at_rate = [&](double rate, int count) {
    std::vector<model::ModelChange> changes;
    for (int trial = 0; trial < count; ++trial) {
      const auto faults = memory::SampleFaults(KeyOfSeed(1), static_cast<uint64_t>(trial), arrays, rate, {});
      changes.push_back(memory::EffectOf(faults, image));
    }
    return changes;
  };
  std::vector<model::ModelChange> single;
  std::mt19937_64 random(1);
  for (int i = 0; i < 400; ++i) {
    int64_t cell = static_cast<int64_t>(random() % static_cast<uint64_t>(image.cells()));
    int array = 0;
    while (cell >= arrays[static_cast<size_t>(array)].cells) cell -= arrays[static_cast<size_t>(array++)].cells;
    single.push_back(memory::EffectOf({{{{array, cell}, memory::FaultKind::kFlip}}}, image));
  }
  for (int threads : {1, AvailableCores()}) {
    at::set_num_threads(threads);
    omp_set_num_threads(threads);
    const auto dense = [&] { return engine::Evaluator(model, set); };
    const auto differential = [&] { return engine::Evaluator(model, set, run); };
    const auto row = [&](const std::string& what, const std::vector<model::ModelChange>& changes,
                         const std::function<engine::Evaluator()>& make, double wanted) {
      const Measured m = Measure(threads, changes, make, golden, libtorch);
      PrintRow(what, threads, m.own, "LibTorch", m.libtorch, wanted);
    };
    row("a trial with faults in every layer (flips at 1e-2)", at_rate(1e-2, 4 * threads), dense, 12);
    row("flips at 1e-3", at_rate(1e-3, 20), differential, 0);
    row("flips at 1e-4", at_rate(1e-4, 40), differential, 0);
    row("flips at 1e-5", at_rate(1e-5, 100), differential, 0);
    row("one random single-bit fault", single, differential, 500);
    campaign::SweepSettings settings;
    settings.model = file.path;
    settings.data.dataset = data.dataset;
    settings.threads = threads;
    const auto sweep = campaign::RunSweep(settings, {});
    const double theirs = bench::Seconds(libtorch);
    const auto faults = static_cast<double>(image.cells());
    PrintRow("a fault of the sweep of all bits", threads, sweep.seconds / faults, "LibTorch", theirs, 0);
    std::printf("  the sweep: %.0f faults x %lld images in %.1f s\n", faults, static_cast<long long>(n), sweep.seconds);
    if (threads == AvailableCores()) break;
  }
  at::set_num_threads(1);
  omp_set_num_threads(1);
  engine::DenseEngine path(model), sparse(model);
  sparse.UseSparsePaths();
  const auto some = set.images.first_blocks(16);
  const double dense_seconds = bench::Seconds([&] { path.Run(some); });
  const double sparse_seconds = bench::Seconds([&] { sparse.Run(some); });
  PrintRow("1,024 images densely, against skipping zeros in every layer", 1, dense_seconds, "sparse  ", sparse_seconds,
           0);
}

void ResNet18() {
  constexpr int64_t kImages = 128;
  at::set_num_threads(1);
  omp_set_num_threads(1);
  const auto model = model::RandomResNet18(4, 4, 1);
  const engine::PreparedImages images(model::RandomImages(model, kImages, 2), model.values[0].shape.elements());
  engine::DenseEngine ours(model);
  bench::OneDnnConvolutions limit(model, kImages);
  auto network = bench::LibTorchResNet18();
  network->eval();
  for (auto& parameter : network->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(torch::MemoryFormat::ChannelsLast));
  }
  const auto floats = torch::randn({kImages, 3, 32, 32}).contiguous(torch::MemoryFormat::ChannelsLast);
  std::vector<double> own, onednn, libtorch;
  for (int round = 0; round <= kRounds; ++round) {
    const double a = bench::Seconds([&] { ours.Run(images); });
    const double b = bench::Seconds([&] { limit.Run(); });
    const double c = bench::Seconds([&] { network->forward(floats); });
    if (round == 0) continue;  // warms up
    own.push_back(a);
    onednn.push_back(b);
    libtorch.push_back(c);
  }
  PrintRow("ResNet-18 (CIFAR), 128 images, end to end", 1, bench::Median(own), "oneDNN's convolutions alone",
           bench::Median(onednn), 0.7);
  PrintRow("ResNet-18 (CIFAR), 128 images, end to end", 1, bench::Median(own), "LibTorch", bench::Median(libtorch), 4);
}

}  // namespace

int main(int argc, char** argv) {
  const torch::NoGradGuard no_gradients;
  std::filesystem::path path = std::filesystem::temp_directory_path() / "steadfast_bench_lenet5.onnx";
  if (argc > 1)
    path = argv[1];
  else
    model::WriteModel(model::RandomLeNet5(4, 4, 1), path);
  std::printf("W4A4 LeNet-5, %s, 10,000 test images of Fashion-MNIST, %s\n", argc > 1 ? argv[1] : "random codes",
              std::string(engine::NameOf(engine::BestInstructionSet())).c_str());
  const model::ModelFile file = model::ReadModelFile(path);
  LeNet5(file, campaign::LoadTestData(file, {"fashion-mnist", {}, 0}));
  ResNet18();
}
