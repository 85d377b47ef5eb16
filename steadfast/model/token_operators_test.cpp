// What transformers brought, by hand.
#include <gtest/gtest.h>

#include <optional>

#include "steadfast/base/error.h"
#include "steadfast/model/operators/constant.h"
#include "steadfast/model/operators/layer_normalization.h"
#include "steadfast/model/operators/multiply.h"
#include "steadfast/model/operators/product.h"
#include "steadfast/model/operators/softmax.h"
#include "steadfast/model/random_graph.h"

namespace steadfast::model {
namespace {

using Codes = std::vector<uint8_t>;

struct Operand {
  ValueShape shape;
  Codes codes;
  float scale = 1;
};

// The codes that an operator makes of one or two values.
Codes CodesOf(const Operation& operation, const Operand& a, const std::optional<Operand>& b,
              const ActivationCoding& coding) {
  RandomGraph graph(1);
  graph.model.values.push_back({"input", a.shape, ActivationCoding{.scale = a.scale}});
  std::vector<int> inputs = {0};
  std::vector<std::span<const uint8_t>> codes = {a.codes};
  if (b) {
    inputs.push_back(
        graph.AddNode("b", {"", Constant{b->shape, b->codes}, {0}, 0}, ActivationCoding{.scale = b->scale}));
    codes.push_back(b->codes);
  }
  const int output = graph.AddNode("node", {"", operation, inputs, 0}, coding);
  Codes result(static_cast<size_t>(graph.value(output).shape.elements()));
  operation.definition().scalar_rule(graph.model, graph.model.nodes.back())(codes, result, {});
  return result;
}

TEST(Product, MultipliesMatricesOfEachGroup) {
  const Operand a{{2, 1, 2}, {1, 2, 3, 4}}, b{{2, 1, 2}, {5, 6, 7, 8}};
  EXPECT_EQ(CodesOf(Product{true, 1, 0.5f}, a, b, {}), (Codes{13, 15, 19, 22}));
  EXPECT_EQ(CodesOf(Product{false, 1, 1}, a, b, {}), (Codes{19, 22, 43, 50}));
  EXPECT_EQ(CodesOf(Product{true, 2, 1}, a, b, {}), (Codes{5, 6, 10, 12, 21, 24, 28, 32}));
  EXPECT_THROW(CodesOf(Product{false, 2, 1}, a, b, {}), InputError);
}

TEST(Softmax, IsOfEachGroupOfChannels) {
  const ActivationCoding coding{.scale = 1 / 256.0f};
  constexpr float kLn2 = 0.69314718f;  // each step of a code halves
  const Operand input{{3, 1, 1}, {9, 8, 7}, kLn2};
  EXPECT_EQ(CodesOf(Softmax{1}, input, {}, coding), (Codes{146, 73, 37}));  // 4, 2 and 1 sevenths of 256
  EXPECT_EQ(CodesOf(Softmax{2}, {{4, 1, 1}, {1, 0, 5, 5}, kLn2}, {}, coding), (Codes{171, 85, 128, 128}));
}

TEST(LayerNormalization, HasMeanZeroAndVarianceOne) {
  const ActivationCoding coding{.scale = 0.01f, .zero_point = 128};
  EXPECT_EQ(CodesOf(LayerNormalization{1e-5f}, {{3, 1, 1}, {1, 2, 3}}, {}, coding), (Codes{6, 128, 250}));  // 1.2247
  EXPECT_EQ(CodesOf(LayerNormalization{1e-5f}, {{2, 1, 2}, {4, 7, 6, 7}}, {}, coding), (Codes{28, 128, 228, 128}));
}

TEST(Multiply, TakesAGateOfOneElementAChannel) {
  const Operand value{{2, 1, 2}, {2, 4, 6, 8}, 0.5f};
  EXPECT_EQ(CodesOf(Multiply{}, value, Operand{{2, 1, 1}, {3, 1}, 2.0f}, {}), (Codes{6, 12, 6, 8}));
  EXPECT_EQ(CodesOf(Multiply{}, value, Operand{{2, 1, 2}, {1, 2, 3, 4}}, {}), (Codes{1, 4, 9, 16}));
}

}  // namespace
}  // namespace steadfast::model
