// What faults cost where they are rare: exactly what none and one do, from a sweep, and by importance sampling what
// several do.
//
// At a rate of one fault in a million bits most chips have none, few have one, and plain trials seldom meet what
// matters. A whole sweep knows what each single fault does. Of chips with k >= 2 faults, sets of k bits are drawn of
// which one is likely to be critical by that sweep: with probability r_j it is bit j, r_j a mixture of all bits alike
// (a quarter: a defensive mixture, Hesterberg 1995) and of bits by the accuracy that they cost; the others are any. A
// set S then has the weight (k / N) / sum of r_j over S, at most 4, under which estimates are unbiased (but that a mean
// beyond what is possible is cut there); intervals are those of statistics/bounded_mean.h, scaled by how seldom there
// are several.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/base/philox.h"
#include "steadfast/campaign/campaign.h"          // CampaignProgress, DataChoice
#include "steadfast/memory/fault_map.h"           // FaultKind
#include "steadfast/statistics/cluster_sample.h"  // Estimate

namespace steadfast::campaign {

// Sets of bits, some of which matter more than others.
class CriticalSets {
 public:
  // criticality: [bit], not negative.
  explicit CriticalSets(std::vector<double> criticality);
  struct Drawn {
    std::vector<int64_t> bits;  // ascending
    double weight;              // probability of the set where all are alike, over that by which it was drawn
  };
  // A set of `count` bits; draw: its number.
  Drawn Draw(PhiloxKey key, uint64_t draw, int64_t count) const;
  double WeightOf(const std::vector<int64_t>& bits) const;
  static constexpr double kPlainShare = 0.25;
  int64_t size() const { return static_cast<int64_t>(criticality_.size()); }

 private:
  std::vector<double> criticality_, sums_;
};

// The number of faults among `bits` that each are faulty with probability `rate`, where there are several.
class SeveralFaults {
 public:
  // Throws UsageError where more than 100 are expected.
  SeveralFaults(int64_t bits, double rate);
  double none() const { return none_; }
  double one() const { return one_; }
  double several() const { return several_; }  // the probability of each
  int64_t CountAt(double uniform) const;       // in [0, 1)

 private:
  double none_, one_, several_ = 0;
  std::vector<double> sums_;  // [count - 2]: probability of up to so many
};

struct RareSettings {
  std::filesystem::path model, sweep;  // sweep: a store that holds a whole one, of these bits, on these images
  memory::FaultKind fault = memory::FaultKind::kFlip;  // or stuck
  std::vector<double> rates = {1e-7, 1e-6, 1e-5};      // faults per bit
  int64_t trials = 1000;                               // at each rate, of chips with several faults
  uint64_t seed = 1;
  double floor = 0;  // of accuracy, as a share, below which a chip is lost; 0: none
  memory::Encoding encoding = memory::Encoding::kTwosComplement;
  int word_bits = 32;
  memory::Where where;
  std::optional<memory::Chip> chip;
  DataChoice data;
  int threads = 0;
  int64_t memory_bytes = int64_t{2} << 30;
  std::string command;
};

struct RareEstimate {
  double rate = 0;
  double none = 0, one = 0, several = 0;      // probabilities of so many faults
  double lost_by_one = 0;                     // accuracy, mean over all single faults: exact
  statistics::Estimate lost;                  // accuracy, mean over chips
  double below_by_one = 0;                    // share of single faults that bring accuracy below the floor: exact
  std::optional<statistics::Estimate> below;  // the share of chips below the floor
  double effective_sample_size = 0;           // of the trials
  std::optional<double> plain_trials;  // that would know `lost` as well; nothing: not known, since these do not differ
};

struct RareResult {
  store::ModelRow model;
  int64_t bits = 0;
  std::vector<RareEstimate> rates;
};

// Trials are kept in `store` (or nowhere, where it is empty), as those of a fault list. Throws InputError where the
// sweep's store lacks such a sweep, or part of it.
RareResult RunRare(const RareSettings& settings, const std::filesystem::path& store,
                   const std::function<void(const CampaignProgress&)>& on_progress = {},
                   const Cancellation* cancellation = nullptr);

}  // namespace steadfast::campaign
