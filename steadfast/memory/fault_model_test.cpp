#include "steadfast/memory/fault_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/memory/fault_list.h"
#include "steadfast/memory/fault_sampler.h"
#include "steadfast/memory/voltage_table.h"
#include "steadfast/model/operators/flatten.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/value_faults.h"

namespace steadfast::memory {
namespace {

// 4-bit codes that fill words of 16 bits whole: every place of the chip holds a cell.
constexpr int64_t kBanks = 4, kRows = 16, kWordsPerRow = 8, kWordBits = 16;
constexpr int64_t kColumns = kWordsPerRow * kWordBits, kAllCells = kBanks * kRows * kColumns;

model::QuantizedModel FullModel() {
  model::QuantizedModel model;
  model::AddWeights(model, "a.weight", {4, 128}, {.bits = 4}, {1.0f}, std::vector<int16_t>(512, 5));
  model::AddWeights(model, "b.weight", {4, 256}, {.bits = 4}, {1.0f}, std::vector<int16_t>(1024, -3));
  model::AddWeights(model, "c.weight", {4, 128}, {.bits = 4}, {1.0f}, std::vector<int16_t>(512, 0));
  return model;
}

model::QuantizedModel RandomNetwork() {
  return model::RandomLeNet5(4, 4, 1);
}

Memory FullMemory() {
  return {.word_bits = kWordBits,
          .words_per_row = kWordsPerRow,
          .rows_per_bank = kRows,
          .banks = kBanks,
          .interleaving = 4};
}

MemoryImage FullImage(int cell_bits = 1) {
  Memory memory = FullMemory();
  memory.cell_bits = cell_bits;
  return MemoryImage(FullModel(), Chip{"full", {memory}}, Encoding::kTwosComplement, {});
}

FaultMap Sampled(const MemoryImage& image, const std::string& text, double rate, uint64_t trial = 0,
                 uint64_t seed = 1) {
  return SampleFaults(KeyOfSeed(seed), trial, image, rate, ParseFaultModel(text));
}

std::set<BitAddress> FaultyBits(const FaultMap& map) {
  std::set<BitAddress> bits;
  for (const Fault& fault : map.faults) bits.insert(fault.bit);
  return bits;
}

struct Moments {
  double mean = 0, variance = 0;
};
template <typename Function>
Moments MomentsOf(int trials, Function function) {
  std::vector<double> values;
  for (int t = 0; t < trials; ++t) values.push_back(function(static_cast<uint64_t>(t)));
  Moments moments;
  moments.mean = std::accumulate(values.begin(), values.end(), 0.0) / trials;
  for (double value : values) moments.variance += (value - moments.mean) * (value - moments.mean) / (trials - 1);
  return moments;
}

const char* const kNested[] = {"flip",
                               "row",
                               "column:sa1",
                               "word:mixed:0.5",
                               "bank",
                               "burst:3",
                               "burst:~4",
                               "burst:2-6:sa0",
                               "cluster:0.5",
                               "cluster:2:4x8:sa1",
                               "exactly:7",
                               "flip@b",
                               "row@(a,c)",
                               "0.5*flip+0.5*row",
                               "0.2*word:sa0+1*burst:2@b",
                               "flip@weights[bit=3]"};

TEST(FaultModel, TextReadsBack) {
  for (const char* text : kNested) EXPECT_EQ(NameOf(ParseFaultModel(text)), text);
  EXPECT_EQ(NameOf(ParseFaultModel("row:flip")), "row");
  EXPECT_EQ(NameOf(ParseFaultModel("drift:0.5")), "drift");
  const auto several = ParseFaultModels("flip@(a,b),row,sa0@x[bit=1]");
  ASSERT_EQ(several.size(), 3u);
  EXPECT_EQ(NameOf(several[0]), "flip@(a,b)");
  EXPECT_EQ(NameOf(several[2]), "sa0@x[bit=1]");
}

TEST(FaultModel, RefusesWhatItDoesNotKnow) {
  for (const char* text : {"rwo", "row:stuck", "burst", "burst:0", "burst:5-2", "0.5*flip+0.5*exactly:3",
                           "exactly:3:asymmetric:1:0.1", "transient:transient:flip", "cluster", "cluster:0", "exactly",
                           "exactly:x", "drift:2", "0.5*flip+row", "2*flip", "flip@a@b", "mixed:2"})
    EXPECT_THROW(ParseFaultModel(text), UsageError) << text;
  EXPECT_THROW(Sampled(FullImage(), "drift", 0.1), UsageError);
  EXPECT_THROW(Sampled(FullImage(), "exactly:100000", 0), UsageError);
  EXPECT_THROW(Sampled(FullImage(), "flip@biases", 0.1), UsageError);
  EXPECT_THROW(Sampled(FullImage(), "flip", 1.1), UsageError);
}

// Sorted, one a cell, on cells that can fail; those at a lower rate among those at a higher one.
TEST(FaultModel, FaultsNestOverTheRate) {
  const MemoryImage image = FullImage();
  for (const char* text : kNested) {
    std::set<BitAddress> higher;
    for (double rate : {1.0, 0.3, 0.05, 0.01, 0.0}) {
      const FaultMap map = Sampled(image, text, rate, 3);
      EXPECT_TRUE(std::is_sorted(map.faults.begin(), map.faults.end(),
                                 [](const Fault& a, const Fault& b) { return a.bit < b.bit; }));
      const std::set<BitAddress> bits = FaultyBits(map);
      EXPECT_EQ(bits.size(), map.faults.size()) << text;
      if (rate < 1) {
        EXPECT_TRUE(std::includes(higher.begin(), higher.end(), bits.begin(), bits.end())) << text << " " << rate;
      }
      higher = bits;
    }
  }
}

TEST(FaultModel, IndependentCellsAreTheSameOnEveryChip) {
  const FaultMap plain = Sampled(MemoryImage(FullModel(), {}), "flip", 0.02, 5);
  EXPECT_EQ(Sampled(FullImage(), "flip", 0.02, 5).faults, plain.faults);
  const MemoryImage image(FullModel(), {});
  EXPECT_EQ(SampleFaults(KeyOfSeed(1), 5, image.sampled_arrays(), 0.02, CellFault{}).faults, plain.faults);
}

// Whole lines fail, as many as independent draws would: binomial counts of 64 rows and so on.
TEST(FaultModel, LinesFailAsAWhole) {
  const MemoryImage image = FullImage();
  struct Case {
    const char* name;
    int64_t lines, cells;
    int64_t (*line)(const PhysicalAddress& at, const WordPosition& word);
  };
  const Case cases[] = {
      {"row", kBanks * kRows, kColumns, [](const auto& at, const auto&) { return at.bank * kRows + at.row; }},
      {"column", kBanks * kColumns, kRows, [](const auto& at, const auto&) { return at.bank * kColumns + at.column; }},
      {"word", kBanks * kRows * kWordsPerRow, kWordBits, [](const auto&, const auto& word) { return word.word; }},
      {"bank", kBanks, kRows * kColumns, [](const auto& at, const auto&) { return at.bank; }}};
  for (const Case& one : cases) {
    constexpr double kRate = 0.1;
    const auto count = [&](uint64_t trial) {
      std::map<int64_t, int64_t> cells;
      for (const Fault& fault : Sampled(image, one.name, kRate, trial).faults) {
        WordPosition word = image.PositionOf(fault.bit);
        word.word += image.arrays()[static_cast<size_t>(fault.bit.array)].first_word;
        ++cells[one.line(image.PhysicalOf(fault.bit), word)];
      }
      for (const auto& [line, of_line] : cells) EXPECT_EQ(of_line, one.cells) << one.name;
      return static_cast<double>(cells.size());
    };
    constexpr int kTrials = 400;
    const Moments moments = MomentsOf(kTrials, count);
    const double mean = static_cast<double>(one.lines) * kRate, variance = mean * (1 - kRate);
    EXPECT_NEAR(moments.mean, mean, 4 * std::sqrt(variance / kTrials)) << one.name;
    EXPECT_NEAR(moments.variance / variance, 1, 4 * std::sqrt(2.0 / kTrials)) << one.name;
  }
}

// Rows of a memory whose words are half empty hold half the cells; none lies elsewhere.
TEST(FaultModel, ARowOfAlternatingBitsTakesOneBitOfSeveralWords) {
  const MemoryImage image = FullImage();
  const FaultMap map = Sampled(image, "burst:4", 0.002, 1);
  ASSERT_FALSE(map.faults.empty());
  // Interleaving by 4: four neighbouring columns are one bit of four words, where they do not cross a bit's end.
  std::map<std::pair<int64_t, int64_t>, std::vector<int64_t>> columns;
  for (const Fault& fault : map.faults) {
    const PhysicalAddress at = image.PhysicalOf(fault.bit);
    columns[{at.bank, at.row}].push_back(at.column);
  }
  for (auto& [row, of_row] : columns) {
    std::sort(of_row.begin(), of_row.end());
    std::set<int64_t> words;
    for (int64_t column : of_row)
      words.insert(WordAtPlace(image.chip().memories[0], kBanks, {row.first, row.second, column}).word);
    EXPECT_GE(words.size() * 4, of_row.size());
    EXPECT_GT(words.size(), 1u);
  }
}

// The share of faulty cells is the rate, less what overlaps and what rows cut off; lengths are as they should be.
TEST(FaultModel, BurstsHaveTheirLengthsAndTheRate) {
  const MemoryImage image = FullImage();
  for (const auto& [text, mean_length] :
       std::map<std::string, double>{{"burst:3", 3}, {"burst:2-6", 4}, {"burst:~4", 4}}) {
    constexpr double kRate = 0.004;
    constexpr int kTrials = 600;
    std::map<int64_t, int64_t> lengths;
    const Moments moments = MomentsOf(kTrials, [&, name = text](uint64_t trial) {
      const FaultMap map = Sampled(image, name, kRate, trial);
      std::set<std::array<int64_t, 2>> cells;
      for (const Fault& fault : map.faults) {
        const PhysicalAddress at = image.PhysicalOf(fault.bit);
        cells.insert({at.bank * kRows + at.row, at.column});
      }
      for (const auto& [row, column] : cells) {
        if (column == 0 || cells.contains({row, column - 1})) continue;
        int64_t length = 1;
        while (cells.contains({row, column + length})) ++length;
        if (column + length < kColumns) ++lengths[length];
      }
      return static_cast<double>(map.faults.size());
    });
    const double cut = 1 - (mean_length - 1) / 2 / static_cast<double>(kColumns) * 2;  // about: at row ends
    EXPECT_NEAR(moments.mean / (static_cast<double>(kAllCells) * kRate), (1 + cut) / 2, 0.05) << text;
    const auto total = static_cast<double>(std::accumulate(
        lengths.begin(), lengths.end(), int64_t{0}, [](int64_t sum, const auto& one) { return sum + one.second; }));
    if (text == "burst:3") {
      EXPECT_GT(static_cast<double>(lengths[3]) / total, 0.97);
    }
    if (text == "burst:2-6") {
      EXPECT_NEAR(static_cast<double>(lengths[5]) / total, 0.2, 0.04);
    }
    // Geometric with mean 4: P(1) = 1/4, P(2) = 3/16.
    if (text == "burst:~4") {
      EXPECT_NEAR(static_cast<double>(lengths[1]) / total, 0.25, 0.04);
    }
    if (text == "burst:~4") {
      EXPECT_NEAR(static_cast<double>(lengths[2]) / total, 0.1875, 0.04);
    }
  }
}

// Stapper: the number of defects of a region is negative binomial, with mean m and variance m + m^2 / alpha.
TEST(FaultModel, ClustersAreNegativeBinomial) {
  const MemoryImage image = FullImage();
  for (double alpha : {0.5, 2.0, 50.0}) {
    constexpr double kRate = 0.01;
    constexpr int kTrials = 3000;
    const Moments moments = MomentsOf(kTrials, [&](uint64_t trial) {
      const FaultMap map = Sampled(image, "cluster:" + std::to_string(alpha), kRate, trial);
      return static_cast<double>(std::count_if(map.faults.begin(), map.faults.end(), [&](const Fault& fault) {
        return image.PhysicalOf(fault.bit).bank == 1;
      }));
    });
    const double n = kRows * kColumns;
    // A cell fails with the rate, whatever the parameter.
    const double m = n * kRate;
    EXPECT_NEAR(moments.mean, m, 5 * std::sqrt((m + m * m / alpha) / kTrials)) << alpha;
    EXPECT_NEAR(moments.variance / (m + m * m / alpha), 1, alpha < 1 ? 0.25 : 0.12) << alpha;
  }
}

TEST(FaultModel, RegionsOfClustersAreIndependent) {
  const MemoryImage image = FullImage();
  double product = 0, first = 0, second = 0;
  constexpr int kTrials = 2000;
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    std::array<double, 2> counts{};
    for (const Fault& fault : Sampled(image, "cluster:0.5:4x64", 0.02, trial).faults) {
      const PhysicalAddress at = image.PhysicalOf(fault.bit);
      if (at.bank == 0 && at.row < 4) ++counts[at.column < 64 ? 0 : 1];
    }
    product += counts[0] * counts[1] / kTrials;
    first += counts[0] / kTrials;
    second += counts[1] / kTrials;
  }
  // Each has variance about 5 + 50: a standard error of the covariance about 55 / sqrt(2000) = 1.2.
  EXPECT_NEAR(product - first * second, 0, 5);
}

TEST(FaultModel, ExactlySoManyEachChoiceAlike) {
  const MemoryImage image = FullImage();
  std::map<int64_t, int64_t> of_sixteenth;
  constexpr int kTrials = 4000;
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    const FaultMap map = Sampled(image, "exactly:3", 0.7, trial);
    ASSERT_EQ(map.faults.size(), 3u);
    for (const Fault& fault : map.faults) {
      const PhysicalAddress at = image.PhysicalOf(fault.bit);
      ++of_sixteenth[at.bank * 4 + at.row / 4];
    }
  }
  double chi_square = 0;
  const double expected = 3.0 * kTrials / 16;
  for (int64_t part = 0; part < 16; ++part)
    chi_square += std::pow(static_cast<double>(of_sixteenth[part]) - expected, 2) / expected;
  EXPECT_LT(chi_square, 37.7);  // 15 degrees of freedom, 0.999
  // Few choices, nearly all taken: no cell twice.
  EXPECT_EQ(Sampled(image, "exactly:120@a.weight[bit=0;channel=0]", 0).faults.size(), 120u);
  EXPECT_EQ(Sampled(image, "exactly:128@a.weight[bit=0;channel=0]", 0).faults.size(), 128u);
  EXPECT_THROW(Sampled(image, "exactly:129@a.weight[bit=0;channel=0]", 0), UsageError);
  // The first k are among the first k + 1.
  const auto five = FaultyBits(Sampled(image, "exactly:5", 0)), nine = FaultyBits(Sampled(image, "exactly:9", 0));
  EXPECT_TRUE(std::includes(nine.begin(), nine.end(), five.begin(), five.end()));
}

