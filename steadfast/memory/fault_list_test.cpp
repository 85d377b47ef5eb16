#include "steadfast/memory/fault_list.h"

#include <gtest/gtest.h>

#include "steadfast/base/error.h"
#include "steadfast/memory/fault_sampler.h"

namespace steadfast::memory {
namespace {

MemoryImage TwoTensors() {
  model::QuantizedModel model;
  model::AddWeights(model, "a", {1, 5}, {.bits = 4}, {1.0f}, {1, 2, 3, 4, 5});
  model::AddWeights(model, "b", {2, 2}, {.bits = 3}, {1.0f}, {1, 2, 3, -4});
  return MemoryImage(model, {});
}

std::string MessageOf(const std::string& csv) {
  try {
    FaultListsFromText(csv, TwoTensors(), "f.csv");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(FaultList, SurvivesCsv) {
  const MemoryImage image = TwoTensors();
  FaultLists lists;
  const auto arrays = image.sampled_arrays();
  for (uint64_t trial : {0, 3})
    lists[trial] = SampleFaults(KeyOfSeed(2), trial, arrays, 0.4, ParseCellFault("mixed:0.5"));
  const FaultLists read = FaultListsFromText(ToCsv(lists, image), image, "f.csv");
  ASSERT_EQ(read.size(), 2u);
  for (const auto& [trial, map] : lists) EXPECT_EQ(read.at(trial).faults, map.faults);
}

TEST(FaultList, NamesLineAndReason) {
  const std::string header = "trial,tensor,index,bit,kind\n";
  EXPECT_NE(MessageOf("oops").find("f.csv: line 1"), std::string::npos);
  EXPECT_NE(MessageOf(header + "0,c,0,0,flip\n").find("line 2: tensor: the model has no 'c'"), std::string::npos);
  EXPECT_NE(MessageOf(header + "0,a,5,0,flip\n").find("index: '5' is not a whole number from 0 to 4"),
            std::string::npos);
  EXPECT_NE(MessageOf(header + "0,b,0,3,flip\n").find("bit: '3'"), std::string::npos);
  EXPECT_NE(MessageOf(header + "0,b,0,0\n").find("4 fields"), std::string::npos);
  EXPECT_NE(MessageOf(header + "0,b,0,0,flip\n0,b,0,0,sa1\n").find("two faults on bit 0 of b[0]"), std::string::npos);
}

MemoryImage OnAChip() {
  model::QuantizedModel model;
  model::AddWeights(model, "a", {1, 5}, {.bits = 4}, {1.0f}, {1, 2, 3, 4, 5});
  return MemoryImage(model, Chip{"c", {{.name = "m", .word_bits = 8, .words_per_row = 2, .rows_per_bank = 4}}},
                     Encoding::kTwosComplement, {});
}

std::string ChipMessageOf(const std::string& text) {
  try {
    FaultListsFromText(text, OnAChip(), "f");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(FaultList, SurvivesEveryForm) {
  const MemoryImage image = OnAChip();
  FaultLists lists;
  for (uint64_t trial : {0, 3})
    lists[trial] = SampleFaults(KeyOfSeed(2), trial, image.sampled_arrays(), 0.4, ParseCellFault("mixed:0.5"));
  for (AddressForm form : {AddressForm::kElement, AddressForm::kWord, AddressForm::kPlace}) {
    EXPECT_EQ(ParseAddressForm(NameOf(form)), form);
    for (const std::string& text : {ToCsv(lists, image, form), ToJson(lists, image, form)}) {
      const FaultLists read = FaultListsFromText(text, image, "f");
      ASSERT_EQ(read.size(), 2u);
      for (const auto& [trial, map] : lists) EXPECT_EQ(read.at(trial).faults, map.faults) << text;
    }
  }
}

TEST(FaultList, KeepsTrialsWithoutFaults) {
  const MemoryImage image = OnAChip();
  const FaultLists lists = {{1, {}}, {4, {{{{0, 3}, FaultKind::kFlip}}}}};
  for (AddressForm form : {AddressForm::kElement, AddressForm::kWord, AddressForm::kPlace}) {
    for (const std::string& text : {ToCsv(lists, image, form), ToJson(lists, image, form)}) {
      const FaultLists read = FaultListsFromText(text, image, "f");
      ASSERT_EQ(read.size(), 2u) << text;
      EXPECT_TRUE(read.at(1).faults.empty());
      EXPECT_EQ(NamesPlaces(text, "f"), form != AddressForm::kElement);
    }
  }
  EXPECT_NE(ChipMessageOf("trial,tensor,index,bit,kind\n0,a,,,none\n").find("expected no address"), std::string::npos);
  MemoryImage other = MemoryImage::OfChip(Chip{"d", {{.name = "m", .word_bits = 8, .banks = 1}}});
  EXPECT_THROW(FaultListsFromText(ToJson(lists, image, AddressForm::kPlace), other, "f"), InputError);
}

// By hand: words of 8 bits, two a row; word 2 is row 1, column 0 on, and holds a[4] in its low half.
TEST(FaultList, MapsOfChipsHitWhatLiesThere) {
  int64_t idle = 0;
  const FaultLists lists = FaultListsFromText(
      "chip,memory,bank,row,column,kind\n0,m,0,1,3,sa1\n0,m,0,1,4,sa1\n7,m,0,3,15,flip\n", OnAChip(), "f", &idle);
  ASSERT_EQ(lists.size(), 2u);
  ASSERT_EQ(lists.at(0).faults.size(), 1u);
  EXPECT_EQ(lists.at(0).faults[0].bit, (BitAddress{0, 4 * 4 + 3}));
  EXPECT_TRUE(lists.at(7).faults.empty());  // a chip without effect is a trial too
  EXPECT_EQ(idle, 2);
}

TEST(FaultList, MapsOfOtherGeometryAreRefused) {
  const std::string header = "trial,memory,bank,row,column,kind\n";
  EXPECT_NE(ChipMessageOf(header + "0,m,1,0,0,flip\n").find("f: line 2: bank: '1'"), std::string::npos);
  EXPECT_NE(ChipMessageOf(header + "0,m,0,4,0,flip\n").find("line 2: row: '4' is not a whole number from 0 to 3"),
            std::string::npos);
  EXPECT_NE(ChipMessageOf(header + "0,m,0,0,16,flip\n").find("column: '16'"), std::string::npos);
  EXPECT_NE(ChipMessageOf(header + "0,n,0,0,0,flip\n").find("memory: chip c has no 'n'"), std::string::npos);
  EXPECT_NE(ChipMessageOf(header + "0,m,0,3,9,flip\n1,m,0,3,9,sa1\n0,m,0,3,9,sa1\n")
                .find("line 4: trial 0 has two faults on the cell at bank 0, row 3, column 9 of m"),
            std::string::npos);
  EXPECT_NE(ChipMessageOf(header + "0,m,0,0,0,up\n").find("'up' is of cells of several bits"), std::string::npos);
  EXPECT_NE(ChipMessageOf("trial,memory,word,bit,kind\n0,m,8,0,flip\n").find("word: '8'"), std::string::npos);
  EXPECT_NE(ChipMessageOf("{\"faults\": [{\"trial\": 0}]}").find("faults[0]: expected the keys"), std::string::npos);
  EXPECT_NE(
      ChipMessageOf("{\"faults\": [{\"trial\": 0, \"memory\": \"m\", \"word\": 1.5, \"bit\": 0, \"kind\": \"flip\"}]}")
          .find("faults[0]: word: '1.5'"),
      std::string::npos);
  EXPECT_NE(ChipMessageOf("{").find("f: "), std::string::npos);
}

}  // namespace
}  // namespace steadfast::memory
