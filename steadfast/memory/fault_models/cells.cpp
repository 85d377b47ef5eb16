// Each cell by itself, with the probability that the rate is (fault_sampler.h).
#include <algorithm>

#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

class Cells final : public FaultProcess {
 public:
  explicit Cells(const CellFault& fault) : fault_(fault) {}
  std::string text() const override { return NameOf(fault_); }
  bool sees_chip() const override { return false; }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const override {
    std::vector<SampledArray> arrays = target.image.sampled_arrays();
    for (size_t a = 0; a < arrays.size(); ++a) {
      if (!target.HoldsAnyOf(static_cast<int>(a))) arrays[a].cells = 0;
    }
    if (!target.many_maps) return SampleFaults(key, trial, arrays, rate, fault_);
    FaultMap map = OfBuffers(target.image, arrays, key, trial, rate);
    const FaultMap others = SampleFaults(key, trial, arrays, rate, fault_, Slabs::kFew);
    map.faults.insert(map.faults.end(), others.faults.begin(), others.faults.end());
    std::sort(map.faults.begin(), map.faults.end(), [](const Fault& a, const Fault& b) { return a.bit < b.bit; });
    return map;
  }

 private:
  // The buffers of all values as one, so that an image costs few draws; those that are sampled have no cells left in
  // `arrays`.
  FaultMap OfBuffers(const MemoryImage& image, std::span<SampledArray> arrays, PhiloxKey key, uint32_t trial,
                     double rate) const {
    std::vector<size_t> buffers;  // ascending by cells_before, as arrays of one memory are
    for (size_t a = 0; a < arrays.size(); ++a) {
      if (image.arrays()[a].is_own_buffer && arrays[a].cells > 0) buffers.push_back(a);
    }
    FaultMap map;
    if (buffers.empty()) return map;
    std::sort(buffers.begin(), buffers.end(),
              [&](size_t a, size_t b) { return image.arrays()[a].cells_before < image.arrays()[b].cells_before; });
    constexpr uint32_t kAllBuffers = 65'535;
    size_t next = 0;
    for (int64_t unit :
         HitUnits(key, trial, Stream::kCells, kAllBuffers, image.CellsOfStoredValues(), TimeOf(rate), Slabs::kFew)) {
      const auto end_of = [&](size_t b) { return image.arrays()[b].cells_before + arrays[b].cells; };
      while (next < buffers.size() && unit >= end_of(buffers[next])) ++next;
      if (next == buffers.size()) break;
      const MemoryArray& array = image.arrays()[buffers[next]];
      if (unit < array.cells_before) continue;  // of a buffer that cannot fail
      const int64_t cell = unit - array.cells_before;
      if (const auto kind = KindAt(key, trial, array.number, cell, fault_))
        map.faults.push_back({{static_cast<int>(buffers[next]), cell}, *kind});
    }
    for (const size_t b : buffers) arrays[b].cells = 0;
    return map;
  }

  CellFault fault_;
};

}  // namespace

FaultProcessPtr MakeCells(const CellFault& fault) {
  return std::make_shared<Cells>(fault);
}

}  // namespace steadfast::memory
