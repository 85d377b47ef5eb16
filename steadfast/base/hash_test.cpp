#include "steadfast/base/hash.h"

#include <gtest/gtest.h>

namespace steadfast {
namespace {

// The "abc" example of FIPS 180-2.
TEST(Sha256, GivesTheStandardsExample) {
  EXPECT_EQ(Sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace steadfast
