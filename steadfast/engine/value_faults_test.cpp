#include "steadfast/model/value_faults.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <random>

#include "steadfast/engine/changes_to_try.h"
#include "steadfast/engine/dense.h"
#include "steadfast/engine/differential.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/graphs_to_try.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/sets_to_try.h"
#include "steadfast/model/random_model.h"

namespace steadfast::engine {
namespace {

using model::CodeMasks;
using model::QuantizedModel;
using model::ValueFaults;

std::vector<uint32_t> PatternsOf(const std::vector<float>& values) {
  std::vector<uint32_t> patterns;
  for (float value : values) patterns.push_back(std::bit_cast<uint32_t>(value));
  return patterns;
}

// The plain loop: image by image, operator by operator, by the scalar rules; what is stored is broken where it was
// stored.
std::vector<float> RunBroken(const QuantizedModel& model, const std::vector<uint8_t>& images,
                             const ValueFaults& faults) {
  const auto input_elements = static_cast<size_t>(model.values[0].shape.elements());
  const size_t count = images.size() / input_elements, classes = static_cast<size_t>(model.classes());
  std::vector<std::vector<uint8_t>> codes(model.values.size());
  for (size_t v = 0; v < codes.size(); ++v) codes[v].resize(static_cast<size_t>(model.values[v].shape.elements()));
  std::vector<float> logits(count * classes);
  for (size_t i = 0; i < count; ++i) {
    const auto store = [&](size_t v) {
      for (const auto& fault : faults.values[v].in_every_image) {
        uint8_t& code = codes[v][static_cast<size_t>(fault.element)];
        code = fault.masks.Of(code);
      }
      for (const auto& fault : faults.values[v].in_one_image) {
        if (fault.image != static_cast<int64_t>(i)) continue;
        uint8_t& code = codes[v][static_cast<size_t>(fault.element)];
        code = fault.masks.Of(code);
      }
    };
    std::copy_n(images.begin() + static_cast<std::ptrdiff_t>(i * input_elements), input_elements, codes[0].begin());
    store(0);
    for (const model::Node& node : model.nodes) {
      std::vector<std::span<const uint8_t>> inputs;
      for (int input : node.inputs) inputs.emplace_back(codes[static_cast<size_t>(input)]);
      const auto output = static_cast<size_t>(node.output);
      node.operation.definition().scalar_rule(model, node)(inputs, codes[output],
                                                           std::span(logits).subspan(i * classes, classes));
      store(output);
    }
  }
  return logits;
}

CodeMasks AnyMasks(const model::ActivationCoding& coding, std::mt19937_64& random) {
  const auto inside = static_cast<uint8_t>((1u << coding.bits) - 1);
  CodeMasks masks;
  masks.keep = static_cast<uint8_t>(random() | ~inside);
  masks.set = static_cast<uint8_t>(random() & inside & ~masks.keep);
  masks.flip = static_cast<uint8_t>(random() & inside);
  return masks;
}

ValueFaults AnyFaults(const QuantizedModel& model, int64_t images, std::mt19937_64& random) {
  ValueFaults faults;
  faults.values.resize(model.values.size());
  for (int v : model::StoredValues(model)) {
    const model::Value& value = model.value(v);
    ValueFaults::OfValue& of_value = faults.values[static_cast<size_t>(v)];
    const auto element = [&] { return static_cast<int64_t>(random() % static_cast<uint64_t>(value.shape.elements())); };
    for (uint64_t i = random() % 4; i > 0; --i)
      of_value.in_every_image.push_back({element(), AnyMasks(*value.coding, random)});
    for (uint64_t i = random() % 40; i > 0; --i)
      of_value.in_one_image.push_back(
          {static_cast<int64_t>(random() % static_cast<uint64_t>(images)), element(), AnyMasks(*value.coding, random)});
    std::stable_sort(of_value.in_one_image.begin(), of_value.in_one_image.end(),
                     [](const auto& a, const auto& b) { return a.image < b.image; });
  }
  return faults;
}

class FaultyValues : public OnInstructionSet {};

TEST_P(FaultyValues, EqualThePlainLoopOnRandomGraphs) {
  for (uint64_t seed = 0; seed < GraphsToTry(300); ++seed) {
    const auto model = model::RandomModel(seed);
    std::mt19937_64 random(seed);
    const int64_t images = 1 + static_cast<int64_t>(seed % 90);
    const auto bytes = model::RandomImages(model, images, seed);
    const PreparedImages prepared(bytes, model.values[0].shape.elements());
    const auto faults = std::make_shared<const ValueFaults>(AnyFaults(model, images, random));
    const auto broken = PatternsOf(RunBroken(model, bytes, *faults));
    DenseEngine engine(model, GetParam());
    engine.SetValueFaults(faults);
    ASSERT_EQ(PatternsOf(engine.Run(prepared)), broken) << seed;
    engine.SetValueFaults(nullptr);
    ASSERT_EQ(PatternsOf(engine.Run(prepared)), PatternsOf(RunReference(model, bytes))) << seed;
    // On rows alone.
    engine.UseSparsePaths();
    engine.SetValueFaults(faults);
    ASSERT_EQ(PatternsOf(engine.Run(prepared)), broken) << seed;
  }
}

// Beside changed parameters, scales of activations among them.
TEST_P(FaultyValues, EqualThePlainLoopBesideChangedParameters) {
  for (uint64_t seed = 0; seed < GraphsToTry(100); ++seed) {
    const auto model = model::RandomModel(seed + 5000);
    std::mt19937_64 random(seed);
    const auto bytes = model::RandomImages(model, 70, seed);
    auto changed = model;
    for (int i = 0; i < 3; ++i) {
      model::Parameter& parameter = changed.parameters[random() % changed.parameters.size()];
      if (parameter.is_fixed || parameter.format.is_float()) continue;
      parameter.bits[random() % parameter.bits.size()] ^= 1;
    }
    const auto faults = std::make_shared<const ValueFaults>(AnyFaults(model, 70, random));
    DenseEngine engine(model, GetParam());
    engine.SetParameters(changed);
    engine.SetValueFaults(faults);
    ASSERT_EQ(PatternsOf(engine.Run(PreparedImages(bytes, model.values[0].shape.elements()))),
              PatternsOf(RunBroken(changed, bytes, *faults)))
        << seed;
  }
}

// One faulty element, from the golden run: margins and predictions of all images.
TEST_P(FaultyValues, EqualThePlainLoopFromAGoldenRun) {
  struct Sink final : ResultSink {
    std::map<int32_t, std::pair<uint16_t, int64_t>> found;  // [image]: prediction and margin
    void Take(std::span<const LaneTag> tags, std::span<const uint16_t> predictions, std::span<const int64_t> margins,
              std::span<const int64_t>) override {
      for (size_t i = 0; i < tags.size(); ++i) found[tags[i].image] = {predictions[i], margins[i]};
    }
  };
  int64_t differing = 0;
  for (uint64_t seed = 0; seed < GraphsToTry(100); ++seed) {
    const auto model = model::RandomModel(seed);
    std::mt19937_64 random(seed);
    const int64_t images = 1 + static_cast<int64_t>(seed % 90);
    const auto bytes = model::RandomImages(model, images, seed);
    const std::vector<uint16_t> labels(static_cast<size_t>(images), 0);
    const EvaluationSet set = MakeEvaluationSet(model, bytes, labels);
    const DifferentialPlan plan(model, GetParam());
    const auto blocks = RunGoldenBlocks(plan, set, 1);
    const auto golden = RunReference(model, bytes);
    Sink sink;
    DifferentialEngine engine(plan, sink, ResultDetail::kMargins);
    for (const int v : model::StoredValues(model)) {
      const model::Value& value = model.value(v);
      const ValueFaults::InEveryImage fault{
          static_cast<int64_t>(random() % static_cast<uint64_t>(value.shape.elements())),
          AnyMasks(*value.coding, random)};
      ValueFaults faults;
      faults.values.resize(model.values.size());
      faults.values[static_cast<size_t>(v)].in_every_image = {fault};
      const auto broken = RunBroken(model, bytes, faults);
      sink.found.clear();
      for (const GoldenBlock& block : blocks) engine.EvaluateFaultyValue(block, v, fault, 0);
      engine.Flush();
      const auto classes = static_cast<size_t>(model.classes());
      for (int32_t i = 0; i < static_cast<int32_t>(images); ++i) {
        const auto found = sink.found.find(i);
        const auto& logits = found == sink.found.end() ? golden : broken;
        const auto own = std::span(logits).subspan(static_cast<size_t>(i) * classes, classes);
        const auto expected = std::span(broken).subspan(static_cast<size_t>(i) * classes, classes);
        ASSERT_EQ(ArgMax(own), ArgMax(expected)) << seed << " " << value.name << " " << i;
        ASSERT_EQ(MarginOf(own, 0), MarginOf(expected, 0)) << seed << " " << value.name << " " << i;
        if (found == sink.found.end()) continue;
        ASSERT_EQ(found->second.first, ArgMax(expected)) << seed << " " << value.name << " " << i;
        ASSERT_EQ(found->second.second, MarginOf(expected, 0)) << seed << " " << value.name << " " << i;
        ++differing;
      }
    }
  }
  EXPECT_GT(differing, 100);
}

// Images whose parameters read differently, beside buffers that fail: each against a network that has its parameters.
TEST_P(FaultyValues, EqualThePlainLoopWhereImagesHaveParametersOfTheirOwn) {
  int64_t changed_images = 0;
  for (uint64_t seed = 0; seed < GraphsToTry(60); ++seed) {
    const auto model = model::RandomModel(seed + 300);
    std::mt19937_64 random(seed);
    const int64_t images = 1 + static_cast<int64_t>(seed * 5 % 90);
    const auto bytes = model::RandomImages(model, images, seed);
    ValueFaults values;
    values.values.resize(model.values.size());
    if (seed % 2 == 0) values = AnyFaults(model, images, random);
    std::vector<model::ModelChange> changes(static_cast<size_t>(images));
    for (auto& change : changes) {
      if (random() % 3 != 0) change = RandomChange(model, 1 + static_cast<int>(random() % 6), random, seed % 3 == 0);
    }
    DenseEngine engine(model, GetParam());
    engine.SetImageFaults(
        [&](int64_t first, int64_t count) {
          return model::ImageFaults{values, {changes.begin() + first, changes.begin() + first + count}};
        },
        model);
    const auto found = PatternsOf(engine.Run(PreparedImages(bytes, model.values[0].shape.elements())));
    const auto elements = bytes.size() / static_cast<size_t>(images), classes = static_cast<size_t>(model.classes());
    for (int64_t i = 0; i < images; ++i) {
      auto changed = model;
      Apply(changes[static_cast<size_t>(i)], changed);
      changed_images += !changes[static_cast<size_t>(i)].empty();
      ValueFaults own = values;
      for (auto& of_value : own.values) {
        std::erase_if(of_value.in_one_image, [&](const auto& fault) { return fault.image != i; });
        for (auto& fault : of_value.in_one_image) fault.image = 0;
      }
      const auto first = bytes.begin() + i * static_cast<int64_t>(elements);
      const auto expected = PatternsOf(RunBroken(changed, {first, first + static_cast<int64_t>(elements)}, own));
      const auto of_image = std::span(found).subspan(static_cast<size_t>(i) * classes, classes);
      ASSERT_TRUE(std::equal(of_image.begin(), of_image.end(), expected.begin())) << seed << ", image " << i;
    }
    engine.SetImageFaults({}, model);
    ASSERT_EQ(PatternsOf(engine.Run(PreparedImages(bytes, model.values[0].shape.elements()))),
              PatternsOf(RunReference(model, bytes)))
        << seed;
  }
  EXPECT_GT(changed_images, 100);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, FaultyValues, testing::ValuesIn(SetsToTry()), SetName);

// By hand: LeNet-5 stores its image, what its pools give, and what its first two linear layers give.
TEST(StoredValues, AreThoseThatLieInBuffers) {
  const auto model = model::RandomLeNet5(4, 4, 1);
  std::vector<std::string> shapes;
  for (int v : model::StoredValues(model)) {
    const model::ValueShape& shape = model.value(v).shape;
    shapes.push_back(std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" +
                     std::to_string(shape.width));
  }
  EXPECT_EQ(shapes, (std::vector<std::string>{"1x28x28", "6x14x14", "16x5x5", "120x1x1", "84x1x1"}));
}

}  // namespace
}  // namespace steadfast::engine
