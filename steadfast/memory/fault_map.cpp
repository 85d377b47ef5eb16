#include "steadfast/memory/fault_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

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
    case FaultKind::kLevelUp:
      return "up";
    case FaultKind::kLevelDown:
      return "down";
  }
  return "?";
}

FaultKind ParseFaultKind(std::string_view text) {
  for (FaultKind kind :
       {FaultKind::kStuckAt0, FaultKind::kStuckAt1, FaultKind::kFlip, FaultKind::kLevelUp, FaultKind::kLevelDown}) {
    if (NameOf(kind) == text) return kind;
  }
  throw UsageError(fmt::format("fault kind: '{}' is not one of flip, sa0, sa1, up, down", text));
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
    case FaultKind::kLevelUp:
    case FaultKind::kLevelDown:
      break;  // of cells, not of bits
  }
  return pattern;
}

FaultMap Overlaid(std::vector<FaultMap> maps) {
  FaultMap overlaid;
  for (FaultMap& map : maps) overlaid.faults.insert(overlaid.faults.end(), map.faults.begin(), map.faults.end());
  std::vector<Fault>& faults = overlaid.faults;
  std::stable_sort(faults.begin(), faults.end(), [](const Fault& a, const Fault& b) {
    if (a.bit != b.bit) return a.bit < b.bit;
    if (IsOfLevels(a.kind) != IsOfLevels(b.kind)) return IsOfLevels(a.kind);
    return (a.kind == FaultKind::kFlip) < (b.kind == FaultKind::kFlip);  // what sticks first
  });
  const auto same = [](const Fault& a, const Fault& b) {
    return a.bit == b.bit && IsOfLevels(a.kind) == IsOfLevels(b.kind);
  };
  faults.erase(std::unique(faults.begin(), faults.end(), same), faults.end());
  return overlaid;
}

namespace {

// Elements whose levels drifted: what they read as then, by (array, element).
using Drifted = std::map<std::pair<int, int64_t>, uint32_t>;

uint32_t PatternAt(const MemoryImage& image, const Drifted& drifted, int array, int64_t element) {
  const auto found = drifted.find({array, element});
  if (found != drifted.end()) return found->second;
  return image.arrays()[static_cast<size_t>(array)].patterns[static_cast<size_t>(element)];
}

unsigned GrayOf(unsigned number) {
  return number ^ (number >> 1);
}
unsigned NumberOfGray(unsigned gray) {
  unsigned number = gray;
  for (unsigned shifted = gray >> 1; shifted != 0; shifted >>= 1) number ^= shifted;
  return number;
}

// Moves the level of the cell that the bit is of; its bits may belong to several elements.
void Drift(const MemoryImage& image, const Fault& fault, Drifted& drifted) {
  const int array = fault.bit.array;
  const Memory& memory = image.memory_of(array);
  const WordPosition position = image.PositionOf(fault.bit);
  const int64_t word = image.arrays()[static_cast<size_t>(array)].first_word + position.word;
  const int first_bit = position.bit / memory.cell_bits * memory.cell_bits;
  const int memory_index = image.arrays()[static_cast<size_t>(array)].memory;
  unsigned stored = 0;
  std::array<std::optional<BitAddress>, 3> bits;
  for (int b = 0; b < memory.cell_bits; ++b) {
    auto& bit = bits[static_cast<size_t>(b)];
    bit = image.BitAt(memory_index, word, first_bit + b);
    if (!bit) continue;
    const int of_element = image.arrays()[static_cast<size_t>(bit->array)].bits();
    stored |= (PatternAt(image, drifted, bit->array, bit->cell / of_element) >> (bit->cell % of_element) & 1u) << b;
  }
  const bool gray = memory.level_code == LevelCode::kGray;
  const int levels = 1 << memory.cell_bits;
  const int level =
      static_cast<int>(gray ? NumberOfGray(stored) : stored) + (fault.kind == FaultKind::kLevelUp ? 1 : -1);
  if (level < 0 || level >= levels) return;
  const unsigned read = gray ? GrayOf(static_cast<unsigned>(level)) : static_cast<unsigned>(level);
  for (int b = 0; b < memory.cell_bits; ++b) {
    const auto& bit = bits[static_cast<size_t>(b)];
    if (!bit) continue;
    const int of_element = image.arrays()[static_cast<size_t>(bit->array)].bits();
    const int64_t element = bit->cell / of_element;
    const uint32_t mask = 1u << (bit->cell % of_element), pattern = PatternAt(image, drifted, bit->array, element);
    drifted[{bit->array, element}] = (read >> b & 1) != 0 ? pattern | mask : pattern & ~mask;
  }
}

// What an element's two patterns mean, where they mean something else.
void AddChange(const MemoryArray& array, int64_t element, uint32_t pattern, model::ModelChange& change) {
  if (array.parameter < 0) return;  // a buffer
  uint32_t before = array.patterns[static_cast<size_t>(element)], after = pattern;
  if (array.format.kind == model::StorageFormat::Kind::kCodes) {
    const model::CodeFormat& format = array.format.codes;
    before = format.pattern(Decode(format, array.encoding, before));
    after = format.pattern(Decode(format, array.encoding, after));
  }
  if (before != after) change.changes.push_back({array.parameter, element, before, after});
}

// What a fault of one bit of a code is, where codes are held as unsigned numbers: of signed ones, memories hold the top
// bit inverted.
model::CodeMasks MasksOf(FaultKind kind, int bit, const BufferedValue& value) {
  const auto mask = static_cast<uint8_t>(1u << bit);
  const bool inverted = value.is_signed && bit == value.bits - 1;
  model::CodeMasks masks;
  if (kind == FaultKind::kFlip) {
    masks.flip = mask;
  } else {
    masks.keep = static_cast<uint8_t>(~mask);
    const bool one = kind == FaultKind::kStuckAt1 || kind == FaultKind::kLevelUp;
    masks.set = one != inverted ? mask : uint8_t{0};
  }
  return masks;
}

}  // namespace

