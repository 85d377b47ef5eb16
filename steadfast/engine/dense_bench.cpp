// Images a second of the dense path, for LeNet-5 with random codes, by instruction set, on one thread.
#include <benchmark/benchmark.h>

#include "steadfast/engine/dense.h"
#include "steadfast/model/random_model.h"

namespace steadfast::engine {
namespace {

void LeNet5(benchmark::State& state, InstructionSet set) {
  const auto supported = SupportedInstructionSets();
  if (std::find(supported.begin(), supported.end(), set) == supported.end()) {
    state.SkipWithError("not on this machine");
    return;
  }
  const auto model = model::RandomLeNet5(4, 4, 1);
  const PreparedImages images(model::RandomImages(model, 1024, 2), 784);
  DenseEngine engine(model, set);
  for (auto _ : state) benchmark::DoNotOptimize(engine.Run(images));
  state.SetItemsProcessed(state.iterations() * 1024);
}
BENCHMARK_CAPTURE(LeNet5, portable, InstructionSet::kPortable)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LeNet5, avx2, InstructionSet::kAvx2)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LeNet5, avx512_vnni, InstructionSet::kAvx512Vnni)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(LeNet5, amx_int8, InstructionSet::kAmx)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace steadfast::engine