TEST(FaultModel, TargetsLeaveOtherCellsAlone) {
  const MemoryImage image = FullImage();
  const auto all = FaultyBits(Sampled(image, "flip", 0.05));
  for (const BitAddress& bit : FaultyBits(Sampled(image, "flip@b[bit=2]", 0.05))) {
    EXPECT_EQ(image.arrays()[static_cast<size_t>(bit.array)].name, "b.weight");
    EXPECT_EQ(bit.cell % 4, 2);
    EXPECT_TRUE(all.contains(bit));
  }
  const auto of_bank = FaultyBits(Sampled(image, "flip@weights[bank=2]", 0.05));
  EXPECT_GT(of_bank.size(), 50u);
  for (const BitAddress& bit : of_bank) EXPECT_EQ(image.PhysicalOf(bit).bank, 2);
}

// Whatever else can fail: places are those of a memory that holds everything.
TEST(FaultModel, PlainMemoryDoesNotDependOnWhatCanFail) {
  const auto model = RandomNetwork();
  const auto faulty = [&](const char* where) {
    const MemoryImage image(model, {}, ParseWhere(where));
    std::set<std::pair<std::string, int64_t>> cells;
    for (const Fault& fault : Sampled(image, "row", 0.2).faults) {
      const MemoryArray& array = image.arrays()[static_cast<size_t>(fault.bit.array)];
      if (array.role == model::Role::kBias) cells.insert({array.name, fault.bit.cell});
    }
    return cells;
  };
  EXPECT_EQ(faulty("biases"), faulty("all"));
  EXPECT_EQ(faulty("biases"), faulty("biases,activations"));
  EXPECT_FALSE(faulty("biases").empty());
  // Words too narrow for a float hold codes all the same.
  EXPECT_EQ(MemoryImage(model, {.word_bits = 16}).arrays().size(), 5u);
  EXPECT_THROW(MemoryImage(model, {.word_bits = 16}, ParseWhere("all")), UsageError);
}

