#include "steadfast/memory/memories.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"

namespace steadfast::memory {

Memories MemoriesOf(const MemoryChoice& choice, const std::vector<FaultModel>& faults) {
  Memories memories{{}, {}, choice.word_bits.value_or(32)};
  if (!choice.chip.empty()) {
    if (choice.word_bits)
      throw UsageError("--word-bits: a chip has the words that it says; give one of --chip and --word-bits");
    memories.chip = ReadChip(choice.chip);
    memories.word_bits = memories.chip->memories[0].word_bits;
  }
  bool targeted = false, untargeted = false;
  for (const FaultModel& fault : faults) (NameOf(fault).find('@') != std::string::npos ? targeted : untargeted) = true;
  if (targeted && untargeted && choice.where.empty() && !memories.chip)
    throw UsageError(
        "--fault: some models say where they are (@) and some do not: say with --where what the others hit");
  if (!choice.where.empty())
    memories.where = ParseWhere(choice.where);
  else if (memories.chip || targeted)
    memories.where = ParseWhere("all,activations");
  return memories;
}

std::string Memories::EncodingsOr(const std::string& typed) const {
  const auto encoding = chip ? EncodingOf(*chip) : std::nullopt;
  if (!encoding) return typed;
  const std::string name(NameOf(*encoding));
  if (typed != "twos" && typed != name)
    throw UsageError(fmt::format("--encoding {}: chip {} stores codes as {}", typed, chip->name, name));
  return name;
}

}  // namespace steadfast::memory
