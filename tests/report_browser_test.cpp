// A report opened in a real browser. Skips where Chromium, Node or the figures are absent.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "steadfast/base/file.h"
#include "steadfast/base/process.h"
#include "steadfast/report/assets.h"
#include "steadfast/report/page.h"
#include "steadfast/report/sample_evidence.h"

namespace steadfast::report {
namespace {

namespace fs = std::filesystem;

std::string Find(const std::vector<std::string>& candidates) {
  for (const auto& path : candidates) {
    if (fs::exists(path)) return path;
  }
  return "";
}

// What the browser finds wrong with a page, and how many figures it drew.
nlohmann::json Look(const fs::path& page) {
  nlohmann::json seen;
  const ProcessResult result =
      RunProcess(Find({"/usr/bin/node", "/usr/local/bin/node"}),
                 {STEADFAST_SOURCE_DIR "/tests/report_browser.cjs", STEADFAST_FIGURE_MODULES,
                  Find({"/usr/bin/chromium"}), page.string()},
                 [&](std::string_view line) { seen = nlohmann::json::parse(line, nullptr, false); });
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  return seen;
}

class ReportInBrowser : public testing::Test {
 protected:
  void SetUp() override {
    if (FigureLibraries().empty()) GTEST_SKIP() << "built without figures";
    if (Find({"/usr/bin/chromium"}).empty())
      GTEST_SKIP() << "Chromium is not installed (STEADFAST_BROWSER=ON tools/install-dependencies)";
    if (Find({"/usr/bin/node", "/usr/local/bin/node"}).empty()) GTEST_SKIP() << "Node.js is not installed";
  }

  nlohmann::json LookAt(const Evidence& evidence) {
    WriteFileWhole(folder_ / "report.html", MakePage(evidence, MakeTie(evidence), {"report"}));
    return Look(folder_ / "report.html");
  }

  const TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(ReportInBrowser, DrawsEveryFigureAndAsksForNothing) {
  const auto seen = LookAt(SampleEvidence());
  EXPECT_EQ(seen["problems"], nlohmann::json::array()) << seen["problems"].dump(1);
  EXPECT_EQ(seen["figures"].size(), 17u);
}

// A dialog, a request or an error would be a problem.
TEST_F(ReportInBrowser, HostileNamesRunNothing) {
  const auto seen = LookAt(SampleEvidence("<script>alert(1)</script>\"><img src=x onerror=alert(2)>'--></script>"));
  EXPECT_EQ(seen["problems"], nlohmann::json::array()) << seen["problems"].dump(1);
  EXPECT_EQ(seen["scripts"], 4);
}

// The page of a study: that of make study, or the one that STEADFAST_REPORT names.
TEST_F(ReportInBrowser, OpensTheReportOfAStudy) {
  const char* named = std::getenv("STEADFAST_REPORT");
  const fs::path page = named != nullptr ? named : STEADFAST_SOURCE_DIR "/results/quick/report.html";
  if (!fs::exists(page)) GTEST_SKIP() << page << " is not there: make study writes it";
  const auto seen = Look(page);
  EXPECT_EQ(seen["problems"], nlohmann::json::array()) << seen["problems"].dump(1);
  EXPECT_GE(seen["figures"].size(), 1u);
}

}  // namespace
}  // namespace steadfast::report
