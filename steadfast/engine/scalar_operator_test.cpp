// The path of operators that have no fast one, and what the order of rounding and zero point decides.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "steadfast/engine/differential.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/engine/operators/operator.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/requantization.h"

namespace steadfast::engine {
namespace {

TEST(ScalarOperator, GivesWhatTheFastPathsGive) {
  int compared = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const model::QuantizedModel model = model::RandomModel(seed);
    const auto images = model::RandomImages(model, kBlockImages, seed);
    DenseEngine engine(model);
    engine.KeepAllValues(model);
    const PreparedImages prepared(images, model.value(0).shape.elements());
    std::vector<float> logits(static_cast<size_t>(model.classes() * kBlockImages));
    engine.RunBlock(prepared, 0, logits);
    for (const model::Node& node : model.nodes) {
      if (model::WeightOf(node)) continue;
      const auto slow = MakeScalarOperator({model, node, BestInstructionSet()});
      std::vector<const uint8_t*> inputs;
      for (int input : node.inputs)
        inputs.push_back(input == 0 ? prepared.block(0).data() : engine.CodesOf(input).data());
      const auto expected = engine.CodesOf(node.output);
      Buffer<uint8_t> rows(expected.size());
      Workspace workspace(BestInstructionSet());
      slow->RunBlock(inputs, workspace, {rows.data(), nullptr, nullptr});
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), rows.begin())) << model.name << " " << node.name;
      // Differentially: every channel of the first input is another.
      const auto shape_of = [&](int value) { return model.value(value).shape; };
      std::vector<ChangedValue> changed;
      std::vector<ChangedValue*> pointers;
      changed.reserve(node.inputs.size());
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const auto shape = shape_of(node.inputs[i]);
        changed.emplace_back(shape.channels, shape.height * shape.width);
        changed.back().Reset(inputs[i]);
        for (int64_t c = 0; i == 0 && c < shape.channels; ++c) {
          const auto bytes = static_cast<size_t>(shape.height * shape.width * kRowBytes);
          for (size_t b = 0; b < bytes; ++b) changed.back().Begin(c)[b] = changed.back().golden(c)[b] / 2;
          changed.back().Finish(c, ~uint64_t{0}, *workspace.kernels);
        }
        pointers.push_back(&changed.back());
      }
      const auto out = shape_of(node.output);
      const auto run = [&](const Operator& operation) {
        ChangedValue output(out.channels, out.height * out.width);
        output.Reset(expected.data());
        BlockChange change{pointers, {}, {}};
        change.valid = ~uint64_t{0};
        change.output = &output;
        std::any state;
        operation.RunChanged(change, workspace, state);
        std::vector<uint8_t> codes;
        for (int64_t c = 0; c < out.channels; ++c)
          codes.insert(codes.end(), output.channel(c), output.channel(c) + out.height * out.width * kRowBytes);
        return codes;
      };
      ASSERT_EQ(run(*slow), run(*MakeOperator(model, node, BestInstructionSet()))) << model.name << " " << node.name;
      ++compared;
    }
  }
  EXPECT_GT(compared, 60);
}

// Weights that several layers share are one parameter: a fault in them is a fault in each.
TEST(SharedParameters, FailEverywhere) {
  model::QuantizedModel model;
  const model::ActivationCoding coding{.bits = 8, .scale = 0.5f, .zero_point = 100};
  model.values = {{"input", {6, 1, 1, true}, model::ActivationCoding{.bits = 8, .scale = 0.01f, .zero_point = 128}},
                  {"a", {6, 1, 1, true}, coding},
                  {"b", {6, 1, 1, true}, coding},
                  {"logits", {6, 1, 1, true}, std::nullopt}};
  std::vector<int16_t> codes;
  for (int i = 0; i < 36; ++i) codes.push_back(static_cast<int16_t>(i * 7 % 15 - 7));
  const int weight = model::AddWeights(model, "w", {6, 6}, {.bits = 4}, {0.3f}, codes);
  const model::Weighted weighted = model::AddAffine(model, "w", weight, {}, {0.1f, -0.2f, 0.3f, 0.0f, 0.5f, -0.6f});
  for (int i = 0; i < 3; ++i) model.nodes.push_back({"layer" + std::to_string(i), model::Linear{weighted}, {i}, i + 1});
  model.output = 3;
  model::Validate(model);
  const auto images = model::RandomImages(model, 100, 3);
  std::vector<uint16_t> labels;
  for (int i = 0; i < 100; ++i) labels.push_back(static_cast<uint16_t>(i % 6));
  const EvaluationSet set = MakeEvaluationSet(model, images, labels);
  const Golden golden = RunGolden(model, set, 1);
  Evaluator dense(model, set), differential(model, set, MakeGoldenRun(DifferentialPlan(model), set, 1));
  for (int parameter : {weight, model.parameter(weight).scale, weighted.steps[0].parameter}) {
    for (int64_t i = 0; i < std::min<int64_t>(6, model.parameter(parameter).elements()); ++i) {
      for (int bit = 0; bit < model.parameter(parameter).format.bits(); ++bit) {
        const uint32_t stored = model.parameter(parameter).bits[static_cast<size_t>(i)];
        const model::ModelChange change{{{parameter, i, stored, stored ^ 1u << bit}}};
        model::QuantizedModel changed = model;
        Apply(change, changed);
        const Scores expected = ScoreOf(RunReference(changed, images), 6, labels, golden.predictions);
        ASSERT_EQ(dense.Evaluate(change, golden), expected) << parameter << " " << i << " " << bit;
        ASSERT_EQ(differential.Evaluate(change, golden), expected) << parameter << " " << i << " " << bit;
      }
    }
  }
  EXPECT_EQ(NeuronLookUp::CodesOf(DifferentialPlan(model), weight), 0) << "no neuron of one layer";
}