void AddValueFaults(const FaultMap& map, const MemoryImage& image, std::optional<int64_t> of_image,
                    model::ValueFaults& faults) {
  const auto add = [&](const BufferedValue& value, int64_t element, int bit, FaultKind kind) {
    model::ValueFaults::OfValue& of_value = faults.values[static_cast<size_t>(value.value)];
    const model::CodeMasks masks = MasksOf(kind, bit, value);
    if (of_image)
      of_value.in_one_image.push_back({*of_image, element, masks});
    else
      of_value.in_every_image.push_back({element, masks});
  };
  for (const Fault& fault : map.faults) {
    const MemoryArray& array = image.arrays()[static_cast<size_t>(fault.bit.array)];
    if (array.parameter >= 0) continue;
    const BufferedValue& first = array.values[0];
    if (array.is_own_buffer) {
      // Values are smaller than 2^32 bits; division of 32 bits is several times as fast.
      const auto cell = static_cast<uint32_t>(fault.bit.cell), bits = static_cast<uint32_t>(first.bits);
      add(first, cell / bits, static_cast<int>(cell % bits), fault.kind);
      continue;
    }
    const int64_t word_bits = image.memory_of(fault.bit.array).usable_bits();
    const int64_t word = fault.bit.cell / word_bits, bit = fault.bit.cell % word_bits;
    for (const BufferedValue& value : array.values) {
      const int64_t of_word = word_bits / value.bits, element = word * of_word + bit / value.bits;
      if (bit / value.bits < of_word && element < value.elements)
        add(value, element, static_cast<int>(bit % value.bits), fault.kind);
    }
  }
}

namespace {

// Division of 32 bits is several times as fast.
int64_t Quotient(int64_t cell, int bits) {
  if (cell >> 32 == 0) return static_cast<uint32_t>(cell) / static_cast<uint32_t>(bits);
  return cell / bits;
}

// Calls take(array, element, pattern) for each element of which a bit, or a level, is faulty, in order.
template <typename Take>
void ForEachFaultyElement(const FaultMap& map, const MemoryImage& image, const Take& take) {
  Drifted drifted;
  for (const Fault& fault : map.faults) {
    if (IsOfLevels(fault.kind)) Drift(image, fault, drifted);
  }
  // Both are in the order of arrays and elements.
  auto next = drifted.begin();
  const auto take_drifted_before = [&](std::pair<int, int64_t> element) {
    for (; next != drifted.end() && next->first < element; ++next)
      take(next->first.first, next->first.second, next->second);
  };
  for (size_t i = 0; i < map.faults.size();) {
    const int array_index = map.faults[i].bit.array;
    const MemoryArray& array = image.arrays()[static_cast<size_t>(array_index)];
    const int bits = array.bits();
    const int64_t element = Quotient(map.faults[i].bit.cell, bits), first_cell = element * bits;
    take_drifted_before({array_index, element});
    uint32_t pattern = array.patterns[static_cast<size_t>(element)];
    if (next != drifted.end() && next->first == std::pair{array_index, element}) pattern = (next++)->second;
    for (; i < map.faults.size() && map.faults[i].bit.array == array_index; ++i) {
      const int64_t bit = map.faults[i].bit.cell - first_cell;
      if (bit >= bits) break;
      pattern = ApplyFault(pattern, static_cast<int>(bit), map.faults[i].kind);
    }
    take(array_index, element, pattern);
  }
  take_drifted_before({static_cast<int>(image.arrays().size()), 0});
}

}  // namespace

model::ModelChange EffectOf(const FaultMap& map, const MemoryImage& image) {
  model::ModelChange change;
  ForEachFaultyElement(map, image, [&](int array, int64_t element, uint32_t pattern) {
    AddChange(image.arrays()[static_cast<size_t>(array)], element, pattern, change);
  });
  return change;
}

MemoryImage Struck(const MemoryImage& image, const FaultMap& map) {
  MemoryImage struck = image;
  ForEachFaultyElement(map, image, [&](int array, int64_t element, uint32_t pattern) {
    if (image.arrays()[static_cast<size_t>(array)].parameter >= 0) struck.SetPattern(array, element, pattern);
  });
  return struck;
}

}  // namespace steadfast::memory
