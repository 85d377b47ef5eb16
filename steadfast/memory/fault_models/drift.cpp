// Cells of several bits that drift: a faulty cell reads as a neighbouring level, the one above with probability UP (0.5
// where nothing is said). At the ends, where there is no such level, it reads as it was. (Level-to-level errors of
// multi-level cells are between neighbours: Cai et al., "Error characterization ... in MLC NAND flash", DATE 2012.)
#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"
#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

class Drifting final : public FaultProcess {
 public:
  explicit Drifting(double up) : up_(up) {}
  std::string text() const override { return up_ == 0.5 ? "drift" : fmt::format("drift:{}", FormatShortest(up_)); }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const override {
    Check(target);
    const MemoryImage& image = target.image;
    FaultMap map;
    for (int m = 0; m < static_cast<int>(image.chip().memories.size()); ++m) {
      const Memory& memory = image.chip().memories[static_cast<size_t>(m)];
      if (memory.cell_bits < 2) continue;
      const auto group = static_cast<uint32_t>(m);
      const int64_t of_word = memory.usable_bits() / memory.cell_bits;
      for (int64_t cell :
           HitUnits(key, trial, Stream::kLevels, group, image.WordsOfMemory(m) * of_word, TimeOf(rate))) {
        const bool up = DrawOf(key, trial, Stream::kStuckValues, group, cell) < up_;
        if (const auto bit = LowestBitOf(target, m, cell / of_word, static_cast<int>(cell % of_word)))
          map.faults.push_back({*bit, up ? FaultKind::kLevelUp : FaultKind::kLevelDown});
      }
    }
    std::sort(map.faults.begin(), map.faults.end(), [](const Fault& a, const Fault& b) { return a.bit < b.bit; });
    return map;
  }

  void Check(const Target& target) const override {
    const auto& memories = target.image.chip().memories;
    if (std::none_of(memories.begin(), memories.end(), [](const Memory& memory) { return memory.cell_bits > 1; }))
      throw UsageError("drift: no memory has cells of several bits; give a --chip whose memory has cell_bits: 2 or 3");
  }

 private:
  // Of the cell's bits that hold something, the lowest; nothing where not all of them may fail.
  static std::optional<BitAddress> LowestBitOf(const Target& target, int memory, int64_t word, int cell) {
    const int bits = target.image.chip().memories[static_cast<size_t>(memory)].cell_bits;
    std::optional<BitAddress> lowest;
    for (int b = 0; b < bits; ++b) {
      const auto bit = target.image.BitAt(memory, word, cell * bits + b);
      if (!bit) continue;
      if (!target.Holds(*bit)) return std::nullopt;
      if (!lowest) lowest = bit;
    }
    return lowest;
  }

  double up_;
};

FaultProcessPtr ParseDrift(const std::vector<std::string>& pieces, const TableSource&) {
  if (pieces.size() > 2) throw UsageError("drift: expected drift or drift:UP");
  return std::make_shared<Drifting>(pieces.size() > 1 ? ParseDouble(pieces[1], "drift: share that goes up", 0, 1)
                                                      : 0.5);
}

}  // namespace

const FaultModelKind kDriftKind = {"drift", "drift[:UP]",
                                   "cells of 2 or 3 bits (cell_bits of a --chip) that read as a neighbouring level",
                                   "Cai et al., DATE 2012", ParseDrift};

}  // namespace steadfast::memory
