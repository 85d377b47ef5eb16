#include "steadfast/device/arena.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "steadfast/model/random_model.h"

namespace steadfast::device {
namespace {

// First and last node at which a value's codes are needed, over all values that lie where it does.
std::pair<int64_t, int64_t> LifeOf(const model::QuantizedModel& model, int value) {
  int64_t first = value == 0 ? 0 : -1, last = 0;
  for (size_t n = 0; n < model.nodes.size(); ++n) {
    const auto at = static_cast<int64_t>(n);
    if (model.nodes[n].output == value) first = at;
    for (const int input : model.nodes[n].inputs) {
      if (SourceOf(model, input) == value) last = at;
    }
  }
  return {first, std::max(first, last)};
}

TEST(Arena, ValuesThatLiveAtTheSameTimeDoNotOverlap) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const model::QuantizedModel model = model::RandomModel(seed);
    const Arena arena = PlaceValues(model, std::vector<bool>(model.values.size(), true));
    int64_t most = 0;
    for (int a = 0; a < static_cast<int>(model.values.size()); ++a) {
      if (SourceOf(model, a) != a) continue;
      const int64_t first = arena.offsets[static_cast<size_t>(a)], size = model.value(a).shape.elements();
      ASSERT_GE(first, 0);
      ASSERT_LE(first + size, arena.bytes);
      most += size;
      for (int b = 0; b < a; ++b) {
        if (SourceOf(model, b) != b) continue;
        const auto [a_born, a_dies] = LifeOf(model, a);
        const auto [b_born, b_dies] = LifeOf(model, b);
        if (a_born > b_dies || b_born > a_dies) continue;
        const int64_t other = arena.offsets[static_cast<size_t>(b)];
        EXPECT_TRUE(first + size <= other || other + model.value(b).shape.elements() <= first)
            << "seed " << seed << ": " << model.value(a).name << " and " << model.value(b).name;
      }
    }
    EXPECT_LE(arena.bytes, most);
  }
}

// Two values at a time are all that a chain of layers needs.
TEST(Arena, AChainNeedsItsTwoLargestNeighbours) {
  const model::QuantizedModel model = model::RandomLeNet5(4, 4, 1);
  std::vector<bool> placed(model.values.size(), true);
  placed[static_cast<size_t>(model.output)] = false;
  const Arena arena = PlaceValues(model, placed);
  int64_t most = 0;
  for (const model::Node& node : model.nodes) {
    if (SourceOf(model, node.output) != node.output || node.output == model.output) continue;
    most = std::max(most, model.value(node.input()).shape.elements() + model.value(node.output).shape.elements());
  }
  EXPECT_EQ(arena.bytes, most);
  EXPECT_EQ(arena.offsets[static_cast<size_t>(model.output)], -1);
}

}  // namespace
}  // namespace steadfast::device
