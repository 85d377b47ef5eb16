#include "steadfast/memory/fault_map.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"

namespace steadfast::memory {

std::string_view NameOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kStuckAt0:
      return "sa0";
    case FaultKind::kStuckAt1:
      return "sa1";
    case FaultKind::kFlip:
      return "flip";
  }
  return "?";
}

FaultKind ParseFaultKind(std::string_view text) {
  for (FaultKind kind : {FaultKind::kStuckAt0, FaultKind::kStuckAt1, FaultKind::kFlip}) {
    if (NameOf(kind) == text) return kind;
  }
  throw UsageError(fmt::format("fault kind: '{}' is not one of flip, sa0, sa1", text));
}

uint8_t ApplyFault(uint8_t pattern, int bit, FaultKind kind) {
  const auto mask = static_cast<uint8_t>(1u << bit);
  switch (kind) {
    case FaultKind::kStuckAt0:
      return static_cast<uint8_t>(pattern & ~mask);
    case FaultKind::kStuckAt1:
      return pattern | mask;
    case FaultKind::kFlip:
      return pattern ^ mask;
  }
  return pattern;
}

model::ModelChange EffectOf(const FaultMap& map, const MemoryImage& image) {
  model::ModelChange change;
  const Encoding encoding = image.layout().encoding;
  for (size_t i = 0; i < map.faults.size();) {
    const int array_index = map.faults[i].bit.array;
    const MemoryArray& array = image.arrays()[static_cast<size_t>(array_index)];
    const int64_t code_index = map.faults[i].bit.cell / array.format.bits;
    const uint8_t stored = array.patterns[static_cast<size_t>(code_index)];
    uint8_t pattern = stored;
    for (; i < map.faults.size() && map.faults[i].bit.array == array_index &&
           map.faults[i].bit.cell / array.format.bits == code_index;
         ++i) {
      pattern = ApplyFault(pattern, static_cast<int>(map.faults[i].bit.cell % array.format.bits), map.faults[i].kind);
    }
    const int before = Decode(array.format, encoding, stored);
    const int after = Decode(array.format, encoding, pattern);
    if (before != after) {
      change.codes.push_back({array_index, code_index, static_cast<int16_t>(before), static_cast<int16_t>(after)});
    }
  }
  return change;
}

}  // namespace steadfast::memory
