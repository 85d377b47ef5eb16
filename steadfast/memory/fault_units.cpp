#include "steadfast/memory/fault_units.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"

namespace steadfast::memory {
namespace {

constexpr size_t kMostUnits = size_t{1} << 24;

class UnitList {
 public:
  UnitList(const MemoryImage& image, FaultKind kind) : image_(image), kind_(kind) {}

  // Places of a memory's bank that fail together.
  void Add(std::string name, const std::vector<PhysicalAddress>& places) {
    FaultUnit unit{std::move(name), {}};
    for (const PhysicalAddress& place : places) {
      const auto bit = image_.BitAt(place);
      if (bit && image_.CanFail(*bit)) unit.map.faults.push_back({*bit, kind_});
    }
    if (unit.map.faults.empty()) return;
    std::sort(unit.map.faults.begin(), unit.map.faults.end(),
              [](const Fault& a, const Fault& b) { return a.bit < b.bit; });
    if (units_.size() == kMostUnits) throw UsageError("--every: more than 2^24 of them; choose fewer with --where");
    units_.push_back(std::move(unit));
  }
  std::vector<FaultUnit> Take() { return std::move(units_); }

 private:
  const MemoryImage& image_;
  FaultKind kind_;
  std::vector<FaultUnit> units_;
};

// The bits of rows [first_row, end_row) and columns [first_column, end_column).
std::vector<PhysicalAddress> PlacesOf(int memory, int64_t bank, int64_t first_row, int64_t end_row,
                                      int64_t first_column, int64_t end_column) {
  std::vector<PhysicalAddress> places;
  for (int64_t row = first_row; row < end_row; ++row) {
    for (int64_t column = first_column; column < end_column; ++column) places.push_back({memory, bank, row, column});
  }
  return places;
}

void AddOfBank(const Memory& memory, int m, int64_t bank, std::string_view unit, int64_t length, UnitList& units) {
  const int64_t rows = memory.rows_per_bank, columns = memory.columns();
  const std::string name = fmt::format("{}, bank {}", memory.name, bank);
  if (unit == "bank") units.Add(name, PlacesOf(m, bank, 0, rows, 0, columns));
  for (int64_t row = 0; unit == "row" && row < rows; ++row)
    units.Add(fmt::format("{}, row {}", name, row), PlacesOf(m, bank, row, row + 1, 0, columns));
  for (int64_t column = 0; unit == "column" && column < columns; ++column)
    units.Add(fmt::format("{}, column {}", name, column), PlacesOf(m, bank, 0, rows, column, column + 1));
  for (int64_t row = 0; unit == "burst" && row < rows; ++row) {
    for (int64_t start = 0; start < columns; ++start)
      units.Add(fmt::format("{}, row {}, columns {} to {}", name, row, start, std::min(start + length, columns) - 1),
                PlacesOf(m, bank, row, row + 1, start, std::min(start + length, columns)));
  }
}

void AddWords(const MemoryImage& image, int m, UnitList& units) {
  const Memory& memory = image.chip().memories[static_cast<size_t>(m)];
  for (int64_t word = 0; word < image.WordsOfMemory(m); ++word) {
    std::vector<PhysicalAddress> places;
    for (int bit = 0; bit < memory.word_bits; ++bit) {
      const PlaceInMemory place = PlaceOf(memory, image.BanksOf(m), word, bit);
      places.push_back({m, place.bank, place.row, place.column});
    }
    units.Add(fmt::format("{}, word {}", memory.name, word), places);
  }
}

void AddCells(const MemoryImage& image, UnitList& units) {
  for (int a = 0; a < static_cast<int>(image.arrays().size()); ++a) {
    const MemoryArray& array = image.arrays()[static_cast<size_t>(a)];
    for (int64_t cell = 0; cell < array.cells(); ++cell)
      units.Add(fmt::format("{}[{}], bit {}", array.name, cell / array.bits(), cell % array.bits()),
                {image.PhysicalOf({a, cell})});
  }
}

}  // namespace

std::vector<FaultUnit> EveryUnit(const MemoryImage& image, std::string_view unit, FaultKind kind) {
  if (IsOfLevels(kind)) throw UsageError("--every: faults are flip, sa0 or sa1");
  const std::vector<std::string> pieces = Split(unit, ':');
  const bool burst = pieces[0] == "burst" && pieces.size() == 2;
  const int64_t length = burst ? ParseInt(pieces[1], "--every burst: length", 1, 4096) : 0;
  const bool known = burst || unit == "row" || unit == "column" || unit == "word" || unit == "bank" || unit == "cell";
  if (!known)
    throw UsageError(fmt::format("--every: '{}' is not one of row, column, word, bank, burst:LENGTH, cell", unit));
  UnitList units(image, kind);
  if (unit == "cell") AddCells(image, units);
  for (int m = 0; m < static_cast<int>(image.chip().memories.size()); ++m) {
    if (unit == "word") AddWords(image, m, units);
    for (int64_t bank = 0; bank < image.BanksOf(m); ++bank)
      AddOfBank(image.chip().memories[static_cast<size_t>(m)], m, bank, pieces[0], length, units);
  }
  return units.Take();
}

FaultLists ListsOf(const std::vector<FaultUnit>& units) {
  FaultLists lists;
  for (size_t u = 0; u < units.size(); ++u) lists[u] = units[u].map;
  return lists;
}

}  // namespace steadfast::memory