// How many codes the order of rounding and zero point decides: before reading 2 the zero point was added first. Of
// networks whose output zero points are 0, none.
TEST(Rounding, BeforeTheZeroPointMovesCodesNextToTiesAlone) {
  int64_t codes = 0, moved = 0, of_ties = 0, without_zero_point = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    const model::QuantizedModel model = model::RandomModel(seed);
    for (const model::Node& node : model.nodes) {
      const auto& coding = model.value(node.output).coding;
      if (!model::WeightOf(node) || !coding) continue;
      const model::Requantization r = model::RequantizationOf(model, node);
      for (size_t c = 0; c < r.scale.size(); ++c) {
        for (int32_t sum = -3000; sum < 3000; sum += 7) {
          const float product = static_cast<float>(sum) * r.scale[c];
          const float with_zero = product + (r.offset[c] + static_cast<float>(r.zero_point));
          const float low = r.lowest + static_cast<float>(r.zero_point),
                      high = r.highest + static_cast<float>(r.zero_point);
          int before = static_cast<int>(std::min(std::max(std::rint(with_zero), low), high));
          if (before < r.zero_below) before = r.lowest_code();
          const int now = model::Requantize(sum, r, static_cast<int64_t>(c));
          if (r.zero_point == 0) {
            without_zero_point += before != now;
            continue;
          }
          ++codes;
          if (before == now) continue;
          ++moved;
          const double exact = double{static_cast<float>(sum)} * r.scale[c] + r.offset[c];
          of_ties += std::abs(std::abs(exact - std::floor(exact)) - 0.5) < 1e-4;
        }
      }
    }
  }
  std::printf("%lld of %lld codes move, %lld of them within 1e-4 of a tie\n", static_cast<long long>(moved),
              static_cast<long long>(codes), static_cast<long long>(of_ties));
  EXPECT_EQ(without_zero_point, 0);
  EXPECT_GT(codes, 10000);
  EXPECT_EQ(moved, of_ties);
}

// What broken parameters mean, by hand.
TEST(BrokenNumbers, HaveOneMeaning) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const auto code = [](float scale, float offset, int32_t sum) {
    const model::Requantization r{.scale = {scale}, .offset = {offset}, .lowest = -3, .highest = 12, .zero_point = 3};
    return int{model::Requantize(sum, r, 0)};
  };
  EXPECT_EQ(code(nan, 0, 5), 0);
  EXPECT_EQ(code(1, nan, 5), 0);
  EXPECT_EQ(code(infinity, 0, 5), 15);
  EXPECT_EQ(code(infinity, 0, -5), 0);
  EXPECT_EQ(code(infinity, 0, 0), 0) << "0 times infinity is NaN";
  EXPECT_EQ(code(-1, 0, 2), 1);
  EXPECT_EQ(code(1e-45f, 0, 5), 3) << "denormal";
  const std::vector<float> logits = {nan, 2.0f, -infinity, 1.0f};
  EXPECT_EQ(ArgMax(logits), 1);
  EXPECT_EQ(MarginOf(logits, 1), RoundedScore(1.0));
  EXPECT_EQ(MarginOf(logits, 0), RoundedScore(-kLargestScore));
  EXPECT_EQ(LossOf(logits, 1), RoundedScore(kLargestScore));
  EXPECT_EQ(ArgMax(std::vector<float>{nan, nan}), 0);
}

}  // namespace
}  // namespace steadfast::engine
