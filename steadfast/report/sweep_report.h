// What a sweep found, from the store's rows alone: per layer and bit position, the most critical bits, every fault as
// CSV. Contains no time and no machine: the same sweep gives the same bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/store/store.h"

namespace steadfast::report {

// One fault of a sweep of single bits, or of a pair.
struct SweptFault {
  std::string tensor;
  int64_t index = 0;          // of the code; of a pair: of the code of the lower bit
  int bit = 0;                // 0: least significant
  int64_t second_index = -1;  // of the higher bit of a pair
  int second_bit = -1;
  std::string kind;    // "flip", "sa0", "sa1"
  bool active = true;  // false: the cell holds what the fault makes it hold, and nothing changes (of activations: true)
  int64_t correct = 0, changed = 0, broken = 0, repaired = 0;
  int64_t margin_delta = 0;  // in units of 2^-20
};

// Faults of one tensor at one bit position.
struct BitPositionSummary {
  std::string tensor, kind;
  int bit = 0;
  int64_t faults = 0;
  double mean_accuracy = 0, worst_accuracy = 0;  // shares
  double harmless_share = 0;                     // of the faults: no prediction changes
  double mean_changed = 0;                       // predictions
  double mean_margin_change = 0;                 // of the correct class, in logits
};

// How many bits the tensors hold that a sweep of single bits has anything of, and how many of them it flipped: fewer,
// of a sample, or of a sweep that was interrupted.
struct SweptBits {
  int64_t flipped = 0, all = 0;
  bool is_whole() const { return flipped == all; }
};
SweptBits BitsOf(const store::SweepRow& sweep, const std::vector<store::SweepPart>& parts);
int64_t EvaluatedFaults(const store::SweepPart& part);  // those that can be

// Where a bit lies on the chip.
struct SweptPlace {
  std::string memory;
  int64_t bank = 0, row = 0, column = 0;
};
using PlaceOfBit = std::function<SweptPlace(const std::string& tensor, int64_t index, int bit)>;

// What distinguishes a sweep from one of all bits of weights, in words; empty: nothing.
std::string WhatWasSwept(const store::SweepRow& sweep);

struct SweepReport {
  store::ModelRow model;
  store::SweepRow sweep;
  std::vector<std::string> kinds;
  SweptBits bits;                             // not of pairs
  std::vector<BitPositionSummary> positions;  // by kind, tensor, bit; all bits of a tensor as bit -1 (also for pairs)
  std::vector<SweptFault>
      most_critical;  // lowest accuracy first, then most changed predictions, the lowest margin, place
};

// kinds: of "flip", "sa0", "sa1"; pairs have flips only. critical: how many of the most critical faults to list.
SweepReport MakeSweepReport(const store::ModelRow& model, const store::SweepRow& sweep,
                            const std::vector<store::SweepPart>& parts, const std::vector<std::string>& kinds,
                            int64_t critical);

// Calls visit(fault) for every fault of these kinds that was evaluated.
void ForEachFault(const store::ModelRow& model, const store::SweepRow& sweep,
                  const std::vector<store::SweepPart>& parts, const std::vector<std::string>& kinds,
                  const std::function<void(const SweptFault&)>& visit);

std::string ToText(const SweepReport& report);
nlohmann::json ToJson(const SweepReport& report, const PlaceOfBit& place_of);
// One row a fault (docs/formats.md).
std::string SweepCsv(const store::ModelRow& model, const store::SweepRow& sweep,
                     const std::vector<store::SweepPart>& parts, const std::vector<std::string>& kinds,
                     const PlaceOfBit& place_of);

}  // namespace steadfast::report
