#include "steadfast/engine/sliced.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>

#include "steadfast/engine/block.h"
#include "steadfast/engine/dense.h"
#include "steadfast/engine/graphs_to_try.h"
#include "steadfast/engine/kernels/token_slices.h"
#include "steadfast/engine/reference.h"
#include "steadfast/engine/sets_to_try.h"
#include "steadfast/model/operators/add.h"
#include "steadfast/model/operators/average_pool.h"
#include "steadfast/model/operators/concatenate.h"
#include "steadfast/model/operators/convolution.h"
#include "steadfast/model/operators/elementwise.h"
#include "steadfast/model/operators/layer_normalization.h"
#include "steadfast/model/operators/max_pool.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/softmax.h"
#include "steadfast/model/random_graph.h"
#include "steadfast/model/random_model.h"

namespace steadfast::engine {
namespace {

using model::QuantizedModel;
using model::RandomGraph;
using model::ValueShape;
using model::Window;

class Sliced : public OnInstructionSet {
 protected:
  // Runs a model slice by slice, under other parameters of the same structure where given.
  std::vector<uint32_t> Run(const QuantizedModel& model, const std::vector<uint8_t>& bytes,
                            const QuantizedModel* changed = nullptr,
                            const std::function<void(WeightedOperator&)>& prepare = {}) {
    std::vector<Step> steps = MakeSteps(model, true, GetParam());
    const std::unique_ptr<const SlicedPath> path = SlicedPath::Make(model, steps, GetParam());
    if (path == nullptr) return {};
    for (Step& step : steps) {
      if (changed == nullptr || step.weighted() == nullptr) continue;
      step.operation = step.weighted()->Clone();
      step.weighted()->SetParameters(*changed, model.nodes[static_cast<size_t>(step.node)]);
    }
    for (Step& step : steps) {
      if (prepare && step.weighted() != nullptr) prepare(*step.weighted());
    }
    Workspace workspace(GetParam());
    SlicedMemory memory;
    const PreparedImages images(bytes, model.values[0].shape.elements());
    const int64_t classes = model.classes();
    std::vector<float> block(static_cast<size_t>(classes * kBlockImages));
    std::vector<uint32_t> logits;
    for (int64_t b = 0; b < images.blocks(); ++b) {
      path->Run(steps, images.block(b).data(), images.images_in(b), workspace, memory, block.data());
      for (int64_t i = 0; i < images.images_in(b); ++i) {
        for (int64_t c = 0; c < classes; ++c)
          logits.push_back(std::bit_cast<uint32_t>(block[static_cast<size_t>(c * kBlockImages + i)]));
      }
    }
    return logits;
  }

  static std::vector<uint32_t> BitsOf(const std::vector<float>& values) {
    std::vector<uint32_t> bits;
    for (const float value : values) bits.push_back(std::bit_cast<uint32_t>(value));
    return bits;
  }
  static std::vector<uint32_t> Reference(const QuantizedModel& model, const std::vector<uint8_t>& bytes) {
    return BitsOf(RunReference(model, bytes));
  }

