// Bursts: neighbouring cells of a row fail together, as where one particle upsets several cells (Ibe et al., "Impact of
// scaling on neutron-induced soft error in SRAMs", IEEE TED 2010). Bursts begin at every cell alike, with such a
// probability that the rate is the share of cells that are hit, but for bursts that overlap or leave their row, which
// are cut.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "steadfast/base/elementary.h"  // PortableLog
#include "steadfast/base/error.h"
#include "steadfast/base/text.h"
#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

constexpr int64_t kLongest = 4096;

// "3": always; "2-8": each alike; "~4": geometric with this mean.
struct Length {
  std::string text;
  int64_t low = 1, high = 1;
  double mean = 1;
  bool geometric = false;

  int64_t At(double draw) const {
    if (low == high && !geometric) return low;
    if (!geometric) return low + std::min(high - low, static_cast<int64_t>(draw * static_cast<double>(high - low + 1)));
    if (mean <= 1) return 1;
    // P(length > n) = (1 - 1/mean)^n
    const double length = std::ceil(PortableLog(draw) / PortableLog1p(-1 / mean));
    return std::clamp(static_cast<int64_t>(std::min(length, double{kLongest})), int64_t{1}, kLongest);
  }
};

Length ParseLength(const std::string& text) {
  Length length{text};
  if (text.starts_with('~')) {
    length.geometric = true;
    length.mean = ParseDouble(text.substr(1), "burst: mean length", 1, 256);
    return length;
  }
  const size_t dash = text.find('-');
  length.low = ParseInt(text.substr(0, dash), "burst: length", 1, kLongest);
  length.high =
      dash == std::string::npos ? length.low : ParseInt(text.substr(dash + 1), "burst: length", length.low, kLongest);
  length.mean = static_cast<double>(length.low + length.high) / 2;
  return length;
}

class Bursts final : public FaultProcess {
 public:
  Bursts(Length length, const CellFault& fault) : length_(std::move(length)), fault_(fault) {}
  std::string text() const override { return fmt::format("burst:{}{}", length_.text, SuffixOf(fault_)); }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const override {
    FaultCollector faults(target, key, trial, fault_);
    const MemoryImage& image = target.image;
    for (int m = 0; m < static_cast<int>(image.chip().memories.size()); ++m) {
      const auto group = static_cast<uint32_t>(m);
      const Memory& memory = image.chip().memories[static_cast<size_t>(m)];
      const int64_t columns = memory.columns(), cells = image.BanksOf(m) * memory.rows_per_bank * columns;
      for (int64_t start : HitUnits(key, trial, Stream::kBursts, group, cells, TimeOf(rate) / length_.mean)) {
        const int64_t row = start / columns, first = start % columns;
        const int64_t length = length_.At(DrawOf(key, trial, Stream::kBurstLengths, group, start));
        for (int64_t column = first; column < std::min(first + length, columns); ++column) {
          const auto bit = image.BitAt({m, row / memory.rows_per_bank, row % memory.rows_per_bank, column});
          if (bit) faults.Add(*bit);
        }
      }
    }
    return faults.Take();
  }

 private:
  Length length_;
  CellFault fault_;
};

FaultProcessPtr ParseBurst(const std::vector<std::string>& pieces, const TableSource&) {
  if (pieces.size() < 2) throw UsageError("burst: give its length: burst:3, burst:2-8 or burst:~4");
  return std::make_shared<Bursts>(ParseLength(pieces[1]), CellFaultFrom(pieces, 2));
}

}  // namespace

const FaultModelKind kBurstKind = {"burst", "burst:LENGTH[:KIND]",
                                   "share of cells hit by runs of neighbouring columns; LENGTH: 3, 2-8 (each alike) or "
                                   "~4 (geometric, of this mean)",
                                   "Ibe et al., IEEE TED 2010", ParseBurst};

}  // namespace steadfast::memory