TEST(FaultModel, PartsOfAMixtureAreIndependent) {
  const MemoryImage image = FullImage();
  EXPECT_EQ(Sampled(image, "1*flip", 0.05).faults, Sampled(image, "flip", 0.05).faults);
  // Two parts of 5 % each hit 1 - 0.95^2 of the cells.
  const Moments moments = MomentsOf(50, [&](uint64_t trial) {
    return static_cast<double>(Sampled(image, "0.5*flip+0.5*sa1", 0.1, trial).faults.size());
  });
  EXPECT_NEAR(moments.mean / kAllCells, 1 - 0.95 * 0.95, 0.002);
  // Where both hit a cell, it sticks.
  const FaultMap both = Sampled(image, "1*flip+1*sa1", 1.0);
  ASSERT_EQ(both.faults.size(), static_cast<size_t>(kAllCells));
  for (const Fault& fault : both.faults) ASSERT_EQ(fault.kind, FaultKind::kStuckAt1);
}

TEST(FaultModel, CellsHaveTheRatesOfTheirTable) {
  const MemoryImage image = FullImage();
  const std::string csv =
      "memory,bank,row,column,rate\nmemory,0,0,0,0.5\nmemory,1,2,3,0.1\nmemory,3,15,127,1\nmemory,2,0,0,0\n";
  const FaultModel model = ParseFaultModel("table:rates:sa1", [&](const std::string& name) {
    EXPECT_EQ(name, "rates");
    return csv;
  });
  EXPECT_EQ(model.process().tables()[0].second, csv);
  // What a store keeps reads back by the table's hash.
  const std::string hash = model.process().tables()[0].first.substr(6);
  EXPECT_EQ(NameOf(model), "table:" + hash + ":sa1");
  std::map<PhysicalAddress, int> count;
  constexpr int kTrials = 2000;
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    const FaultMap full = SampleFaults(KeyOfSeed(1), trial, image, 1.0, model);
    const auto half = FaultyBits(SampleFaults(KeyOfSeed(1), trial, image, 0.5, model)), bits = FaultyBits(full);
    EXPECT_TRUE(std::includes(bits.begin(), bits.end(), half.begin(), half.end()));
    for (const Fault& fault : full.faults) {
      EXPECT_EQ(fault.kind, FaultKind::kStuckAt1);
      ++count[image.PhysicalOf(fault.bit)];
    }
  }
  EXPECT_NEAR(count[(PhysicalAddress{0, 0, 0, 0})], 0.5 * kTrials, 4 * std::sqrt(kTrials * 0.25));
  EXPECT_NEAR(count[(PhysicalAddress{0, 1, 2, 3})], 0.1 * kTrials, 4 * std::sqrt(kTrials * 0.09));
  EXPECT_EQ(count[(PhysicalAddress{0, 3, 15, 127})], kTrials);
  EXPECT_EQ(count[(PhysicalAddress{0, 2, 0, 0})], 0);
  EXPECT_TRUE(SampleFaults(KeyOfSeed(1), 0, image, 0.0, model).faults.empty());
}

