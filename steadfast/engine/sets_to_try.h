// Tests that run on every instruction set, and are skipped on those that the machine lacks.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "steadfast/engine/instruction_set.h"

namespace steadfast::engine {

class OnInstructionSet : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    const auto supported = SupportedInstructionSets();
    if (std::find(supported.begin(), supported.end(), GetParam()) == supported.end())
      GTEST_SKIP() << "this machine has no " << NameOf(GetParam());
  }
};

// From one on, in the order of the enumeration.
inline std::vector<InstructionSet> SetsToTry(InstructionSet first = InstructionSet::kPortable) {
  std::vector<InstructionSet> sets;
  for (int set = static_cast<int>(first); set <= static_cast<int>(InstructionSet::kNeonDot); ++set)
    sets.push_back(static_cast<InstructionSet>(set));
  return sets;
}

inline std::string SetName(const testing::TestParamInfo<InstructionSet>& info) {
  std::string name(NameOf(info.param));
  std::erase(name, '-');
  return name;
}

}  // namespace steadfast::engine
