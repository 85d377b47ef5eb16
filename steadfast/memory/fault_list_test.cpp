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
    FaultListsFromCsv(csv, TwoTensors(), "f.csv");
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
    lists[trial] = SampleFaults(KeyOfSeed(2), trial, arrays, 0.4, ParseFaultModel("mixed:0.5"));
  const FaultLists read = FaultListsFromCsv(ToCsv(lists, image), image, "f.csv");
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

}  // namespace
}  // namespace steadfast::memory
