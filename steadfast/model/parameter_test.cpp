#include "steadfast/model/parameter.h"

#include <gtest/gtest.h>

#include <cmath>

namespace steadfast::model {
namespace {

Parameter OfKind(StorageFormat::Kind kind) {
  Parameter parameter;
  parameter.format.kind = kind;
  return parameter;
}

// Patterns of IEEE binary16 and bfloat16, by hand.
TEST(Parameter, SixteenBitFloatsAreExact) {
  const Parameter half = OfKind(StorageFormat::Kind::kFloat16), brain = OfKind(StorageFormat::Kind::kBfloat16);
  EXPECT_EQ(half.RealOfBits(0x3C00), 1.0f);
  EXPECT_EQ(half.RealOfBits(0xC500), -5.0f);
  EXPECT_EQ(half.RealOfBits(0x0001), std::ldexp(1.0f, -24)) << "the smallest denormal";
  EXPECT_EQ(half.RealOfBits(0x03FF), 1023 * std::ldexp(1.0f, -24));
  EXPECT_EQ(half.RealOfBits(0x7BFF), 65504.0f);
  EXPECT_EQ(half.RealOfBits(0xFC00), -INFINITY);
  EXPECT_TRUE(std::isnan(half.RealOfBits(0x7E01)));
  EXPECT_TRUE(std::signbit(half.RealOfBits(0x8000)));
  EXPECT_EQ(brain.RealOfBits(0x3F80), 1.0f);
  EXPECT_EQ(brain.RealOfBits(0xC0A0), -5.0f);
  EXPECT_TRUE(std::isnan(brain.RealOfBits(0x7FC0)));
  EXPECT_EQ(half.format.bits(), 16);
  EXPECT_EQ(NameOf(brain.format), "bfloat16");
}

TEST(Parameter, EveryPatternOfCodesHasACode) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (bool is_signed : {false, true}) {
      if (is_signed && bits == 1) continue;
      const CodeFormat format{.bits = bits, .is_signed = is_signed};
      for (uint32_t pattern = 0; pattern < 1u << bits; ++pattern) {
        const int code = format.code(pattern);
        EXPECT_GE(code, format.lowest_code());
        EXPECT_LE(code, format.highest_code());
        EXPECT_EQ(format.pattern(code), pattern);
      }
    }
  }
}

// A matrix whose outputs are columns: element 5 of [3, 4] is row 1, column 1, so input 1 of output 1.
TEST(Parameter, IndicesAreTheFiles) {
  Parameter weight{.name = "w", .shape = {3, 4}};
  weight.bits.assign(12, 0);
  weight.output_axis = 1;
  EXPECT_EQ(weight.outputs(), 4);
  EXPECT_EQ(weight.products(), 3);
  EXPECT_EQ(weight.OutputOf(5), 1);
  EXPECT_EQ(weight.ProductOf(5), 1);
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(weight.IndexOf(weight.OutputOf(i), weight.ProductOf(i)), i);
}

}  // namespace
}  // namespace steadfast::model
