#include "steadfast/memory/encoding.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"

namespace steadfast::memory {
namespace {

using model::CodeFormat;

constexpr Encoding kAll[] = {Encoding::kTwosComplement, Encoding::kSignMagnitude, Encoding::kOffsetBinary,
                             Encoding::kGray};

TEST(Encoding, RoundTripsEveryCodeOfEveryWidth) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (Encoding encoding : kAll) {
      if (bits >= 2) {
        const CodeFormat format{.bits = bits, .is_signed = true, .narrow = encoding == Encoding::kSignMagnitude};
        for (int code = format.lowest_code(); code <= format.highest_code(); ++code) {
          ASSERT_EQ(Decode(format, encoding, Encode(format, encoding, code)), code) << bits << NameOf(encoding);
        }
      }
      if (encoding == Encoding::kSignMagnitude) continue;
      const CodeFormat without_zero = model::FormatWithoutZero(bits);
      for (int code = 0; code <= without_zero.highest_code(); ++code) {
        ASSERT_EQ(Decode(without_zero, encoding, Encode(without_zero, encoding, code)), code);
      }
    }
  }
}

TEST(Encoding, PatternsOfDifferentCodesDiffer) {
  const CodeFormat format{.bits = 4};
  for (Encoding encoding : {Encoding::kTwosComplement, Encoding::kOffsetBinary, Encoding::kGray}) {
    unsigned seen = 0;
    for (int code = -8; code <= 7; ++code) seen |= 1u << Encode(format, encoding, code);
    EXPECT_EQ(seen, 0xffffu) << NameOf(encoding);
  }
}

// By hand, for -3 of 4 bits: two's complement 1101; sign 1, magnitude 011; -3 + 8 = 5 = 0101; 1101 ^ 0110 = 1011.
TEST(Encode, WorkedByHand) {
  const CodeFormat format{.bits = 4};
  EXPECT_EQ(Encode(format, Encoding::kTwosComplement, -3), 0b1101);
  EXPECT_EQ(Encode(format, Encoding::kSignMagnitude, -3), 0b1011);
  EXPECT_EQ(Encode(format, Encoding::kOffsetBinary, -3), 0b0101);
  EXPECT_EQ(Encode(format, Encoding::kGray, -3), 0b1011);
}

// A flip of bit 2 of -3, by hand: 1001 = -7; 1 111 = -7; 0001 = -7; 1111 = Gray of 1010 = -6.
TEST(Decode, OfAFaultyCodeWorkedByHand) {
  const CodeFormat format{.bits = 4};
  const auto flipped = [&](Encoding encoding) {
    return Decode(format, encoding, Encode(format, encoding, -3) ^ 0b0100);
  };
  EXPECT_EQ(flipped(Encoding::kTwosComplement), -7);
  EXPECT_EQ(flipped(Encoding::kSignMagnitude), -7);
  EXPECT_EQ(flipped(Encoding::kOffsetBinary), -7);
  EXPECT_EQ(flipped(Encoding::kGray), -6);
}

TEST(Decode, ReadsNegativeZeroAsZero) {
  EXPECT_EQ(Decode(CodeFormat{.bits = 4}, Encoding::kSignMagnitude, 0b1000), 0);
}

TEST(CheckEncodable, SaysWhySignMagnitudeCannotHoldACode) {
  model::QuantizedModel model;
  model::Parameter& tensor = model.parameters[static_cast<size_t>(
      model::AddWeights(model, "conv1.weight", {1, 2}, {.bits = 4}, {1.0f}, {3, -8}))];
  EXPECT_NO_THROW(CheckEncodable(tensor, Encoding::kGray));
  try {
    CheckEncodable(tensor, Encoding::kSignMagnitude);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("conv1.weight: sign-magnitude cannot hold the code -8 at index 1"),
              std::string::npos);
  }
  tensor.format.codes = model::FormatWithoutZero(4);
  EXPECT_THROW(CheckEncodable(tensor, Encoding::kSignMagnitude), InputError);
}

}  // namespace
}  // namespace steadfast::memory