// By hand: cells of 3 bits in words of 16: five cells, 15 bits, three 4-bit codes. The second cell (bits 3 to 5) is the
// top bit of the first code and the two lowest of the second.
TEST(Drift, MovesCellsThatSpanCodesByOneLevel) {
  model::QuantizedModel model;
  model::AddWeights(model, "w", {1, 4}, {.bits = 4}, {1.0f}, {5, 6, -2, 1});  // 0101 0110 1110 | 0001
  Memory memory{.word_bits = 16, .cell_bits = 3, .level_code = LevelCode::kBinary};
  const MemoryImage binary(model, Chip{"c", {memory}}, Encoding::kTwosComplement, {});
  EXPECT_EQ(binary.WordsOf(0), 2);  // a code lies in a word whole
  // Cell 1: bits 3, 4, 5 = top of 0101 (0), then 0, 1 of 0110: 0 + 2*0 + 4*1 = level 4; up is 5: bit 3 becomes 1.
  auto change = EffectOf({{{{0, 3}, FaultKind::kLevelUp}}}, binary);
  ASSERT_EQ(change.changes.size(), 1u);
  EXPECT_EQ(change.changes[0].index, 0);
  EXPECT_EQ(change.changes[0].new_bits, 0b1101u);
  // Down is 3 = 1 + 2: bits 3 and 4 become 1, bit 5 becomes 0: two codes change.
  change = EffectOf({{{{0, 3}, FaultKind::kLevelDown}}}, binary);
  ASSERT_EQ(change.changes.size(), 2u);
  EXPECT_EQ(change.changes[0].new_bits, 0b1101u);
  EXPECT_EQ(change.changes[1].new_bits, 0b0101u);
  // Gray: the pattern 100 is level 7, the highest: nothing is above it; below it is 101.
  memory.level_code = LevelCode::kGray;
  const MemoryImage gray(model, Chip{"c", {memory}}, Encoding::kTwosComplement, {});
  EXPECT_TRUE(EffectOf({{{{0, 3}, FaultKind::kLevelUp}}}, gray).empty());
  change = EffectOf({{{{0, 3}, FaultKind::kLevelDown}}}, gray);
  ASSERT_EQ(change.changes.size(), 1u);
  EXPECT_EQ(change.changes[0].new_bits, 0b1101u);
  // The last cell of the word (bits 12 to 14) holds nothing: the third code ends at bit 11.
  EXPECT_EQ(gray.BitAt(0, 0, 12), std::nullopt);
}

