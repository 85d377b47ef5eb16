// Dense evaluation of the field's networks, one thread, batches of 128 images, against LibTorch float32 (channels
// last): measured in turn, medians of rounds. Random codes do; no training is needed.
//
//   dense_vs_libtorch [INSTRUCTION_SET]    all that the machine has; without the portable one
//
// To hold LibTorch to AVX2 as well: ATEN_CPU_CAPABILITY=avx2 DNNL_MAX_CPU_ISA=AVX2 dense_vs_libtorch avx2
#include <omp.h>

#include <cstdio>
#include <string>
#include <vector>

#include "bench/dense_networks.h"
#include "bench/libtorch_networks.h"  // Seconds, Median
#include "steadfast/base/machine.h"
#include "steadfast/engine/dense.h"
#include "steadfast/engine/evaluation_set.h"
#include "steadfast/model/random_model.h"

namespace {

using namespace steadfast;

constexpr int kRounds = 5;
constexpr int64_t kImages = 128;

struct Case {
  const char* network;
  model::ValueShape input;
  std::function<void(bench::NetworkBuilder&)> describe;
  std::vector<int> bits;  // of weights and activations
};

void Measure(const Case& c, const std::vector<engine::InstructionSet>& sets) {
  bench::LibTorchBuilder network(c.input);
  c.describe(network);
  const auto floats = torch::randn({kImages, c.input.channels, c.input.height, c.input.width})
                          .contiguous(torch::MemoryFormat::ChannelsLast);
  for (const int bits : c.bits) {
    bench::QuantizedBuilder builder(c.input, bits, bits);
    c.describe(builder);
    const model::QuantizedModel model = builder.Take();
    model::Validate(model);
    const engine::PreparedImages images(model::RandomImages(model, kImages, 2), c.input.elements());
    for (const engine::InstructionSet set : sets) {
      engine::DenseEngine ours(model, set);
      std::vector<double> measured, libtorch;
      for (int round = 0; round <= kRounds; ++round) {
        const double a = bench::Seconds([&] { ours.Run(images); });
        const double b = bench::Seconds([&] { network.Run(floats); });
        if (round == 0) continue;  // warms up
        measured.push_back(a);
        libtorch.push_back(b);
      }
      const double us = bench::Median(measured), them = bench::Median(libtorch);
      std::printf("%-20s W%dA%d  %-12s %8.3f ms an image  LibTorch %8.3f ms  ratio %6.2f\n", c.network, bits, bits,
                  std::string(engine::NameOf(set)).c_str(), us * 1e3 / kImages, them * 1e3 / kImages, them / us);
      std::fflush(stdout);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const torch::NoGradGuard no_gradients;
  at::set_num_threads(1);
  omp_set_num_threads(1);
  std::vector<engine::InstructionSet> sets = engine::SupportedInstructionSets();
  std::erase(sets, engine::InstructionSet::kPortable);
  if (argc > 1) sets = {engine::ParseInstructionSet(argv[1])};
  std::printf("%s; one thread, batches of %ld\n", MachineDescription().c_str(), static_cast<long>(kImages));
  const model::ValueShape colour{3, 32, 32};
  for (const Case& c : {Case{"ResNet-20", colour, [](auto& n) { bench::CifarResNet(n, 3); }, {8, 4}},
                        Case{"MobileNetV2 (CIFAR)", colour, bench::MobileNetV2, {8, 4}},
                        Case{"ResNet-8", colour, [](auto& n) { bench::CifarResNet(n, 1); }, {8}},
                        Case{"DS-CNN", {1, 49, 10}, bench::DsCnn, {8}}}) {
    Measure(c, sets);
  }
}
