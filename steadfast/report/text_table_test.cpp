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

}  // namespace
}  // namespace steadfast::report