// With Gray levels, one step changes one bit.
TEST(Drift, ChangesOneBitWithGrayLevels) {
  Memory memory = FullMemory();
  memory.cell_bits = 2;
  const MemoryImage image(FullModel(), Chip{"c", {memory}}, Encoding::kTwosComplement, {});
  const FaultMap map = Sampled(image, "drift:0.3", 0.2);
  int64_t up = 0;
  for (const Fault& fault : map.faults) {
    up += fault.kind == FaultKind::kLevelUp;
    EXPECT_EQ(fault.bit.cell % 2, 0);
    const auto change = EffectOf({{fault}}, image);
    ASSERT_LE(change.changes.size(), 1u);
    if (!change.empty()) {
      EXPECT_EQ(__builtin_popcount(change.changes[0].old_bits ^ change.changes[0].new_bits), 1);
    }
  }
  const auto count = static_cast<double>(map.faults.size());
  EXPECT_NEAR(count / (kAllCells / 2.0), 0.2, 0.02);
  EXPECT_NEAR(static_cast<double>(up) / count, 0.3, 0.03);
}

// A mixture keeps both: the level of a cell, and its bits.
TEST(Drift, AndStuckBitsOfAMixtureAreBothThere) {
  Memory memory = FullMemory();
  memory.cell_bits = 2;
  const MemoryImage image(FullModel(), Chip{"c", {memory}}, Encoding::kTwosComplement, {});
  for (const char* text : {"1*drift:1+1*row:sa0", "1*row:sa0+1*drift:1"}) {
    const FaultMap map = Sampled(image, text, 0.5);
    std::set<BitAddress> stuck, drifting;
    for (const Fault& fault : map.faults) (IsOfLevels(fault.kind) ? drifting : stuck).insert(fault.bit);
    EXPECT_EQ(stuck.size() + drifting.size(), map.faults.size());
    EXPECT_GT(
        std::count_if(drifting.begin(), drifting.end(), [&](const BitAddress& bit) { return stuck.contains(bit); }),
        100)
        << text;
    EXPECT_NEAR(static_cast<double>(drifting.size()) / (kAllCells / 2.0), 0.5, 0.05);
    EXPECT_EQ(stuck.size() % kColumns, 0u) << "whole rows";
    // What reads 0 by a stuck bit reads 0 wherever the level went.
    const FaultLists lists = {{0, map}};
    EXPECT_EQ(FaultListsFromText(ToCsv(lists, image), image, "f").at(0).faults, map.faults);
  }
  // Only cells all of whose bits may fail.
  EXPECT_TRUE(Sampled(image, "drift@weights[bit=0]", 0.5).faults.empty());
}