  void ExpectEqual(const QuantizedModel& model, uint64_t seed) {
    ExpectEqual(model, model::RandomImages(model, 1 + static_cast<int64_t>(seed % 70), seed));
  }
  void ExpectEqual(const QuantizedModel& model, const std::vector<uint8_t>& bytes) {
    model::Validate(model);
    const auto reference = Reference(model, bytes);
    ASSERT_EQ(Run(model, bytes), reference) << model.name;
    DenseEngine by_rows(model, GetParam());
    by_rows.KeepAllValues(model);
    ASSERT_EQ(BitsOf(by_rows.Run(PreparedImages(bytes, model.values[0].shape.elements()))), reference) << model.name;
  }
};

RandomGraph GraphOf(uint64_t seed, const ValueShape& input) {
  RandomGraph graph(seed);
  graph.model.name = "graph " + std::to_string(seed);
  graph.model.values.push_back(
      {"input", input, model::ActivationCoding{.bits = 8, .scale = 0.01f, .zero_point = static_cast<int>(seed % 256)}});
  return graph;
}

TEST_P(Sliced, EqualsTheReferenceOnRandomGraphs) {
  for (uint64_t seed = 0; seed < GraphsToTry(120); ++seed)
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(model::RandomModel(seed), seed));
}

// Numbers of channels, outputs and places around those of a tile; groups of any size, 1 x 1 windows, strides.
TEST_P(Sliced, EqualsTheReferenceAtEveryTileBoundary) {
  for (uint64_t seed = 0; seed < GraphsToTry(120); ++seed) {
    RandomGraph graph = GraphOf(seed, {static_cast<int64_t>(seed % 7 + 1), 1, 1});
    graph.model.values[0].shape.height = graph.Between(1, 9);
    graph.model.values[0].shape.width = graph.Between(1, 9);
    int current = 0;
    for (int layer = 0; layer < 3; ++layer) {
      const ValueShape shape = graph.value(current).shape;
      const Window window = graph.Chance(40) ? Window{} : graph.RandomWindow(shape, false);
      // As many outputs as channels, or a multiple, may become a depthwise convolution.
      const int64_t outputs = graph.Chance(40)   ? shape.channels * graph.Between(1, 2)
                              : graph.Chance(20) ? graph.Between(20, 40)
                                                 : graph.Between(1, 19);
      current = graph.AddConvolution(current, "conv" + std::to_string(layer), window, outputs);
      // Zero points and thresholds that random layers seldom have: one above all codes makes them all the lowest.
      model::ActivationCoding& coding = *graph.model.values[static_cast<size_t>(current)].coding;
      if (graph.Chance(30)) coding.zero_point = static_cast<int>(graph.Between(0, coding.highest_code()));
      if (graph.Chance(10)) coding.zero_below = coding.highest_code() + 1;
    }
    graph.model.output = graph.AddLinear(current, "last", graph.Between(1, 18), graph.Format(), true);
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(graph.model, seed));
  }
}

// Additions behind a sum or on their own, pools with and without padding, and branches that are joined.
TEST_P(Sliced, EqualsTheReferenceOnResidualNetworks) {
  for (uint64_t seed = 0; seed < GraphsToTry(120); ++seed) {
    RandomGraph graph = GraphOf(seed, {3, 8, 8});
    const Window three{.kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
    const int64_t channels = graph.Between(1, 12);
    int current = graph.AddConvolution(0, "stem", three, channels);
    for (int block = 0; block < 2; ++block) {
      const std::string name = "block" + std::to_string(block);
      const int inside = graph.AddConvolution(current, name + ".a", three, channels);
      const int second = graph.AddConvolution(inside, name + ".b", three, channels);
      const int shortcut = graph.Chance(50) ? current : graph.AddConvolution(current, name + ".c", Window{}, channels);
      const model::Activation activation = graph.RandomActivation(60);
      auto coding = graph.CodingOfAbout(*graph.value(second).coding, graph.Real(0.5f, 2.0f), !activation.relu);
      if (graph.Chance(30)) coding.scale = std::exp2(std::round(std::log2(coding.scale)));
      if (graph.Chance(30)) coding.zero_point = static_cast<int>(graph.Between(0, coding.highest_code()));
      if (graph.Chance(10)) coding.zero_below = coding.highest_code() + 1;
      const std::vector<int> operands =
          graph.Chance(50) ? std::vector{second, shortcut} : std::vector{shortcut, second};
      current = graph.AddNode(name + ".add", {"", model::Add{}, operands, 0, activation}, coding);
      if (graph.Chance(30)) {
        Window pool{.kernel_h = 2, .kernel_w = 2, .stride_h = 2, .stride_w = 2};
        if (graph.Chance(50)) pool.pad_top = pool.pad_left = 1;
        if (graph.Chance(50))
          current =
              graph.AddNode(name + ".pool", {"", model::MaxPool{pool}, {current}, 0}, graph.value(current).coding);
        else
          current =
              graph.AddNode(name + ".pool", {"", model::AveragePool{pool}, {current}, 0}, graph.value(current).coding);
      }
      if (graph.Chance(30)) {
        const int other = graph.AddConvolution(current, name + ".d", Window{}, channels);
        const int joined =
            graph.AddNode(name + ".join", {"", model::Concatenate{}, {current, other}, 0}, graph.value(current).coding);
        current = graph.AddConvolution(joined, name + ".e", Window{}, channels);
      }
    }
    graph.model.output = graph.AddLinear(current, "last", 5, graph.Format(), true);
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(graph.model, seed));
  }
}

