#include "steadfast/report/sweep_sample.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

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

// Two of eight bits 0 of "a", all two bits 1 of it, and one bit 0 of "b", of which there are two.
TEST(SweepSample, ProjectsDrawnFaults) {
  store::ModelRow model;
  model.correct = 8;
  const store::SweepRow sweep{.kind = "bits", .encoding = "twos", .word_bits = 32, .images = 10};
  std::vector<store::SweepPart> parts = {PartOf("a", 0, {0, 2, 4, 6, 0, 0}), PartOf("b", 0, {8, 0})};
  for (const size_t f : {4, 5}) parts[0].faults[f].held = store::SweepPart::Fault::kLeftOut;
  parts[1].faults[1].held = store::SweepPart::Fault::kLeftOut;
  const auto means = ProjectDrawnFaults(model, sweep, parts,
                                        {{"a", "weight", 0, 8}, {"a", "weight", 1, 2}, {"b", "bias", 0, 2}}, {"flip"});
  std::map<std::string, DrawnMeans> by_name;
  for (const DrawnMeans& m : means) by_name[m.group + " " + m.name] = m;
  ASSERT_EQ(by_name.size(), 7u);  // two roles, two tensors, two bit positions, all
  const DrawnMeans& bits_1 = by_name.at("bit 1");
  EXPECT_EQ(bits_1.faults, 2);
  EXPECT_DOUBLE_EQ(bits_1.changed.mean, 4);  // 2 and 6 of 10 images: exact
  EXPECT_DOUBLE_EQ(bits_1.changed.interval.high, 4);
  EXPECT_DOUBLE_EQ(by_name.at("tensor a").changed.mean, (8 * 2.0 + 2 * 4.0) / 10);
  EXPECT_DOUBLE_EQ(by_name.at("tensor a").harmless_share.mean, (8 * 0.5 + 0) / 10);
  EXPECT_DOUBLE_EQ(by_name.at("role bias").accuracy.mean, 0.0);
  EXPECT_DOUBLE_EQ(by_name.at("all all").accuracy.mean, 0.8 - (8 * 0.2 + 2 * 0.4 + 2 * 0.8) / 12);
  EXPECT_EQ(by_name.at("all all").drawn_faults, 5);
  EXPECT_GE(by_name.at("all all").accuracy.interval.low, 0);
  EXPECT_NE(ToText(means).find("all 12 faults, from 5"), std::string::npos);
  EXPECT_EQ(ToJson(means)["projected"].size(), 7u);
}

}  // namespace
}  // namespace steadfast::report
