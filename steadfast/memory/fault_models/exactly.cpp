// Exactly so many faulty cells, each choice alike: single events, whatever the size of the memory. The rate plays no
// part; a trial's first k cells are among its first k + 1.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"
#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

class Exactly final : public FaultProcess {
 public:
  Exactly(int64_t count, const CellFault& fault) : count_(count), fault_(fault) {}
  std::string text() const override { return fmt::format("exactly:{}{}", count_, SuffixOf(fault_)); }
  bool takes_rate() const override { return false; }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double) const override {
    const Choices choices(target);
    if (count_ > choices.total()) throw UsageError(fmt::format("{}: only {} cells can fail", text(), choices.total()));
    FaultCollector faults(target, key, trial, fault_);
    // Fisher and Yates, only as far as needed: place i swaps with one of those from i on.
    std::unordered_map<int64_t, int64_t> moved;
    const auto at = [&](int64_t place) {
      const auto found = moved.find(place);
      return found == moved.end() ? place : found->second;
    };
    for (int64_t i = 0; i < count_; ++i) {
      const auto left = static_cast<double>(choices.total() - i);
      const int64_t chosen = i + std::min(static_cast<int64_t>(DrawOf(key, trial, Stream::kExactly, 0, i) * left),
                                          choices.total() - i - 1);
      const int64_t cell = at(chosen);
      moved[chosen] = at(i);
      faults.Add(choices.CellAt(cell));
    }
    return faults.Take();
  }

 private:
  // All cells that may fail, counted through.
  class Choices {
   public:
    explicit Choices(const Target& target) {
      const auto arrays = target.image.arrays();
      for (int a = 0; a < static_cast<int>(arrays.size()); ++a) {
        const MemoryArray& array = arrays[static_cast<size_t>(a)];
        std::vector<int64_t> cells;
        if (target.HoldsAnyOf(a) && (target.is_restricted || !array.filters.empty())) {
          for (int64_t cell = 0; cell < array.cells(); ++cell) {
            if (target.Holds({a, cell})) cells.push_back(cell);
          }
        }
        const bool all = !target.is_restricted && array.filters.empty();
        const int64_t count = all ? array.cells() : static_cast<int64_t>(cells.size());
        if (count == 0) continue;
        groups_.push_back({a, total_, std::move(cells)});
        total_ += count;
      }
    }
    int64_t total() const { return total_; }
    BitAddress CellAt(int64_t place) const {
      const auto after = std::upper_bound(groups_.begin(), groups_.end(), place,
                                          [](int64_t value, const Group& group) { return value < group.first; });
      const Group& group = *(after - 1);
      const int64_t in_group = place - group.first;
      return {group.array, group.cells.empty() ? in_group : group.cells[static_cast<size_t>(in_group)]};
    }

   private:
    struct Group {
      int array;
      int64_t first;
      std::vector<int64_t> cells;  // none: all of the array
    };
    std::vector<Group> groups_;
    int64_t total_ = 0;
  };

  int64_t count_;
  CellFault fault_;
};

FaultProcessPtr ParseExactly(const std::vector<std::string>& pieces, const TableSource&) {
  if (pieces.size() < 2) throw UsageError("exactly: give how many: exactly:1");
  const CellFault fault = CellFaultFrom(pieces, 2);
  if (fault.law->name == "asymmetric")
    throw UsageError("exactly: with asymmetric:UP:DOWN a cell may have no fault; take flip, sa0, sa1 or mixed:P1");
  return std::make_shared<Exactly>(ParseInt(pieces[1], "exactly: cells", 0, int64_t{1} << 40), fault);
}

}  // namespace

const FaultModelKind kExactlyKind = {"exactly", "exactly:K[:KIND]",
                                     "K cells, each choice alike; the rate plays no part", "single-event model",
                                     ParseExactly};

}  // namespace steadfast::memory