// Levels drift first, then bits fail; the order of a map's faults does not matter to what it does.
TEST(Drift, GoesBeforeFaultsOfBits) {
  model::QuantizedModel model;
  model::AddWeights(model, "w", {1, 2}, {.bits = 4}, {1.0f}, {1, 0});  // cells of 2 bits, binary: 01 -> level 1
  const Memory memory{.word_bits = 16, .cell_bits = 2, .level_code = LevelCode::kBinary};
  const MemoryImage image(model, Chip{"c", {memory}}, Encoding::kTwosComplement, {});
  // Level 1 up is 2 = 10; bit 1 stuck at 0 gives 00.
  const auto change = EffectOf({{{{0, 0}, FaultKind::kLevelUp}, {{0, 1}, FaultKind::kStuckAt0}}}, image);
  ASSERT_EQ(change.changes.size(), 1u);
  EXPECT_EQ(change.changes[0].new_bits, 0u);
}

// Two layers behind an image of 2 x 3 pixels: an input of 8 bits, then 5 codes of 4 bits, signed.
model::QuantizedModel WithBuffers() {
  model::QuantizedModel model;
  model::AddWeights(model, "w", {1, 4}, {.bits = 4}, {1.0f}, {1, 2, 3, 4});
  model.values.push_back({.name = "image", .shape = {1, 2, 3}, .coding = model::ActivationCoding{}});
  model.values.push_back(
      {.name = "fc.codes", .shape = {5, 1, 1}, .coding = model::ActivationCoding{.bits = 4, .is_signed = true}});
  model.values.push_back({.name = "logits", .shape = {2, 1, 1}});
  model.nodes.push_back({.name = "fc", .operation = model::Flatten{}, .inputs = {0}, .output = 1});
  return model;
}

// Its stored values are the image alone: what only flattens reads the same buffer.
TEST(Buffers, HoldWhatIsStored) {
  const auto model = WithBuffers();
  const MemoryImage image(model, {}, ParseWhere("activations"));
  ASSERT_EQ(image.arrays().size(), 1u);
  EXPECT_EQ(image.arrays()[0].name, "image");
  EXPECT_EQ(image.arrays()[0].cells(), 48);
  EXPECT_EQ(MemoryImage(model, {}, ParseWhere("weights,activations")).arrays().size(), 2u);
  EXPECT_EQ(MemoryImage(model, {}, ParseWhere("activations:image[bit=7]")).FailingCells(0), 6);
  EXPECT_THROW(MemoryImage(model, {}, ParseWhere("activations:fc")), UsageError);
  EXPECT_THROW(MemoryImage(model, {}, ParseWhere("activations[code=1]")), UsageError);
  EXPECT_THROW(MemoryImage(model, Chip{"c", {{.holds = "activations", .cell_bits = 2}}}, Encoding::kTwosComplement,
                           ParseWhere("activations")),
               UsageError);
}

