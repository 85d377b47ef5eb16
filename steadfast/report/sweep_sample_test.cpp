#include "steadfast/report/sweep_sample.h"

#include <gtest/gtest.h>

#include <cmath>

namespace steadfast::report {
namespace {

store::SweepPart PartOf(const std::string& tensor, int64_t first, std::vector<uint32_t> broken) {
  store::SweepPart part{tensor, 2, 20, first, {}};
  for (const uint32_t b : broken) part.faults.push_back({b, b, 0, 0, 0});
  return part;
}

// Of tensor "a", two of four parts of two faults: they break 0, 2 and 4, 2 of ten images. "b" is there whole.
TEST(SweepSample, ProjectsTheWhole) {
  store::ModelRow model;
  model.correct = 8;
  const store::SweepRow sweep{.kind = "bits", .encoding = "twos", .word_bits = 32, .images = 10};
  const std::vector<store::SweepPart> parts = {PartOf("a", 0, {0, 2}), PartOf("a", 4, {4, 2}), PartOf("b", 0, {1, 1})};
  const SweepSample sample =
      ProjectSweep(model, sweep, parts, {{"a", 4, 8}, {"b", 1, 2}}, {3.0, 5.0, 1.0}, 2, {"flip", "sa1"});
  ASSERT_EQ(sample.means.size(), 6u);
  EXPECT_EQ(sample.faults, 10);
  EXPECT_EQ(sample.sampled_faults, 6);
  const ProjectedMeans& a = sample.means[0];
  EXPECT_EQ(a.tensor, "a");
  EXPECT_DOUBLE_EQ(a.changed.mean, 2.0);
  EXPECT_DOUBLE_EQ(a.accuracy.mean, 0.6);
  EXPECT_DOUBLE_EQ(a.harmless_share.mean, 0.25);
  // Totals of 2 and 6 in parts of 2: residuals of -2 and 2, a variance of (1 - 1/2) / 2 * 8 / 4.
  EXPECT_NEAR(a.changed.interval.high - 2.0, statistics::StudentQuantile(1, 0.975) * std::sqrt(0.5), 1e-12);
  EXPECT_EQ(sample.means[1].changed.interval.high, 1.0);  // exact
  EXPECT_DOUBLE_EQ(sample.means[2].changed.mean, (8 * 2.0 + 2 * 1.0) / 10);
  EXPECT_EQ(sample.means[2].tensor, "");
  // 8 faults at 2 s, 2 at 0.5 s, on two threads.
  ASSERT_TRUE(sample.is_timed);
  EXPECT_DOUBLE_EQ(sample.seconds.mean, 8.5);
  EXPECT_FALSE(ProjectSweep(model, sweep, parts, {{"a", 4, 8}, {"b", 1, 2}}, {3.0, 5.0, -1.0}, 2, {"flip"}).is_timed);
  EXPECT_EQ(ToJson(sample)["projected"].size(), 6u);
  EXPECT_NE(ToText(sample).find("10 faults, from 6"), std::string::npos);
}

}  // namespace
}  // namespace steadfast::report
