#include "steadfast/report/page.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "steadfast/report/assets.h"
#include "steadfast/report/figure.h"
#include "steadfast/report/html.h"
#include "steadfast/report/sample_evidence.h"
#include "steadfast/report/story.h"

namespace steadfast::report {
namespace {

std::string PageOf(const Evidence& evidence) {
  return MakePage(evidence, MakeTie(evidence), {"report a.sqlite"});
}

size_t Count(const std::string& text, const std::string& what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++count;
  return count;
}

// The page without what draws it.
std::string WithoutScripts(std::string page) {
  for (size_t at; (at = page.find("<script>")) != std::string::npos;)
    page.erase(at, page.find("</script>", at) + 9 - at);
  return page;
}

TEST(Page, HoldsTheWholeStory) {
  const std::string page = PageOf(SampleEvidence());
  for (const char* section : {"verdicts", "faults", "sparsity", "sharpness", "tie", "criticality", "classes", "latency",
                              "training", "reproduce"}) {
    EXPECT_NE(page.find("<section id=\"" + std::string(section) + "\">"), std::string::npos) << section;
    EXPECT_NE(page.find("<a href=\"#" + std::string(section) + "\">"), std::string::npos) << section;
  }
  EXPECT_NE(page.find("as minus standard: +1.50 points (95 % interval +0.50 to +2.50, 3 seeds)"), std::string::npos);
  EXPECT_NE(page.find("steadfast report a.sqlite"), std::string::npos) << "how the page was made";
  EXPECT_EQ(page, PageOf(SampleEvidence())) << "the same evidence gives the same bytes";
}

TEST(Page, EveryFigureIsThereWithItsData) {
  if (FigureLibraries().empty()) GTEST_SKIP() << "built without figures";
  const Evidence evidence = SampleEvidence();
  const std::string page = PageOf(evidence);
  const auto figures = AllFigures(evidence, MakeTie(evidence));
  EXPECT_EQ(figures.size(), 17u);
  EXPECT_EQ(Count(page, "class=\"vega\""), figures.size());
  for (const Figure& figure : figures) {
    EXPECT_NE(page.find("id=\"plot-" + figure.id + "-spec\""), std::string::npos) << figure.id;
    EXPECT_FALSE(figure.caption.empty() || figure.description.empty() || figure.made_by.empty()) << figure.id;
    // Each row of the data has as many fields as the header.
    const std::string header = figure.csv.substr(0, figure.csv.find('\n'));
    EXPECT_GT(Count(figure.csv, "\n"), 1u) << figure.id;
    const auto spec = WholeSpec(figure);
    EXPECT_EQ(spec["data"]["values"], figure.csv);
    EXPECT_TRUE(spec["description"].is_string());
  }
  EXPECT_LT(page.size(), 5'000'000u);
}

TEST(Page, LeavesOutWhatTheEvidenceLacks) {
  Evidence evidence = SampleEvidence();
  evidence.sharpness.clear();
  evidence.sweeps.clear();
  evidence.latencies.clear();
  evidence.classes.clear();
  evidence.bank_maps.clear();
  evidence.sources[0].claims.clear();
  const std::string page = PageOf(evidence);
  for (const char* section : {"verdicts", "sharpness", "tie", "criticality", "classes", "latency"})
    EXPECT_EQ(page.find("<section id=\"" + std::string(section) + "\">"), std::string::npos) << section;
  EXPECT_NE(page.find("<section id=\"faults\">"), std::string::npos);
  // One network that is nobody's recipe, and no trial at all.
  Evidence bare;
  bare.models.push_back(evidence.models[0]);
  bare.models[0].recipe.clear();
  bare.models[0].recipe_json = "no json";
  bare.models[0].epochs.clear();
  Source source;
  source.name = "bare";
  source.models = {1};
  bare.sources.push_back(source);
  EXPECT_NE(PageOf(bare).find("Memory faults in 1 quantized network"), std::string::npos);
}

TEST(Page, NamesAndTextsCanNotInject) {
  const std::string hostile =
      "<script>alert(1)</script>\"><img src=x onerror=alert(2)></script><!--'\"]]>\x1b[2J\xff javascript:alert(3)";
  const std::string page = PageOf(SampleEvidence(hostile));
  const std::string text = WithoutScripts(page);
  // What was put in is there, as text.
  EXPECT_NE(text.find("&lt;script&gt;alert(1)&lt;/script&gt;"), std::string::npos);
  EXPECT_EQ(text.find("<script>alert"), std::string::npos);
  EXPECT_EQ(text.find("<img"), std::string::npos);
  EXPECT_EQ(text.find("<!--"), std::string::npos);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(text.find('\xff'), std::string::npos);
  // Only our own elements, and no attribute that runs anything.
  const std::regex element("<([a-zA-Z!][a-zA-Z0-9]*)");
  const std::set<std::string> known = {
      "!DOCTYPE", "html",    "head", "meta",   "link",       "title",    "style",  "body",  "a",    "header",
      "h1",       "h2",      "h3",   "p",      "nav",        "ul",       "ol",     "li",    "main", "section",
      "span",     "br",      "div",  "table",  "caption",    "thead",    "tbody",  "tr",    "th",   "td",
      "details",  "summary", "code", "figure", "figcaption", "noscript", "script", "footer"};
  for (auto at = std::sregex_iterator(text.begin(), text.end(), element); at != std::sregex_iterator(); ++at)
    EXPECT_TRUE(known.contains((*at)[1])) << (*at)[1];
  const std::string unquoted = std::regex_replace(text, std::regex("\"[^\"]*\""), "\"\"");
  EXPECT_FALSE(std::regex_search(unquoted, std::regex("<[^>]* on[a-z]+ *=")));
  EXPECT_EQ(text.find("href=\"javascript"), std::string::npos);
  // Every inline script is one of ours, by its hash; data are in elements that do not run.
  EXPECT_EQ(Count(page, "<script>"), FigureLibraries().empty() ? 0u : 4u);
  EXPECT_EQ(Count(text, "<script"), Count(text, "<script type=\"application/json\""));
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  // Data end where their element ends: each is JSON to its last byte.
  const std::string opening = "<script type=\"application/json\"";
  for (size_t at = page.find(opening); at != std::string::npos; at = page.find(opening, at + 1)) {
    const size_t first = page.find('>', at) + 1;
    EXPECT_FALSE(
        nlohmann::json::parse(page.substr(first, page.find("</script", first) - first), nullptr, false).is_discarded());
  }
}

TEST(Page, LoadsNothing) {
  const std::string text = WithoutScripts(PageOf(SampleEvidence()));
  EXPECT_EQ(text.find("src="), std::string::npos);
  EXPECT_FALSE(std::regex_search(text, std::regex("<link[^>]*href=\"(?!data:)")));
  EXPECT_EQ(text.find("@import"), std::string::npos);
  EXPECT_EQ(text.find("url("), std::string::npos);
}

TEST(Story, TellsTheSameInATerminal) {
  const Evidence evidence = SampleEvidence();
  const std::string text = ToTerminal(evidence, MakeTie(evidence));
  for (const char* part : {"Claim 1", "as minus standard: +1.50 points", "Accuracy in percent", "Zero activations",
                           "Sharpness: mean over networks", "Hessian by layer", "Spectrum of the Hessian",
                           "Rank correlation", "one flip", "Class by class", "Latency"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part;
  }
  const std::string hostile = ToTerminal(SampleEvidence("\x1b[2J\r"), {});
  EXPECT_EQ(hostile.find('\x1b'), std::string::npos);
  EXPECT_EQ(hostile.find('\r'), std::string::npos);
}

TEST(Story, SparklinesGoFromLowToHigh) {
  EXPECT_EQ(Sparkline({0, 50, 100, std::nan("")}, 0, 100), "▁▅█ ");
  EXPECT_EQ(Sparkline({5}, 5, 5), "█");
}

}  // namespace
}  // namespace steadfast::report