// Codes are held without their sign; memories hold the top bit of a signed one inverted.
TEST(Buffers, FaultsOfSignedCodesAreThoseOfTheirTwosComplement) {
  auto model = RandomNetwork();
  const std::vector<int> stored = model::StoredValues(model);
  const auto second = static_cast<size_t>(stored[1]);
  for (const bool is_signed : {false, true}) {
    model.values[second].coding->is_signed = is_signed;
    const MemoryImage image(model, {}, ParseWhere("activations:" + model.values[second].name));
    for (int bit = 0; bit < 4; ++bit) {
      for (FaultKind kind : {FaultKind::kFlip, FaultKind::kStuckAt0, FaultKind::kStuckAt1}) {
        model::ValueFaults faults;
        faults.values.resize(model.values.size());
        AddValueFaults({{{{0, 5 * 4 + bit}, kind}}}, image, std::nullopt, faults);
        ASSERT_EQ(faults.values[second].in_every_image.size(), 1u);
        EXPECT_EQ(faults.values[second].in_every_image[0].element, 5);
        for (uint8_t code = 0; code < 16; ++code) {
          const int stored_number = is_signed ? code - 8 : code;  // as a file and a memory have it
          const uint32_t broken = ApplyFault(static_cast<uint32_t>(stored_number) & 15u, bit, kind);
          const int number = is_signed && broken >= 8 ? static_cast<int>(broken) - 16 : static_cast<int>(broken);
          EXPECT_EQ(faults.values[second].in_every_image[0].masks.Of(code), is_signed ? number + 8 : number);
        }
      }
    }
  }
}

// In one buffer, a cell is a cell of every value that reaches so far; in two, of every other.
TEST(Buffers, SharedCellsFailForAllValuesThatLieThere) {
  const auto model = RandomNetwork();  // 784 codes of 8 bits; then 1176, 400, 120 and 84 of 4
  const std::vector<int> stored = model::StoredValues(model);
  const auto count_of = [&](Buffers buffers, int array, int64_t cell) {
    Memory memory{.holds = "activations", .word_bits = 32};
    memory.buffers = buffers;
    const MemoryImage image(model, Chip{"c", {memory}}, Encoding::kTwosComplement, ParseWhere("activations"));
    model::ValueFaults faults;
    faults.values.resize(model.values.size());
    AddValueFaults({{{{array, cell}, FaultKind::kFlip}}}, image, 7, faults);
    std::string elements;
    for (int v : stored) {
      for (const auto& fault : faults.values[static_cast<size_t>(v)].in_one_image) {
        EXPECT_EQ(fault.image, 7);
        elements +=
            std::to_string(v) + ":" + std::to_string(fault.element) + "/" + std::to_string(fault.masks.flip) + " ";
      }
    }
    return elements;
  };
  const auto text = [&](std::vector<std::array<int64_t, 3>> faults) {
    std::string all;
    for (const auto& [place, element, mask] : faults)
      all += std::to_string(stored[static_cast<size_t>(place)]) + ":" + std::to_string(element) + "/" +
             std::to_string(mask) + " ";
    return all;
  };
  // Bit 9 of word 2: bit 1 of the image's pixel 9; bit 1 of code 18 of the others.
  EXPECT_EQ(count_of(Buffers::kOne, 0, 2 * 32 + 9), text({{0, 9, 2}, {1, 18, 2}, {2, 18, 2}, {3, 18, 2}, {4, 18, 2}}));
  EXPECT_EQ(count_of(Buffers::kTwo, 0, 2 * 32 + 9), text({{0, 9, 2}, {2, 18, 2}, {4, 18, 2}}));
  EXPECT_EQ(count_of(Buffers::kTwo, 1, 2 * 32 + 9), text({{1, 18, 2}, {3, 18, 2}}));
  // Word 20 holds codes 160 to 167: the last two values are shorter.
  EXPECT_EQ(count_of(Buffers::kOne, 0, 20 * 32), text({{0, 80, 1}, {1, 160, 1}, {2, 160, 1}}));
  EXPECT_EQ(count_of(Buffers::kEach, 3, 5), text({{3, 1, 2}}));
  // Buffers of two memories have names of their own.
  Memory small{.name = "small", .holds = "activations:input", .word_bits = 32},
      rest{.name = "rest", .holds = "activations", .word_bits = 32};
  small.buffers = rest.buffers = Buffers::kOne;
  const MemoryImage both(model, Chip{"c", {small, rest}}, Encoding::kTwosComplement, ParseWhere("activations"));
  ASSERT_EQ(both.arrays().size(), 2u);
  EXPECT_EQ(both.arrays()[0].name, "small.activations");
  EXPECT_EQ(both.arrays()[1].name, "rest.activations");
  // Shared buffers are sampled by themselves, as many as there are.
  Memory memory{.holds = "activations", .word_bits = 32};
  memory.buffers = Buffers::kTwo;
  const MemoryImage shared(model, Chip{"c", {memory}}, Encoding::kTwosComplement, ParseWhere("activations"));
  std::array<double, 2> faults{};
  SampleFaultsOfImages(KeyOfSeed(1), 0, shared, 0.1, ParseFaultModel("transient:flip"), {0, 50},
                       [&](int64_t, const FaultMap& map) {
                         for (const Fault& fault : map.faults) ++faults[static_cast<size_t>(fault.bit.array)];
                       });
  for (size_t b = 0; b < 2; ++b)
    EXPECT_NEAR(faults[b] / (50.0 * static_cast<double>(shared.arrays()[b].cells())), 0.1, 0.005) << b;
  EXPECT_THROW(Sampled(shared, "flip@activations[bit=0]", 0.1), UsageError);
}

