// Cost of a fault map of ResNet-18's 44.7 million four-bit weight cells, by rate.
#include <benchmark/benchmark.h>

#include "steadfast/memory/fault_sampler.h"

namespace steadfast::memory {
namespace {

void SampleResNet18(benchmark::State& state, double rate) {
  const std::vector<SampledArray> cells = {{0, 44'700'000}};
  uint64_t trial = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(SampleFaults(KeyOfSeed(1), trial++, cells, rate, CellFault{}));
  }
}
BENCHMARK_CAPTURE(SampleResNet18, rate_1e6, 1e-6)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(SampleResNet18, rate_1e4, 1e-4)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(SampleResNet18, rate_1e2, 1e-2)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace steadfast::memory
