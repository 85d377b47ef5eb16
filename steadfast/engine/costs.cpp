#include <chrono>
#include <map>
#include <mutex>
#include <vector>

#include "steadfast/engine/kernels.h"

namespace steadfast::engine {
namespace {

// The least of several timings of `work`, in nanoseconds per unit of its `units`.
template <typename Work>
double NanosecondsPer(double units, const Work& work) {
  double least = 1e300;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    least = std::min(least, elapsed.count());
  }
  return least / units;
}

KernelCosts Measure(const Kernels& kernels) {
  kernels.prepare();
  constexpr int kTaps = 32, kRepeats = 20;
  const std::vector<uint8_t> rows(kTaps * kQuadBytes, 3);
  std::vector<uint8_t> quads((kTaps + kQuadsBehind) * kQuadBytes, 3), codes(kRowBytes);
  std::vector<int32_t> offsets, sums(kMostOutputsPerCall * kBlockImages, 0);
  for (int t = 0; t < kTaps; ++t) offsets.push_back(t * kQuadBytes);
  const auto products = [&](int outputs) {
    std::vector<uint32_t> weights;
    kernels.pack(std::vector<uint32_t>(static_cast<size_t>(kTaps * outputs), 0x01020301), kTaps, outputs, 15, weights);
    return NanosecondsPer(kRepeats * kTaps * outputs, [&] {
      for (int i = 0; i < kRepeats; ++i)
        kernels.products(quads.data(), offsets.data(), kTaps, weights.data(), outputs, sums.data(), kBlockImages,
                         sums.data());
    });
  };
  KernelCosts costs{};
  costs.tap = products(kernels.outputs_per_call);
  costs.lone_tap = products(1);
  costs.quad = NanosecondsPer(kRepeats * kTaps, [&] {
    for (int i = 0; i < kRepeats * kTaps; ++i) {
      const uint8_t* row = rows.data() + i % kTaps * kQuadBytes;
      const uint8_t* const sources[4] = {row, row + kRowBytes, row + 2 * kRowBytes, row + 3 * kRowBytes};
      kernels.make_quad(sources, quads.data() + i % kTaps * kQuadBytes);
    }
  });
  costs.row = NanosecondsPer(kRepeats * kTaps, [&] {
    for (int i = 0; i < kRepeats * kTaps; ++i)
      kernels.add_scaled_row(rows.data() + i % kTaps * kRowBytes, 3, sums.data(), sums.data());
  });
  costs.code_row = NanosecondsPer(kRepeats * kTaps, [&] {
    for (int i = 0; i < kRepeats * kTaps; ++i)
      kernels.requantize(sums.data(), i, {0.01f, 0.5f, 0.0f, 15.0f, 0}, codes.data());
  });
  costs.compress = NanosecondsPer(kRepeats * kTaps, [&] {
    for (int i = 0; i < kRepeats * kTaps; ++i)
      kernels.compress_row(rows.data() + i % kTaps * kRowBytes, 0x123456789ABCDEF0, codes.data());
  });
  return costs;
}

}  // namespace

const KernelCosts& CostsOf(InstructionSet set) {
  static std::mutex mutex;
  static std::map<InstructionSet, KernelCosts> measured;
  const std::lock_guard lock(mutex);
  const auto found = measured.find(set);
  return found != measured.end() ? found->second : measured.emplace(set, Measure(KernelsOf(set))).first->second;
}

}  // namespace steadfast::engine
