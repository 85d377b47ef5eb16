#include "steadfast/report/sweep_report.h"

#include <gtest/gtest.h>

namespace steadfast::report {
namespace {

// One tensor of two 2-bit codes on 10 images, 8 of them right without faults.
struct ExampleSweep {
  store::ModelRow model;
  store::SweepRow sweep{.kind = "bits", .encoding = "twos", .word_bits = 32, .images = 10};
  std::vector<store::SweepPart> parts = {{"w",
                                          2,
                                          2,
                                          0,
                                          {{0, 0, 0, 1 << 20, 0},         // code 0, bit 0: harmless
                                           {4, 3, 1, -(10 << 20), 1},     // code 0, bit 1
                                           {2, 1, 1, 0, 1},               // code 1, bit 0
                                           {5, 5, 0, -(20 << 20), 0}}}};  // code 1, bit 1
  ExampleSweep() {
    model.label = "model";
    model.images = 10;
    model.correct = 8;
    sweep.arrays = {{"w", "weight", 4, {}}};
  }
};

SweptPlace InColumnOrder(const std::string&, int64_t index, int bit) {
  return {"m", 0, 1, index * 2 + bit};
}

TEST(SweepReport, SummarizesByBitPosition) {
  const ExampleSweep e;
  const SweepReport report = MakeSweepReport(e.model, e.sweep, e.parts, {"flip"}, 2);
  ASSERT_EQ(report.positions.size(), 3u);  // bits 0 and 1, and all
  EXPECT_EQ(report.positions[0].bit, 0);
  EXPECT_DOUBLE_EQ(report.positions[0].mean_accuracy, 0.8);
  EXPECT_DOUBLE_EQ(report.positions[0].harmless_share, 0.5);
  EXPECT_EQ(report.positions[1].bit, 1);
  EXPECT_DOUBLE_EQ(report.positions[1].mean_accuracy, 0.45);
  EXPECT_DOUBLE_EQ(report.positions[1].worst_accuracy, 0.3);
  EXPECT_DOUBLE_EQ(report.positions[1].mean_margin_change, -1.5);
  EXPECT_EQ(report.positions[2].bit, -1);
  EXPECT_EQ(report.positions[2].faults, 4);
  ASSERT_EQ(report.most_critical.size(), 2u);
  EXPECT_EQ(report.most_critical[0].correct, 3);
  EXPECT_EQ(report.most_critical[0].index, 1);
  EXPECT_EQ(report.most_critical[1].correct, 6);
}

// A stuck-at fault is the flip of a cell that holds the other value, and nothing else.
TEST(SweepReport, StuckAtFaultsAreFlipsOrNothing) {
  const ExampleSweep e;
  std::vector<SweptFault> sa0, sa1;
  ForEachFault(e.model, e.sweep, e.parts, {"sa0"}, [&](const SweptFault& f) { sa0.push_back(f); });
  ForEachFault(e.model, e.sweep, e.parts, {"sa1"}, [&](const SweptFault& f) { sa1.push_back(f); });
  ASSERT_EQ(sa0.size(), 4u);
  EXPECT_EQ(sa0[1].correct, 6);
  EXPECT_EQ(sa0[3].correct, 8);
  EXPECT_FALSE(sa0[3].active);
  EXPECT_EQ(sa1[1].correct, 8);
  EXPECT_EQ(sa1[3].correct, 3);
}

TEST(SweepReport, WritesEveryFaultAsCsv) {
  const ExampleSweep e;
  EXPECT_EQ(SweepCsv(e.model, e.sweep, e.parts, {"flip"}, InColumnOrder),
            "tensor,index,bit,fault,active,accuracy,changed,broken,repaired,mean_margin_change,role,memory,bank,row,"
            "column\n"
            "w,0,0,flip,1,0.8,0,0,0,0.1,weight,m,0,1,0\n"
            "w,0,1,flip,1,0.6,4,3,1,-1,weight,m,0,1,1\n"
            "w,1,0,flip,1,0.8,2,1,1,0,weight,m,0,1,2\n"
            "w,1,1,flip,1,0.3,5,5,0,-2,weight,m,0,1,3\n");
}

TEST(SweepReport, LeavesOutWhatWasNotEvaluated) {
  ExampleSweep e;
  e.sweep.arrays[0].faults = 3;
  EXPECT_FALSE(BitsOf(e.sweep, {}).flipped);
  e.parts[0].faults[3].held = store::SweepPart::Fault::kLeftOut;
  EXPECT_TRUE(BitsOf(e.sweep, e.parts).is_whole());
  const SweepReport report = MakeSweepReport(e.model, e.sweep, e.parts, {"flip"}, 2);
  EXPECT_EQ(report.positions.back().faults, 3);
  EXPECT_EQ(report.most_critical[0].correct, 6);
}

// What a cell of a buffer holds differs from image to image: of its faults one kind was evaluated.
TEST(SweepReport, FaultsOfActivationsAreOfOneKind) {
  ExampleSweep e;
  for (auto& fault : e.parts[0].faults) fault.held = store::SweepPart::Fault::kDiffers;
  const auto count = [&](const std::string& kind) {
    int64_t active = 0;
    ForEachFault(e.model, e.sweep, e.parts, {kind}, [&](const SweptFault& fault) { active += fault.active; });
    return active;
  };
  EXPECT_EQ(count("flip"), 4);
  EXPECT_EQ(count("sa1"), 0);
  e.sweep.kind = "bits-sa1:activations";
  EXPECT_EQ(count("flip"), 0);
  EXPECT_EQ(count("sa1"), 4);
}

TEST(SweepReport, NamesBothBitsOfAPair) {
  ExampleSweep e;
  e.sweep.kind = "pairs-in-word";
  e.parts[0].first = 1;  // pairs 0-2, 0-3, 1-2, 1-3 of the four cells
  std::vector<SweptFault> pairs;
  ForEachFault(e.model, e.sweep, e.parts, {"flip"}, [&](const SweptFault& f) { pairs.push_back(f); });
  ASSERT_EQ(pairs.size(), 4u);
  EXPECT_EQ(pairs[0].index, 0);
  EXPECT_EQ(pairs[0].bit, 0);
  EXPECT_EQ(pairs[0].second_index, 1);
  EXPECT_EQ(pairs[0].second_bit, 0);
  EXPECT_EQ(pairs[3].bit, 1);
  EXPECT_EQ(pairs[3].second_bit, 1);
}

}  // namespace
}  // namespace steadfast::report
