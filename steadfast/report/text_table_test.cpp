#include "steadfast/report/text_table.h"

#include <gtest/gtest.h>

namespace steadfast::report {
namespace {

TEST(TextTable, AlignsColumnsByCharacters) {
  TextTable table({"name", ">x ± y"});
  table.AddRow({"a", "1 ± 2"});
  table.AddRow({"longer", "10 ± 20"});
  EXPECT_EQ(table.Text(),
            "name      x ± y\n"
            "------  -------\n"
            "a         1 ± 2\n"
            "longer  10 ± 20\n");
}

TEST(TextTable, LetsNoControlCharacterThrough) {
  TextTable table({"name"});
  table.AddRow({"evil\x1b[2Jname\n"});
  EXPECT_NE(table.Text().find("evil?[2Jname?"), std::string::npos);
}

}  // namespace
}  // namespace steadfast::report
