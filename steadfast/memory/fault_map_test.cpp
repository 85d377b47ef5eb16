#include "steadfast/memory/fault_map.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "steadfast/memory/fault_sampler.h"

namespace steadfast::memory {
namespace {

constexpr Encoding kEncodings[] = {Encoding::kTwosComplement, Encoding::kSignMagnitude, Encoding::kOffsetBinary,
                                   Encoding::kGray};

model::QuantizedModel RandomModel() {
  model::QuantizedModel model;
  const int bits = *rc::gen::inRange(2, 9);
  const int lowest = -(1 << (bits - 1)) + 1;
  const auto codes =
      *rc::gen::container<std::vector<int16_t>>(50, rc::gen::cast<int16_t>(rc::gen::inRange(lowest, 1 << (bits - 1))));
  model::AddWeights(model, "w", {1, 50}, {.bits = bits, .narrow = true}, {1.0f}, codes);
  return model;
}

FaultMap Sample(const MemoryImage& image, double rate, const char* law) {
  return SampleFaults(KeyOfSeed(7), 3, image.sampled_arrays(), rate, ParseCellFault(law));
}

std::vector<uint32_t> BitsAfter(const model::QuantizedModel& model, const model::ModelChange& change) {
  model::QuantizedModel copy = model;
  Apply(change, copy);
  return copy.parameters[0].bits;
}

TEST(EffectOf, NoFaultsIsNoChange) {
  model::QuantizedModel model;
  model::AddWeights(model, "w", {1, 2}, {.bits = 4}, {1.0f}, {3, -8});
  EXPECT_TRUE(EffectOf({}, MemoryImage(model, {})).empty());
}

RC_GTEST_PROP(EffectOf, StuckAtTwiceIsStuckAtOnce, ()) {
  model::QuantizedModel model = RandomModel();
  for (Encoding encoding : kEncodings) {
    const MemoryImage image(model, {encoding});
    const FaultMap map = Sample(image, 0.3, "mixed:0.5");
    const auto once = BitsAfter(model, EffectOf(map, image));
    model::QuantizedModel faulty = model;
    faulty.parameters[0].bits = once;
    // Sign-magnitude reads "-0" as 0 and would store it anew as "+0": compare there only codes without it.
    if (encoding == Encoding::kSignMagnitude) continue;
    faulty.parameters[0].format.codes.narrow = false;
    RC_ASSERT(EffectOf(map, MemoryImage(faulty, {encoding})).empty());
  }
}

RC_GTEST_PROP(EffectOf, FlippingTwiceIsNoFault, ()) {
  model::QuantizedModel model = RandomModel();
  model.parameters[0].format.codes.narrow = false;
  for (Encoding encoding : {Encoding::kTwosComplement, Encoding::kOffsetBinary, Encoding::kGray}) {
    const MemoryImage image(model, {encoding});
    const FaultMap map = Sample(image, 0.3, "flip");
    model::QuantizedModel faulty = model;
    faulty.parameters[0].bits = BitsAfter(model, EffectOf(map, image));
    RC_ASSERT(BitsAfter(faulty, EffectOf(map, MemoryImage(faulty, {encoding}))) == model.parameters[0].bits);
  }
}

// A cell's flip is what stuck-at-0 or stuck-at-1 does to it, whichever changes it; so the faults of a map that act as
// stuck-at-0 and those that act as stuck-at-1 together are its flips.
RC_GTEST_PROP(EffectOf, FlipsAreBothStuckAtEffectsJoined, ()) {
  model::QuantizedModel model = RandomModel();
  for (Encoding encoding : kEncodings) {
    const MemoryImage image(model, {encoding});
    const FaultMap flips = Sample(image, 0.3, "flip");
    const MemoryArray& array = image.arrays()[0];
    FaultMap joined;
    for (const Fault& fault : flips.faults) {
      const int bit = static_cast<int>(fault.bit.cell % array.bits());
      const uint32_t stored = array.patterns[static_cast<size_t>(fault.bit.cell / array.bits())];
      const bool zero_acts = ApplyFault(stored, bit, FaultKind::kStuckAt0) != stored;
      const bool one_acts = ApplyFault(stored, bit, FaultKind::kStuckAt1) != stored;
      RC_ASSERT(zero_acts != one_acts);
      joined.faults.push_back({fault.bit, zero_acts ? FaultKind::kStuckAt0 : FaultKind::kStuckAt1});
    }
    RC_ASSERT(EffectOf(joined, image).changes == EffectOf(flips, image).changes);
  }
}

RC_GTEST_PROP(EffectOf, RateOneStuckAtSetsEveryCell, ()) {
  model::QuantizedModel model = RandomModel();
  const MemoryImage image(model, {});
  const model::CodeFormat& format = model.parameters[0].format.codes;
  for (uint32_t bits : BitsAfter(model, EffectOf(Sample(image, 1.0, "sa0"), image))) RC_ASSERT(format.code(bits) == 0);
  for (uint32_t bits : BitsAfter(model, EffectOf(Sample(image, 1.0, "sa1"), image))) RC_ASSERT(format.code(bits) == -1);
}

}  // namespace
}  // namespace steadfast::memory