TEST(Transient, EveryImageHasFaultsOfItsOwn) {
  const auto model = RandomNetwork();
  const MemoryImage image(model, {}, ParseWhere("activations"));
  const FaultModel transient = ParseFaultModel("transient:flip"), both = ParseFaultModel("0.5*sa1+0.5*transient:flip");
  EXPECT_TRUE(SampleFaults(KeyOfSeed(1), 0, image, 0.01, transient).faults.empty());
  EXPECT_EQ(NameOf(both), "0.5*sa1+0.5*transient:flip");
  constexpr int64_t kImages = 200;
  const auto maps_of = [&](double rate) {
    std::vector<FaultMap> maps;
    SampleFaultsOfImages(KeyOfSeed(1), 4, image, rate, transient, {0, kImages}, [&](int64_t number, FaultMap map) {
      EXPECT_EQ(number, static_cast<int64_t>(maps.size()));
      maps.push_back(std::move(map));
    });
    return maps;
  };
  const auto maps = maps_of(0.01), again = maps_of(0.01), fewer = maps_of(0.002);
  ASSERT_EQ(maps.size(), static_cast<size_t>(kImages));
  SampleFaultsOfImages(KeyOfSeed(1), 4, image, 0.01, transient, {70, 3}, [&](int64_t number, FaultMap map) {
    EXPECT_EQ(map.faults, maps[static_cast<size_t>(number)].faults);
  });
  std::set<std::vector<int64_t>> different;
  double faults = 0;
  for (size_t i = 0; i < maps.size(); ++i) {
    EXPECT_EQ(again[i].faults, maps[i].faults);
    const auto some = FaultyBits(fewer[i]), all = FaultyBits(maps[i]);
    EXPECT_TRUE(std::includes(all.begin(), all.end(), some.begin(), some.end()));
    std::vector<int64_t> cells;
    for (const Fault& fault : maps[i].faults) cells.push_back(fault.bit.array * 1'000'000 + fault.bit.cell);
    different.insert(cells);
    faults += static_cast<double>(maps[i].faults.size());
  }
  for (double rate : {1e-4, 1e-6}) {  // few slabs resolve small rates too
    double few = 0;
    for (uint64_t trial = 0; trial < 3000; ++trial)
      few += static_cast<double>(
          SampleFaults(KeyOfSeed(2), trial, image.sampled_arrays(), rate, {}, Slabs::kFew).faults.size());
    const double expected_few = rate * static_cast<double>(image.cells()) * 3000;
    EXPECT_NEAR(few, expected_few, 5 * std::sqrt(expected_few)) << rate;
  }
  EXPECT_EQ(different.size(), static_cast<size_t>(kImages));
  const double expected = 0.01 * static_cast<double>(image.cells()) * kImages;
  EXPECT_NEAR(faults, expected, 5 * std::sqrt(expected));
  EXPECT_EQ(NameOf(ParseFaultModel("transient:burst:2@activations")), "transient:burst:2@activations");
  EXPECT_THROW(ParseFaultModel("transient"), UsageError);
}

TEST(VoltageTable, InterpolatesTheLogarithm) {
  const VoltageTable table = ParseVoltageTable("voltage,rate\n0.6,1e-2\n0.8,1e-6\n", "t.csv");
  EXPECT_DOUBLE_EQ(RateAt(table, 0.6), 1e-2);
  EXPECT_DOUBLE_EQ(RateAt(table, 0.8), 1e-6);
  EXPECT_NEAR(RateAt(table, 0.7) / 1e-4, 1, 1e-9);
  EXPECT_NEAR(RateAt(table, 0.65) / 1e-3, 1, 1e-9);
  EXPECT_THROW(RateAt(table, 0.59), UsageError);
  EXPECT_THROW(RateAt(table, 0.81), UsageError);
  EXPECT_DOUBLE_EQ(RateAt(ParseVoltageTable("0.8: 1e-6\n0.6: 1e-2\n", "t.yaml"), 0.6), 1e-2);
  for (const char* bad : {"voltage,rate\n0.6,0\n0.7,1\n", "voltage,rate\n0.6,1e-3\n", "voltage,rate\n0.6,1\n0.6,1\n",
                          "voltage,rates\n", "0.6\n", "voltage,rate\n0.6,1e-3,x\n0.7,1\n"})
    EXPECT_THROW(ParseVoltageTable(bad, "t"), InputError) << bad;
}

}  // namespace
}  // namespace steadfast::memory
