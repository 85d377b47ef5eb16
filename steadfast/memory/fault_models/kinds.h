// The fault models there are, one file each, and what they share.
#pragma once

#include "steadfast/memory/fault_law.h"
#include "steadfast/memory/fault_model.h"
#include "steadfast/memory/fault_sampler.h"

namespace steadfast::memory {

FaultProcessPtr MakeCells(const CellFault& fault);
extern const FaultModelKind kRowKind, kColumnKind, kWordKind, kBankKind, kBurstKind, kClusterKind, kDriftKind,
    kExactlyKind, kTableKind;
FaultProcessPtr MakeMixture(std::vector<std::pair<double, FaultModel>> parts);
FaultProcessPtr MakeTransient(FaultModel model);
FaultProcessPtr MakeTargeted(FaultModel model, Where where);

// The fault of a cell that the pieces from `first` on name; flip where there are none.
CellFault CellFaultFrom(const std::vector<std::string>& pieces, size_t first);
// ":sa0", or nothing for flip.
std::string SuffixOf(const CellFault& fault);

// Collects faults of bits, then sorts them.
class FaultCollector {
 public:
  FaultCollector(const Target& target, PhiloxKey key, uint32_t trial, const CellFault& fault)
      : target_(target), key_(key), trial_(trial), fault_(fault) {}
  void Add(BitAddress bit);
  void AddWord(int memory, int64_t word);
  FaultMap Take();

 private:
  const Target& target_;
  PhiloxKey key_;
  uint32_t trial_;
  const CellFault& fault_;
  FaultMap map_;
};

}  // namespace steadfast::memory
