#include "steadfast/report/html.h"

#include <gtest/gtest.h>

namespace steadfast::report::html {
namespace {

TEST(Html, TextCanNotBecomeMarkup) {
  EXPECT_EQ(Escape("<script>alert('x') & \"y\"</script>"),
            "&lt;script&gt;alert(&#39;x&#39;) &amp; &quot;y&quot;&lt;/script&gt;");
  EXPECT_EQ(Escape("a\x01\x1b[31mb\x7f\nc"), "a  [31mb \nc");
  EXPECT_EQ(Escape("ρ → ∞ 𝛼"), "ρ → ∞ 𝛼");
}

TEST(Html, WhatIsNoUtf8IsReplaced) {
  EXPECT_EQ(Escape("a\xff"
                   "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(Escape("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD") << "an overlong '/'";
  EXPECT_EQ(Escape("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD") << "half a surrogate pair";
  EXPECT_EQ(Escape("\xF0\x9F\x98"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD") << "cut off";
}

TEST(Html, TablesEscapeEverything) {
  const std::string table = Table("<c>", {"a<", ">n"}, {{"<b>", "1"}});
  EXPECT_EQ(table.find("<c>"), std::string::npos);
  EXPECT_EQ(table.find("<b>"), std::string::npos);
  EXPECT_NE(table.find("<th scope=\"col\" class=\"n\">n</th>"), std::string::npos);
  EXPECT_NE(table.find("<th scope=\"row\">&lt;b&gt;</th><td class=\"n\">1</td>"), std::string::npos);
}

TEST(Html, JsonCanNotEndItsScript) {
  const nlohmann::json json = {{"name", "</script><script>alert(1)</script><!--\u2028\xff"}};
  const std::string text = ScriptJson(json);
  EXPECT_EQ(text.find('<'), std::string::npos);
  for (char c : text) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
  EXPECT_EQ(nlohmann::json::parse(text)["name"].get<std::string>().substr(0, 9), "</script>");
}

// The example of the CSP specification (Content Security Policy Level 3, 8.3).
TEST(Html, ScriptHashesAreThoseOfTheSpecification) {
  EXPECT_EQ(ScriptHash("alert('Hello, world.');"), "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
}

}  // namespace
}  // namespace steadfast::report::html