// Attention of several heads, of as many keys as queries or others, with channels and keys that fill quads and any
// number of queries; layer normalization and tables of codes; borders of padding. Nothing goes through rows.
TEST_P(Sliced, EqualsTheReferenceOnAttention) {
  for (uint64_t seed = 0; seed < GraphsToTry(60); ++seed) {
    RandomGraph graph = GraphOf(seed, {3, 2 * static_cast<int64_t>(seed % 4 + 1), 4});
    const auto shake = [&](int value) {
      model::ActivationCoding& coding = *graph.model.values[static_cast<size_t>(value)].coding;
      if (graph.Chance(40)) coding.zero_point = static_cast<int>(graph.Between(0, coding.highest_code()));
      if (graph.Chance(15)) coding.zero_below = static_cast<int>(graph.Between(0, coding.highest_code() + 1));
      return value;
    };
    const int groups = static_cast<int>(graph.Between(1, 3));
    const int64_t channels = 4 * groups * graph.Between(1, 3);
    const auto layer = [&](int input, const char* name, int64_t outputs) {
      return shake(graph.AddConvolution(input, name, Window{}, outputs));
    };
    const auto multiply = [&](const char* name, model::Product op, int a, int b) {
      model::ActivationCoding coding = graph.CodingOfAbout(*graph.value(a).coding, 1, true);
      coding.scale *= graph.Real(0.3f, 30);
      return shake(graph.AddNode(name, {"", op, {a, b}, 0, graph.RandomActivation(20)}, coding));
    };
    const int x = layer(0, "x", channels);
    const int norm = shake(model::Definition<model::LayerNormalization>().sample(graph, x));
    int seen = norm;
    if (graph.Chance(50)) {
      const Window pool{.kernel_h = 2, .kernel_w = 1, .stride_h = 2, .stride_w = 1};
      seen = graph.AddNode("pool", {"", model::MaxPool{pool}, {norm}, 0}, graph.value(norm).coding);
    }
    int asking = norm;  // of fewer queries, which need not come in fours
    if (graph.Chance(50)) {
      const Window pool{
          .kernel_h = 1, .kernel_w = static_cast<int32_t>(graph.Between(2, 4)), .stride_h = 2, .stride_w = 1};
      asking = graph.AddNode("fewer", {"", model::MaxPool{pool}, {norm}, 0}, graph.value(norm).coding);
    }
    const int queries = layer(asking, "queries", channels);
    const int keys = asking == seen && graph.Chance(30) ? queries : layer(seen, "keys", channels);
    const int scores = multiply("scores", {true, groups, graph.Chance(50) ? graph.Real(0.1f, 1) : 1.0f}, keys, queries);
    model::ActivationCoding weights = graph.CodingOfAbout(*graph.value(scores).coding, 1, false);
    weights.scale = graph.Chance(10) ? 1e-45f :  // whose inverse is not finite
                        graph.Real(0.1f, 1) / static_cast<float>(weights.highest_code());
    const int attention = shake(graph.AddNode("attention", {"", model::Softmax{groups}, {scores}, 0}, weights));
    const int mixed = multiply("mixed", {false, groups, 1}, layer(seen, "values", channels), attention);
    int last = shake(model::Definition<model::Elementwise>().sample(graph, mixed));
    if (graph.Chance(50)) {  // what takes these values with padding lays a border around them
      const Window three{.kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
      const int a = graph.AddConvolution(mixed, "around", three, 4), b = graph.AddConvolution(last, "behind", three, 4);
      last = graph.AddNode("sum", {"", model::Add{}, {a, b}, 0}, graph.value(a).coding);
    }
    graph.model.output = graph.AddLinear(last, "last", 5, graph.Format(), true);
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(graph.model, seed));
    std::vector<Step> steps = MakeSteps(graph.model, true, GetParam());
    const auto path = SlicedPath::Make(graph.model, steps, GetParam());
    ASSERT_NE(path, nullptr);
    EXPECT_EQ(path->StageCount(), 1) << seed;
  }
}

