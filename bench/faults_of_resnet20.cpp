// Faults of ResNet-20 (random codes, normalized activations) on one thread, against LibTorch float32 inference of the
// same images (channels last, batches of 128): trials at several rates, and single random bits by the third of the
// network that they lie in. Measured in turn.
//
//   faults_of_resnet20 [IMAGES]    512 images where nothing is said
#include <fmt/format.h>
#include <omp.h>

#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "bench/dense_networks.h"
#include "bench/libtorch_networks.h"  // Seconds, Median
#include "steadfast/base/machine.h"
#include "steadfast/base/philox.h"
#include "steadfast/base/text.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/memory/fault_map.h"
#include "steadfast/memory/fault_sampler.h"
#include "steadfast/model/random_model.h"

namespace {

using namespace steadfast;

const model::ValueShape kColour{3, 32, 32};

struct Measured {
  double seconds = 0;  // a change
  double dense = 0;    // the same changes densely
};

void Print(const std::string& what, const Measured& m, double libtorch) {
  std::printf("%-52s %9.3f ms  %7.1f times dense  %7.1f times LibTorch\n", what.c_str(), m.seconds * 1e3,
              m.dense / m.seconds, libtorch / m.seconds);
  std::fflush(stdout);
}

void Measure(int bits, int64_t images, double libtorch) {
  bench::QuantizedBuilder builder(kColour, bits, bits);
  bench::CifarResNet(builder, 3);
  const model::QuantizedModel model = builder.Take();
  model::Validate(model);
  const auto set = engine::MakeEvaluationSet(model, model::RandomImages(model, images, 2),
                                             std::vector<uint16_t>(static_cast<size_t>(images), 1));
  const engine::Golden golden = engine::RunGolden(model, set, 1);
  const auto run = engine::MakeGoldenRun(engine::DifferentialPlan(model), set, 1);
  engine::Evaluator evaluator(model, set, run);
  const memory::MemoryImage image(model, {});
  const auto measure = [&](const std::vector<model::ModelChange>& changes) {
    Measured m;
    for (const auto& change : changes) evaluator.Evaluate(change, golden);  // learns what changes of this kind cost
    for (const auto& change : changes) m.seconds += bench::Seconds([&] { evaluator.Evaluate(change, golden); });
    m.dense = bench::Seconds([&] { evaluator.EvaluateDensely(changes[0], golden); });
    m.seconds /= static_cast<double>(changes.size());
    return m;
  };
  const std::string name = fmt::format("W{}A{}", bits, bits);
  for (const double rate : {1e-2, 1e-3, 1e-4, 1e-5, 1e-6}) {
    std::vector<model::ModelChange> changes;
    for (uint64_t trial = 0; trial < 8; ++trial)
      changes.push_back(
          memory::EffectOf(memory::SampleFaults(KeyOfSeed(1), trial, image.sampled_arrays(), rate, {}), image));
    Print(fmt::format("{}, flips at {:g}", name, rate), measure(changes), libtorch);
  }
  // Bits, uniformly over all of a network, or of a third of its layers.
  const auto arrays = image.sampled_arrays();
  const auto layers = static_cast<int>(arrays.size());
  const auto single = [&](int first, int last, int count) {
    int64_t cells = 0;
    for (int a = first; a < last; ++a) cells += arrays[static_cast<size_t>(a)].cells;
    std::mt19937_64 random(1);
    std::vector<model::ModelChange> changes;
    for (int i = 0; i < count; ++i) {
      auto cell = static_cast<int64_t>(random() % static_cast<uint64_t>(cells));
      int array = first;
      while (cell >= arrays[static_cast<size_t>(array)].cells) cell -= arrays[static_cast<size_t>(array++)].cells;
      changes.push_back(memory::EffectOf({{{{array, cell}, memory::FaultKind::kFlip}}}, image));
    }
    return changes;
  };
  Print(fmt::format("{}, one random bit of all", name), measure(single(0, layers, 60)), libtorch);
  for (int third = 0; third < 3; ++third) {
    Print(fmt::format("{}, one random bit of the layers' third number {}", name, third + 1),
          measure(single(third * layers / 3, (third + 1) * layers / 3, 30)), libtorch);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const torch::NoGradGuard no_gradients;
  at::set_num_threads(1);
  omp_set_num_threads(1);
  const int64_t images = argc > 1 ? ParseInt(argv[1], "IMAGES", 128, 10'000) / 128 * 128 : 512;
  bench::LibTorchBuilder network(kColour);
  bench::CifarResNet(network, 3);
  const auto floats = torch::randn({128, kColour.channels, kColour.height, kColour.width})
                          .contiguous(torch::MemoryFormat::ChannelsLast);
  std::vector<double> seconds;
  for (int round = 0; round < 5; ++round) {
    seconds.push_back(bench::Seconds([&] {
      for (int64_t i = 0; i < images; i += 128) network.Run(floats);
    }));
  }
  const double libtorch = bench::Median(seconds);
  std::printf("%s, %s; ResNet-20, %ld images, one thread; LibTorch float32: %.3f s\n", MachineDescription().c_str(),
              std::string(engine::NameOf(engine::BestInstructionSet())).c_str(), static_cast<long>(images), libtorch);
  for (const int bits : {4, 8}) Measure(bits, images, libtorch);
}
