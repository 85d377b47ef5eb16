// Rows, columns, words and banks that fail as a whole, each with the probability that the rate is: the word lines, bit
// lines and peripheral circuits of a memory are shared, so their defects are. (The failure modes of field studies:
// Sridharan and Liberty, "A study of DRAM failures in the field", SC 2012.)
#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

struct Line {
  std::string_view name;
  Stream stream;
  int64_t (*count)(const MemoryImage& image, int memory);
  void (*add)(const MemoryImage& image, int memory, int64_t line, FaultCollector& faults);
};

const Memory& MemoryAt(const MemoryImage& image, int memory) {
  return image.chip().memories[static_cast<size_t>(memory)];
}

void AddRow(const MemoryImage& image, int memory, int64_t row, FaultCollector& faults) {
  const Memory& of = MemoryAt(image, memory);
  for (int64_t column = 0; column < of.columns(); ++column) {
    if (const auto bit = image.BitAt({memory, row / of.rows_per_bank, row % of.rows_per_bank, column}))
      faults.Add(*bit);
  }
}

void AddColumn(const MemoryImage& image, int memory, int64_t column, FaultCollector& faults) {
  const Memory& of = MemoryAt(image, memory);
  for (int64_t row = 0; row < of.rows_per_bank; ++row) {
    if (const auto bit = image.BitAt({memory, column / of.columns(), row, column % of.columns()})) faults.Add(*bit);
  }
}

void AddBank(const MemoryImage& image, int memory, int64_t bank, FaultCollector& faults) {
  for (int64_t row = 0; row < MemoryAt(image, memory).rows_per_bank; ++row)
    AddRow(image, memory, bank * MemoryAt(image, memory).rows_per_bank + row, faults);
}

constexpr Line kRow = {
    "row", Stream::kRows,
    [](const MemoryImage& image, int memory) { return image.BanksOf(memory) * MemoryAt(image, memory).rows_per_bank; },
    AddRow};
constexpr Line kColumn = {
    "column", Stream::kColumns,
    [](const MemoryImage& image, int memory) { return image.BanksOf(memory) * MemoryAt(image, memory).columns(); },
    AddColumn};
constexpr Line kWord = {
    "word", Stream::kWords, [](const MemoryImage& image, int memory) { return image.WordsOfMemory(memory); },
    [](const MemoryImage&, int memory, int64_t word, FaultCollector& faults) { faults.AddWord(memory, word); }};
constexpr Line kBank = {"bank", Stream::kBanks,
                        [](const MemoryImage& image, int memory) { return image.BanksOf(memory); }, AddBank};

class Lines final : public FaultProcess {
 public:
  Lines(const Line& line, const CellFault& fault) : line_(line), fault_(fault) {}
  std::string text() const override { return std::string(line_.name) + SuffixOf(fault_); }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const override {
    FaultCollector faults(target, key, trial, fault_);
    for (int m = 0; m < static_cast<int>(target.image.chip().memories.size()); ++m) {
      const int64_t count = line_.count(target.image, m);
      for (int64_t line : HitUnits(key, trial, line_.stream, static_cast<uint32_t>(m), count, TimeOf(rate)))
        line_.add(target.image, m, line, faults);
    }
    return faults.Take();
  }

 private:
  const Line& line_;
  CellFault fault_;
};

template <const Line& line>
FaultProcessPtr Parse(const std::vector<std::string>& pieces, const TableSource&) {
  return std::make_shared<Lines>(line, CellFaultFrom(pieces, 1));
}

constexpr std::string_view kSource = "Sridharan and Liberty, SC 2012";

}  // namespace

const FaultModelKind kRowKind = {"row", "row[:KIND]", "rows that fail, each with this probability", kSource,
                                 Parse<kRow>};
const FaultModelKind kColumnKind = {"column", "column[:KIND]", "columns of a bank that fail", kSource, Parse<kColumn>};
const FaultModelKind kWordKind = {"word", "word[:KIND]", "words that fail", kSource, Parse<kWord>};
const FaultModelKind kBankKind = {"bank", "bank[:KIND]", "banks that fail", kSource, Parse<kBank>};

}  // namespace steadfast::memory
