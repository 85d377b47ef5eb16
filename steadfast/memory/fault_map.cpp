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

uint32_t ApplyFault(uint32_t pattern, int bit, FaultKind kind) {
  const uint32_t mask = 1u << bit;
  switch (kind) {
    case FaultKind::kStuckAt0:
      return pattern & ~mask;
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
    const int bits = array.bits();
    const int64_t element = map.faults[i].bit.cell / bits;
    const uint32_t stored = array.patterns[static_cast<size_t>(element)];
    uint32_t pattern = stored;
    for (; i < map.faults.size() && map.faults[i].bit.array == array_index && map.faults[i].bit.cell / bits == element;
         ++i) {
      pattern = ApplyFault(pattern, static_cast<int>(map.faults[i].bit.cell % bits), map.faults[i].kind);
    }
    uint32_t before = stored, after = pattern;
    if (array.format.kind == model::StorageFormat::Kind::kCodes) {
      const model::CodeFormat& format = array.format.codes;
      before = format.pattern(Decode(format, encoding, stored));
      after = format.pattern(Decode(format, encoding, pattern));
    }
    if (before != after) change.changes.push_back({array.parameter, element, before, after});
  }
  return change;
}

}  // namespace steadfast::memory