// Every set looks exponentials up as plain loops do; machines with VNNI have tables in registers or not.
TEST_P(Sliced, SoftmaxIsThatOfPlainLoops) {
  const TokenSliceKernels &with = TokenSliceKernelsOf(GetParam()), &without = TokenSliceKernelsOf(GetParam(), false),
                          &plain = TokenSliceKernelsOf(InstructionSet::kPortable);
  std::mt19937_64 random(1);
  for (int round = 0; round < 50; ++round) {
    const int64_t quads = 1 + round % 9;
    std::vector<uint8_t> codes(static_cast<size_t>(quads * kSliceQuadBytes)), table(256), a(codes.size()),
        b(codes.size()), c(codes.size());
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random());
    for (uint8_t& code : table) code = static_cast<uint8_t>(random());
    std::array<int32_t, 256> exponentials;
    for (int32_t& value : exponentials) value = static_cast<int32_t>(random() % (1 << 20));
    exponentials[0] = 1 << 20;
    std::vector<int32_t> numerators(codes.size());
    const QuantizeConstants constants{1 / 255.0f, round % 7, 0, 255, round % 3};
    for (const auto& [kernels, to] : {std::pair{&with, &a}, {&without, &b}, {&plain, &c}})
      kernels->softmax(codes.data(), quads, ExponentialTable(exponentials), numerators.data(), constants, to->data());
    ASSERT_EQ(a, c) << round;
    ASSERT_EQ(b, c) << round;
    with.look_up(table.data(), codes.data(), a.data());
    for (size_t i = 0; i < kSliceQuadBytes; ++i) ASSERT_EQ(a[i], table[codes[i]]);
  }
}

// Every pair of codes: quotients that fall on ties, or next to them, among them.
TEST_P(Sliced, AddsEveryPairOfCodes) {
  std::vector<uint8_t> pairs;
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) pairs.insert(pairs.end(), {static_cast<uint8_t>(a), static_cast<uint8_t>(b)});
  }
  // Scales of the operands and of their sum.
  constexpr float kScales[][3] = {
      {0.75f, 0.5f, 1.0f}, {0.3f, 0.1f, 0.2f}, {0.011f, 0.017f, 0.023f}, {0.7f, 0.35f, 0.7f}, {1e-20f, 3e-20f, 2e-20f}};
  for (const auto& scales : kScales) {
    RandomGraph graph = GraphOf(0, {2, 1, 1});
    graph.model.values[0].coding->scale = 1;
    graph.model.values[0].coding->zero_point = 0;
    std::vector<int> operands;
    for (size_t i = 0; i < 2; ++i) {  // each takes one of the two codes as it is
      const std::string name = "operand" + std::to_string(i);
      std::vector<int16_t> codes(8, 0);
      for (size_t output = 0; output < 4; ++output) codes[2 * output + i] = 1;
      const int weight = model::AddWeights(graph.model, name + ".weight", {4, 2, 1, 1}, {}, {scales[i]}, codes);
      operands.push_back(graph.AddNode(name, {"", model::Convolution{{weight, {}}, Window{}, 1}, {0}, 0},
                                       model::ActivationCoding{.bits = 8, .scale = scales[i]}));
    }
    const int sum = graph.AddNode("sum", {"", model::Add{}, operands, 0},
                                  model::ActivationCoding{.bits = 8, .scale = scales[2], .zero_point = 3});
    graph.model.output = graph.AddLinear(sum, "last", 2, {}, true);
    ASSERT_NO_FATAL_FAILURE(ExpectEqual(graph.model, pairs)) << scales[2];
  }
}

