#include "steadfast/base/text.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/base/progress.h"  // CutToWidth

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

// RFC 4180: commas, quotes and line ends inside a field.
TEST(Csv, SurvivesQuoting) {
  const std::vector<std::string> fields = {"plain", "a,b", "say \"no\"", "two\nlines", ""};
  std::string csv = "header,x\r\n";
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) csv += ",";
    csv += CsvField(fields[i]);
  }
  csv += "\nlast";
  const auto rows = ParseCsv(csv, "f.csv");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].fields, (std::vector<std::string>{"header", "x"}));
  EXPECT_EQ(rows[1].fields, fields);
  EXPECT_EQ(rows[2].fields, std::vector<std::string>{"last"});
  EXPECT_EQ(rows[2].line, 4) << "a field has a line end";
  EXPECT_THROW(ParseCsv("\"open", "f.csv"), InputError);
  EXPECT_THROW(ParseCsv("\"a\"b,c", "f.csv"), InputError);
}

TEST(SplitNames, AnExactNameWins) {
  const std::vector<std::string> known = {"a", "b", "a,b", "c[0,1]"};
  EXPECT_EQ(SplitNames("a,b", known), std::vector<std::string>{"a,b"});
  EXPECT_EQ(SplitNames("b,a", known), (std::vector<std::string>{"b", "a"}));
  EXPECT_EQ(SplitNames("a,c[0,1],x", known), (std::vector<std::string>{"a", "c[0,1]", "x"}));
}

TEST(CutToWidth, NeverCutsACharacter) {
  EXPECT_EQ(CutToWidth("naïve…", 6), "naïve…");
  EXPECT_EQ(CutToWidth("naïve…", 5), "naïve");
  EXPECT_EQ(CutToWidth("naïve…", 3), "naï");
  EXPECT_EQ(CutToWidth("…", 0), "");
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
