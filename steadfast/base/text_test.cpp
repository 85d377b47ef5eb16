#include "steadfast/base/text.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"

namespace steadfast {
namespace {

TEST(ParseDouble, TakesWholeNumbersOnly) {
  EXPECT_EQ(ParseDouble("1e-3", "rate", 0, 1), 1e-3);
  for (const char* bad : {"", "1e-3x", "nan", "-1", "2", " 1"})
    EXPECT_THROW(ParseDouble(bad, "rate", 0, 1), UsageError);
}

TEST(ParseInt, NamesWhatAndRange) {
  try {
    ParseInt("9", "weight bits", 1, 8);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "weight bits: '9' is not a whole number from 1 to 8");
  }
}

TEST(Split, KeepsEmptyPieces) {
  EXPECT_EQ(Split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
}

TEST(FormatShortest, ReadsBack) {
  for (double value : {0.1, 1e-12, 1.0 / 3, 2.5e-300}) {
    EXPECT_EQ(std::stod(FormatShortest(value)), value) << value;
  }
}

TEST(DidYouMean, SuggestsOnlyWhatIsNear) {
  EXPECT_EQ(DidYouMean("fashon-mnist", {"mnist", "fashion-mnist"}), " (did you mean fashion-mnist?)");
  EXPECT_EQ(DidYouMean("imagenet", {"mnist", "cifar10"}), "");
}

}  // namespace
}  // namespace steadfast
