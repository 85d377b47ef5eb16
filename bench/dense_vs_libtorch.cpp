// Dense evaluation of the field's networks, one thread, batches of 128 images, against LibTorch float32 (channels
// last): measured in turn, medians of rounds. Random codes do; no training is needed.
//
//   dense_vs_libtorch [INSTRUCTION_SET [NETWORK]]    all that the machine has; without the portable one
//
// To hold LibTorch to AVX2 as well: ATEN_CPU_CAPABILITY=avx2 DNNL_MAX_CPU_ISA=AVX2 dense_vs_libtorch avx2
#include <omp.h>

#include <cstdio>
#include <string>
#include <vector>

#include "bench/dense_networks.h"
#include "bench/libtorch_networks.h"  // Seconds, Median
#include "bench/libtorch_vit.h"
#include "steadfast/base/machine.h"
#include "steadfast/engine/dense.h"
#include "steadfast/engine/evaluation_set.h"
#include "steadfast/model/random_model.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/post_training.h"
#include "steadfast/network/test_graphs.h"

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

// A quantized network against `theirs`, which runs kImages images.
void Compare(const char* network, int bits, const model::QuantizedModel& model, const std::function<void()>& theirs,
             const std::vector<engine::InstructionSet>& sets) {
  const engine::PreparedImages images(model::RandomImages(model, kImages, 2), model.values[0].shape.elements());
  for (const engine::InstructionSet set : sets) {
    engine::DenseEngine by_shape(model, set), ours(model, set);
    ours.ChoosePaths(images.first_blocks(1));
    std::vector<double> measured, libtorch, unmeasured;
    for (int round = 0; round <= kRounds; ++round) {
      const double a = bench::Seconds([&] { ours.Run(images); });
      const double b = bench::Seconds(theirs);
      const double c = bench::Seconds([&] { by_shape.Run(images); });
      if (round == 0) continue;  // warms up
      measured.push_back(a);
      libtorch.push_back(b);
      unmeasured.push_back(c);
    }
    const double us = bench::Median(measured), them = bench::Median(libtorch);
    std::printf(
        "%-20s W%dA%d  %-12s %8.3f ms an image  LibTorch %8.3f ms  ratio %6.2f  (without measuring tiles %.2f)\n",
        network, bits, bits, std::string(engine::NameOf(set)).c_str(), us * 1e3 / kImages, them * 1e3 / kImages,
        them / us, them / bench::Median(unmeasured));
    std::fflush(stdout);
  }
}

// Random weights, quantized after "training".
void MeasureVit(const std::vector<engine::InstructionSet>& sets) {
  network::FloatGraph graph = network::MakeBuiltIn("vit", {3, 32, 32}, 10);
  network::Randomize(graph, 1);
  const auto bytes = network::RandomBytes(static_cast<size_t>(8 * graph.values[0].shape.elements()), 3);
  bench::Vit vit;
  vit->eval();
  const auto floats = torch::randn({kImages, 3, 32, 32}).contiguous(torch::MemoryFormat::ChannelsLast);
  for (const int bits : {8, 4}) {
    const model::QuantizedModel model =
        network::Quantize(graph, bytes, {0.01f, 128}, {.weight_bits = bits, .activation_bits = bits, .threads = 1});
    Compare(
        "vit", bits, model, [&] { vit->forward(floats); }, sets);
  }
}

// What ran on rows of 64 images before slices came, and must not be slower now: LeNet-5 and wide layers.
void MeasureEarlier(const std::string& network, const std::vector<engine::InstructionSet>& sets) {
  const bool is_lenet = network == "LeNet-5";
  torch::nn::Sequential theirs = is_lenet ? bench::LibTorchLeNet5() : bench::LibTorchResNet18();
  theirs->eval();
  const int64_t channels = is_lenet ? 1 : 3, side = is_lenet ? 28 : 32;
  const auto floats = torch::randn({kImages, channels, side, side}).contiguous(torch::MemoryFormat::ChannelsLast);
  for (auto& parameter : theirs->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(torch::MemoryFormat::ChannelsLast));
  }
  Compare(
      network.c_str(), 4, is_lenet ? model::RandomLeNet5(4, 4, 1) : model::RandomResNet18(4, 4, 1),
      [&] { theirs->forward(floats); }, sets);
}

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
    Compare(
        c.network, bits, model, [&] { network.Run(floats); }, sets);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const torch::NoGradGuard no_gradients;
  at::set_num_threads(1);
  omp_set_num_threads(1);
  std::vector<engine::InstructionSet> sets = engine::SupportedInstructionSets();
  std::erase(sets, engine::InstructionSet::kPortable);
  const std::string only = argc > 2 ? argv[2] : "";
  if (argc > 1) sets = {engine::ParseInstructionSet(argv[1])};
  std::printf("%s; one thread, batches of %ld\n", MachineDescription().c_str(), static_cast<long>(kImages));
  const model::ValueShape colour{3, 32, 32};
  for (const Case& c : {Case{"ResNet-20", colour, [](auto& n) { bench::CifarResNet(n, 3); }, {8, 4}},
                        Case{"MobileNetV2 (CIFAR)", colour, bench::MobileNetV2, {8, 4}},
                        Case{"ResNet-8", colour, [](auto& n) { bench::CifarResNet(n, 1); }, {8}},
                        Case{"DS-CNN", {1, 49, 10}, bench::DsCnn, {8}}}) {
    if (only.empty() || only == c.network) Measure(c, sets);
  }
  for (const char* network : {"LeNet-5", "ResNet-18"}) {
    if (only.empty() || only == network) MeasureEarlier(network, sets);
  }
  if (only.empty() || only == "vit") MeasureVit(sets);
}