// Every way to tile a layer, on random graphs and on a layer that takes several bands.
TEST_P(Sliced, EqualsTheReferenceHoweverLayersAreTiled) {
  const auto expect_equal = [&](const QuantizedModel& model, int64_t count, uint64_t seed) {
    const auto bytes = model::RandomImages(model, count, seed);
    const auto reference = Reference(model, bytes);
    int most = 1;
    for (int way = 0; way < most; ++way) {
      const auto sliced = Run(model, bytes, nullptr, [&](WeightedOperator& weighted) {
        most = std::max(most, weighted.WaysToTile());
        weighted.TakeTiles(way % weighted.WaysToTile());
      });
      ASSERT_EQ(sliced, reference) << model.name << ", " << way;
    }
    EXPECT_GE(most, 4) << "bands of two caches and none, beside what the shape suggests";
    // The fastest, whichever that is.
    DenseEngine engine(model, GetParam());
    const PreparedImages images(bytes, model.values[0].shape.elements());
    engine.ChoosePaths(images);
    ASSERT_EQ(BitsOf(engine.Run(images)), reference) << model.name;
  };
  for (uint64_t seed = 0; seed < GraphsToTry(30); ++seed) {
    RandomGraph graph(seed);
    graph.model.values.push_back({"input",
                                  {graph.Between(1, 9), graph.Between(3, 9), graph.Between(3, 9)},
                                  model::ActivationCoding{.scale = 0.01f}});
    const int hidden = graph.AddConvolution(0, "first", {.kernel_h = 3, .kernel_w = 3}, graph.Between(1, 20));
    graph.model.output = graph.AddLinear(hidden, "last", 5, graph.Format(), true);
    ASSERT_NO_FATAL_FAILURE(expect_equal(graph.model, 1 + static_cast<int64_t>(seed * 5 % 70), seed));
  }
  RandomGraph graph(1);
  graph.model.values.push_back({"input", {16, 40, 40}, model::ActivationCoding{.scale = 0.01f}});
  const int hidden = graph.AddConvolution(
      0, "wide", {.kernel_h = 3, .kernel_w = 3, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1}, 12);
  graph.model.output = graph.AddLinear(hidden, "last", 5, {.bits = 4}, true);
  ASSERT_NO_FATAL_FAILURE(expect_equal(graph.model, 17, 1));
}

// Weights, scales and biases of any bits, those that make a scale negative or not a number among them.
TEST_P(Sliced, EqualsTheReferenceUnderBrokenParameters) {
  for (uint64_t seed = 0; seed < GraphsToTry(100); ++seed) {
    const QuantizedModel model = model::RandomModel(seed);
    QuantizedModel broken = model;
    std::mt19937_64 random(seed);
    for (auto& parameter : broken.parameters) {
      for (int fault = 0; fault < 2; ++fault) {
        const int bits = parameter.format.bits();
        const auto element = static_cast<size_t>(random() % parameter.bits.size());
        const bool is_extreme = random() % 4 == 0 && bits == 32;
        const uint32_t extremes[] = {0x7F800000, 0xFF800000, 0x7FC00000, 0x7F7FFFFF, 0x00000001, 0x80000000};
        parameter.bits[element] = is_extreme   ? extremes[random() % std::size(extremes)]
                                  : bits == 32 ? parameter.bits[element] ^ (1u << (random() % 32))
                                               : static_cast<uint32_t>(random()) & ((1u << bits) - 1);
      }
    }
    const auto bytes = model::RandomImages(model, 1 + static_cast<int64_t>(seed % 70), seed);
    const auto sliced = Run(model, bytes, &broken);
    const auto reference = Reference(broken, bytes);
    ASSERT_EQ(sliced.size(), reference.size()) << seed;
    for (size_t i = 0; i < sliced.size(); ++i) {
      const float a = std::bit_cast<float>(sliced[i]), b = std::bit_cast<float>(reference[i]);
      ASSERT_TRUE(sliced[i] == reference[i] || (std::isnan(a) && std::isnan(b))) << seed << ", " << i;
    }
  }
}

TEST_P(Sliced, EqualsTheReferenceOnNetworksOfTheField) {
  for (const int bits : {2, 4, 8}) {
    const QuantizedModel model = model::RandomLeNet5(bits, bits, 1);
    const auto bytes = model::RandomImages(model, 70, 2);
    ASSERT_EQ(Run(model, bytes), Reference(model, bytes)) << bits;
  }
}

// Plain loops have no kernels of slices.
INSTANTIATE_TEST_SUITE_P(InstructionSets, Sliced, testing::ValuesIn(SetsToTry(InstructionSet::kAvx2)), SetName);

}  // namespace
}  // namespace steadfast::engine
