// Each cell by itself, with the probability that the rate is (fault_sampler.h).
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
    return SampleFaults(key, trial, arrays, rate, fault_);
  }

 private:
  CellFault fault_;
};

}  // namespace

FaultProcessPtr MakeCells(const CellFault& fault) {
  return std::make_shared<Cells>(fault);
}

}  // namespace steadfast::memory
