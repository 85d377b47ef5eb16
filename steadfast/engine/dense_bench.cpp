// Images a second of the dense path, for LeNet-5 and ResNet-18 (CIFAR) with random codes, by instruction set, on one
// thread.
#include <benchmark/benchmark.h>

#include "steadfast/engine/dense.h"
#include "steadfast/model/random_model.h"

namespace steadfast::engine {
namespace {

void Run(benchmark::State& state, InstructionSet set, const model::QuantizedModel& model, int64_t n) {
  const auto supported = SupportedInstructionSets();
  if (std::find(supported.begin(), supported.end(), set) == supported.end()) {
    state.SkipWithError("not on this machine");
    return;
  }
  const PreparedImages images(model::RandomImages(model, n, 2), model.values[0].shape.elements());
  DenseEngine engine(model, set);
  for (auto _ : state) benchmark::DoNotOptimize(engine.Run(images));
  state.SetItemsProcessed(state.iterations() * n);
}
void LeNet5(benchmark::State& state, InstructionSet set) {
  Run(state, set, model::RandomLeNet5(4, 4, 1), 1024);
}
void ResNet18(benchmark::State& state, InstructionSet set) {
  Run(state, set, model::RandomResNet18(4, 4, 1), 64);
}
BENCHMARK_CAPTURE(LeNet5, portable, InstructionSet::kPortable)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LeNet5, avx2, InstructionSet::kAvx2)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LeNet5, avx512_vnni, InstructionSet::kAvx512Vnni)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LeNet5, amx_int8, InstructionSet::kAmx)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ResNet18, avx2, InstructionSet::kAvx2)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ResNet18, avx512_vnni, InstructionSet::kAvx512Vnni)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ResNet18, amx_int8, InstructionSet::kAmx)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace steadfast::engine
