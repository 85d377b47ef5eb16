// What a user says of memories, and what follows from it: on which chip parameters lie, what of them can fail, and how
// codes are stored.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "steadfast/memory/chip.h"         // Chip
#include "steadfast/memory/fault_model.h"  // FaultModel
#include "steadfast/memory/where.h"        // Where

namespace steadfast::memory {

// As typed; empty, or nothing: not said.
struct MemoryChoice {
  std::string where, chip;       // chip: a name, or a file
  std::optional<int> word_bits;  // without a chip; 32 where it is not said
};

struct Memories {
  Where where;
  std::optional<Chip> chip;
  int word_bits;
  // How codes are stored: as the chip says, or as was typed (several: comma-separated); throws UsageError where the two
  // differ.
  std::string EncodingsOr(const std::string& typed) const;
};
// Where nothing is said, weights can fail; with a chip, or a fault that says where it is (flip@biases), everything.
// Throws UsageError where a chip and a word's width are given, or only some of the faults say where they are.
Memories MemoriesOf(const MemoryChoice& choice, const std::vector<FaultModel>& faults);

}  // namespace steadfast::memory
