// Cells with rates of their own, from a CSV file (docs/formats.md): a measured map of probabilities. Cells that it does
// not name do not fail. The rate is a factor on all of them: a cell is faulty before -ln(1 - its own rate) x factor, so
// that 1 gives each cell exactly its own probability, and lower factors give subsets.
#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/elementary.h"  // PortableLog
#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"
#include "steadfast/memory/fault_list.h"
#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

class RateTable final : public FaultProcess {
 public:
  RateTable(std::string shown, std::string csv, const CellFault& fault)
      : shown_(std::move(shown)), csv_(std::move(csv)), hash_(Sha256(csv_).substr(0, 12)), fault_(fault) {}
  std::string text() const override { return fmt::format("table:{}{}", hash_, SuffixOf(fault_)); }
  std::vector<std::pair<std::string, std::string>> tables() const override { return {{"table:" + hash_, csv_}}; }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const override {
    FaultCollector faults(target, key, trial, fault_);
    for (const auto& [bit, own] : RatesFromCsv(csv_, target.image, shown_)) {
      const uint32_t array = target.image.arrays()[static_cast<size_t>(bit.array)].number;
      const double time = -PortableLog(DrawOf(key, trial, Stream::kTable, array, bit.cell));
      if (rate > 0 && time < TimeOf(own) * rate) faults.Add(bit);
    }
    return faults.Take();
  }

 private:
  std::string shown_, csv_, hash_;
  CellFault fault_;
};

FaultProcessPtr ParseTable(const std::vector<std::string>& pieces, const TableSource& tables) {
  if (pieces.size() < 2 || pieces[1].empty()) throw UsageError("table: give its file: table:rates.csv");
  return std::make_shared<RateTable>(pieces[1], tables ? tables(pieces[1]) : ReadTextFile(pieces[1]),
                                     CellFaultFrom(pieces, 2));
}

}  // namespace

const FaultModelKind kTableKind = {"table", "table:FILE[:KIND]",
                                   "a factor on each cell's own probability, as the CSV file has it",
                                   "measured by the user", ParseTable};

}  // namespace steadfast::memory
