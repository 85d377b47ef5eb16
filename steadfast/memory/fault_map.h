// Faults in the memory that holds a network's parameters.
//
// A FaultMap lists which bits of a MemoryImage misbehave and how. Its effect is pure: the same image and map always
// give the same change, and a stuck-at fault applied twice is applied once.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "steadfast/memory/memory_image.h"  // BitAddress, MemoryImage
#include "steadfast/model/model_change.h"   // ModelChange
#include "steadfast/model/value_faults.h"   // ValueFaults

namespace steadfast::memory {

// kLevelUp and kLevelDown: a cell of several bits reads as the next level above or below, where there is one; the fault
// names the lowest bit of the cell that holds something.
enum class FaultKind : uint8_t { kStuckAt0, kStuckAt1, kFlip, kLevelUp, kLevelDown };

inline bool IsOfLevels(FaultKind kind) {
  return kind == FaultKind::kLevelUp || kind == FaultKind::kLevelDown;
}

std::string_view NameOf(FaultKind kind);          // "sa0", "sa1", "flip", "up", "down"
FaultKind ParseFaultKind(std::string_view text);  // throws UsageError

struct Fault {
  BitAddress bit;
  FaultKind kind;
  bool operator==(const Fault&) const = default;
};

struct FaultMap {
  std::vector<Fault> faults;  // sorted by bit; at most one fault a bit, and before it one of the level of the cell
};

// One map of several: a cell that is faulty in more than one sticks where one of them says so (the first, where they
// say different things), and flips once where all say flip.
FaultMap Overlaid(std::vector<FaultMap> maps);

// One fault of one bit applied to a pattern.
uint32_t ApplyFault(uint32_t pattern, int bit, FaultKind kind);

// What faults of buffers do to the values that lie in them: added to `faults` ([value], of all the model's values), for
// one image or, where none is given, for all.
void AddValueFaults(const FaultMap& map, const MemoryImage& image, std::optional<int64_t> of_image,
                    model::ValueFaults& faults);

// What the faults do to the stored elements of parameters: only those that really change appear (a stuck-at fault whose
// cell already held the value, or a pattern that decodes to the same code, changes nothing). Levels drift before bits
// fail.
model::ModelChange EffectOf(const FaultMap& map, const MemoryImage& image);

// The same memory where these faults have struck: what upset reads then meet. Buffers, which hold nothing yet, stay.
MemoryImage Struck(const MemoryImage& image, const FaultMap& map);

}  // namespace steadfast::memory
