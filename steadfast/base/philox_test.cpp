#include "steadfast/base/philox.h"

#include <gtest/gtest.h>

namespace steadfast {
namespace {

// Known-answer vectors published with Random123 (kat_vectors, philox4x32, 10 rounds).
TEST(Philox, PassesRandom123KnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}), (PhiloxOutput{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(Philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (PhiloxOutput{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxOutput{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(OpenUnit, NeverReachesItsEnds) {
  EXPECT_GT(OpenUnit(0, 0), 0.0);
  EXPECT_LT(OpenUnit(0xffffffff, 0xffffffff), 1.0);
  EXPECT_NEAR(OpenUnit(0x80000000, 0), 0.5, 1e-15);
}

}  // namespace
}  // namespace steadfast
