#include "steadfast/memory/fault_sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "steadfast/base/error.h"

namespace steadfast::memory {
namespace {

const std::vector<SampledArray> kCells = {
    {0, 600}, {1, 9600}, {2, 192000}, {3, 40320}, {4, 3360}};  // LeNet-5 at four bits

std::set<BitAddress> Bits(const FaultMap& map) {
  std::set<BitAddress> bits;
  for (const Fault& fault : map.faults) bits.insert(fault.bit);
  return bits;
}

TEST(SampleFaults, AreSortedAndOnePerCell) {
  const FaultMap map = SampleFaults(KeyOfSeed(1), 0, kCells, 0.3, ParseCellFault("flip"));
  for (size_t i = 1; i < map.faults.size(); ++i) ASSERT_LT(map.faults[i - 1].bit, map.faults[i].bit);
}

TEST(SampleFaults, ALowerRateIsASubset) {
  for (uint64_t trial = 0; trial < 5; ++trial) {
    std::set<BitAddress> higher = Bits(SampleFaults(KeyOfSeed(1), trial, kCells, 1.0, ParseCellFault("flip")));
    EXPECT_EQ(static_cast<int64_t>(higher.size()), 245880);
    for (double rate : {0.9, 0.5, 0.1, 0.0999, 1e-2, 1e-3, 1e-5, 1e-9, 0.0}) {
      const std::set<BitAddress> lower = Bits(SampleFaults(KeyOfSeed(1), trial, kCells, rate, ParseCellFault("flip")));
      ASSERT_TRUE(std::includes(higher.begin(), higher.end(), lower.begin(), lower.end())) << rate;
      higher = lower;
    }
    EXPECT_TRUE(higher.empty());
  }
}

TEST(SampleFaults, MeetsTheSameCellsWhateverTheKind) {
  for (const char* kind : {"sa0", "sa1", "mixed:0.25"}) {
    EXPECT_EQ(Bits(SampleFaults(KeyOfSeed(5), 9, kCells, 0.01, ParseCellFault(kind))),
              Bits(SampleFaults(KeyOfSeed(5), 9, kCells, 0.01, ParseCellFault("flip"))));
  }
}

TEST(SampleFaults, DependOnSeedAndTrial) {
  const auto bits = [](uint64_t seed, uint64_t trial) {
    return Bits(SampleFaults(KeyOfSeed(seed), trial, kCells, 0.01, ParseCellFault("flip")));
  };
  EXPECT_EQ(bits(1, 2), bits(1, 2));
  EXPECT_NE(bits(1, 2), bits(2, 2));
  EXPECT_NE(bits(1, 2), bits(1, 3));
}

// Counts over many trials against the binomial law: mean and variance within five standard errors.
TEST(SampleFaults, CountsAreBinomial) {
  const std::vector<SampledArray> cells = {{0, 4000}};
  constexpr int kTrials = 1000;
  for (double rate : {1e-4, 3e-3, 0.1, 0.6, 0.99}) {
    double sum = 0, squares = 0;
    for (uint64_t trial = 0; trial < kTrials; ++trial) {
      const auto count =
          static_cast<double>(SampleFaults(KeyOfSeed(11), trial, cells, rate, ParseCellFault("flip")).faults.size());
      sum += count;
      squares += count * count;
    }
    const double mean = sum / kTrials, variance = squares / kTrials - mean * mean;
    const double expected = 4000 * rate, expected_variance = expected * (1 - rate);
    EXPECT_NEAR(mean, expected, 5 * std::sqrt(expected_variance / kTrials)) << rate;
    EXPECT_NEAR(variance / expected_variance, 1.0, 5 * std::sqrt((2 + 1 / expected_variance) / kTrials)) << rate;
  }
}

// Positions against the uniform law, over blocks of 2^20 cells too: chi-squared over 64 bins, far tail excluded.
TEST(SampleFaults, PositionsAreUniform) {
  const std::vector<SampledArray> cells = {{0, 3'200'000}};
  for (double rate : {1e-6, 1e-3}) {
    std::vector<double> bins(64, 0.0);
    double total = 0;
    for (uint64_t trial = 0; trial < (rate < 1e-4 ? 2000u : 5u); ++trial) {
      for (const Fault& fault : SampleFaults(KeyOfSeed(13), trial, cells, rate, ParseCellFault("flip")).faults) {
        ++bins[static_cast<size_t>(fault.bit.cell / 50000)];
        ++total;
      }
    }
    double chi_squared = 0;
    for (double bin : bins) chi_squared += (bin - total / 64) * (bin - total / 64) / (total / 64);
    EXPECT_LT(chi_squared, 63 + 5 * std::sqrt(2 * 63.0)) << rate;
    EXPECT_GT(chi_squared, 63 - 5 * std::sqrt(2 * 63.0)) << rate;
  }
}

TEST(SampleFaults, ResolvesTinyRates) {
  const std::vector<SampledArray> cells = {{0, int64_t{1} << 33}};
  double faults = 0;
  for (uint64_t trial = 0; trial < 40; ++trial) {
    faults +=
        static_cast<double>(SampleFaults(KeyOfSeed(17), trial, cells, 1e-11, ParseCellFault("flip")).faults.size());
  }
  const double expected = 40 * 1e-11 * static_cast<double>(cells[0].cells);  // 3.4
  EXPECT_NEAR(faults, expected, 5 * std::sqrt(expected));
}

TEST(SampleFaults, MixedStuckAtHasItsOdds) {
  const FaultMap map = SampleFaults(KeyOfSeed(1), 0, kCells, 0.5, ParseCellFault("mixed:0.2"));
  const auto n = static_cast<double>(map.faults.size());
  const auto ones = static_cast<double>(std::count_if(
      map.faults.begin(), map.faults.end(), [](const Fault& fault) { return fault.kind == FaultKind::kStuckAt1; }));
  EXPECT_NEAR(ones / n, 0.2, 5 * std::sqrt(0.16 / n));
}

// A cell that holds 0 rises with probability UP of the rate, one that holds 1 falls with DOWN; the cells are those that
// a flip would meet, whatever the model holds.
TEST(SampleFaults, AsymmetricFaultsHaveTheirOdds) {
  const FaultMap map = SampleFaults(KeyOfSeed(1), 0, kCells, 0.5, ParseCellFault("asymmetric:0.5:0.2"));
  const std::set<BitAddress> flips = Bits(SampleFaults(KeyOfSeed(1), 0, kCells, 0.5, ParseCellFault("flip")));
  double rise = 0, fall = 0;
  for (const Fault& fault : map.faults) {
    ASSERT_TRUE(flips.contains(fault.bit));
    rise += fault.kind != FaultKind::kStuckAt0;
    fall += fault.kind != FaultKind::kStuckAt1;
  }
  const auto n = static_cast<double>(flips.size());
  EXPECT_NEAR(rise / n, 0.5, 4 * std::sqrt(0.25 / n));
  EXPECT_NEAR(fall / n, 0.2, 4 * std::sqrt(0.16 / n));
  EXPECT_EQ(SampleFaults(KeyOfSeed(1), 0, kCells, 0.5, ParseCellFault("asymmetric:0:0")).faults.size(), 0u);
  EXPECT_EQ(NameOf(ParseCellFault("asymmetric:0.5:0.2")), "asymmetric:0.5:0.2");
  EXPECT_THROW(ParseCellFault("asymmetric:0.5"), UsageError);
}

// An array's faults are the same whatever other arrays are sampled beside it.
TEST(SampleFaults, DependOnAnArraysNumberAlone) {
  const std::vector<SampledArray> alone = {{3, 40320}};
  const FaultMap map = SampleFaults(KeyOfSeed(4), 2, alone, 0.01, ParseCellFault("flip"));
  const FaultMap all = SampleFaults(KeyOfSeed(4), 2, kCells, 0.01, ParseCellFault("flip"));
  std::vector<int64_t> first, second;
  for (const Fault& fault : map.faults) first.push_back(fault.bit.cell);
  for (const Fault& fault : all.faults) {
    if (fault.bit.array == 3) second.push_back(fault.bit.cell);
  }
  EXPECT_EQ(first, second);
  EXPECT_GT(first.size(), 300u);
}

TEST(SampleFaults, RefusesImpossibleRates) {
  for (double rate : {-0.1, 1.1, std::nan("")}) {
    EXPECT_THROW(SampleFaults(KeyOfSeed(1), 0, kCells, rate, ParseCellFault("flip")), UsageError);
  }
  EXPECT_THROW(ParseCellFault("mixed:2"), UsageError);
  EXPECT_THROW(ParseCellFault("stuck"), UsageError);
}

}  // namespace
}  // namespace steadfast::memory
