// Faults in the memory that holds a network's parameters.
//
// A FaultMap lists which bits of a MemoryImage misbehave and how. Its effect is pure: the same image and map always
// give the same change, and a stuck-at fault applied twice is applied once.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "steadfast/memory/memory_image.h"  // BitAddress, MemoryImage
#include "steadfast/model/model_change.h"   // ModelChange

namespace steadfast::memory {

enum class FaultKind : uint8_t { kStuckAt0, kStuckAt1, kFlip };

std::string_view NameOf(FaultKind kind);          // "sa0", "sa1", "flip"
FaultKind ParseFaultKind(std::string_view text);  // throws UsageError

struct Fault {
  BitAddress bit;
  FaultKind kind;
  bool operator==(const Fault&) const = default;
};

struct FaultMap {
  std::vector<Fault> faults;  // sorted by bit, at most one fault a bit
};

// The pattern that a cell group reads as: one fault applied to one bit of a pattern.
uint32_t ApplyFault(uint32_t pattern, int bit, FaultKind kind);

// What the faults do to the stored elements: only those that really change appear (a stuck-at fault whose cell already
// held the value, or a pattern that decodes to the same code, changes nothing).
model::ModelChange EffectOf(const FaultMap& map, const MemoryImage& image);

}  // namespace steadfast::memory
