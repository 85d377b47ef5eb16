#include "steadfast/train/optimizer_step.h"

#include <gtest/gtest.h>

#include <cmath>

namespace steadfast::train {
namespace {

using recipe::Recipe;
using torch::Tensor;

// One linear layer with one weight w = 0.9 (4 bits, step 0.5, so Q(w) = 1) and bias 0.5, input 2, loss out^2 / 2.
network::FloatGraph OneLinear() {
  network::GraphBuilder builder("one", {1, 1, 1, true});
  builder.Connect(0, "fc", 1);
  return builder.graph_;
}

class OneWeight : public Network {
 public:
  explicit OneWeight(const Recipe& recipe) : Network(OneLinear(), recipe) {
    Set("fc.weight", 0.9f);
    Set("fc.bias", 0.5f);
    Set("fc.weight_step", 0.5f);
  }

  void Set(const std::string& name, float value) {
    const torch::NoGradGuard no_gradients;
    Find(name).fill_(value);
  }
  float Get(const std::string& name) { return Find(name).item<float>(); }
  Tensor Loss() {
    Pass pass{.training = true};
    return 0.5 * Forward(pass, torch::full({1, 1}, 2.0)).square().sum();
  }

 private:
  Tensor Find(const std::string& name) {
    for (const Parameter& parameter : parameters) {
      if (parameter.name == name) return parameter.tensor;
    }
    throw std::logic_error(name);
  }
};

Recipe PlainSgd(const std::string& sharpness) {
  Recipe recipe;
  recipe.optimizer = recipe::Optimizer::kSgd;
  recipe.momentum = 0;
  recipe.learning_rate = 0.1;
  recipe::ParseSharpness(sharpness, recipe);
  return recipe;
}

double Step(const Recipe& recipe, OneWeight& network) {
  const auto optimizer = MakeOptimizer(recipe, network);
  return OptimizerStep(recipe, network, *optimizer, [&](bool) { return network.Loss(); });
}

const double kStepScale = 1 / std::sqrt(7.0);  // LSQ's g for one weight and Qp = 7

// By hand. out = 2.5; gradients 5 to Q(w), 2.5 to the bias; norm sqrt(31.25). At Q(w) + 0.5 / norm and bias + 0.25 /
// norm out is 2.5 + 1.25 / norm, and gradients are out * 2 to w and out to the bias. The step (not perturbed) gets out
// * 2 * (2 - 1.8) * g.
TEST(OptimizerStep, SaqWorkedByHand) {
  const Recipe recipe = PlainSgd("saq:0.1");
  OneWeight network(recipe);
  EXPECT_NEAR(Step(recipe, network), 3.125, 1e-6);
  const double out = 2.5 + 1.25 / std::sqrt(31.25);
  EXPECT_NEAR(network.Get("fc.weight"), 0.9 - 0.1 * 2 * out, 1e-5);
  EXPECT_NEAR(network.Get("fc.bias"), 0.5 - 0.1 * out, 1e-5);
  EXPECT_NEAR(network.Get("fc.weight_step"), 0.5 - 0.1 * 2 * out * 0.2 * kStepScale, 1e-5);
  EXPECT_FALSE(network.layers()[0]->perturbation.defined());
}

TEST(OptimizerStep, SaqPerturbsOnlyTheGroupsItIsTold) {
  Recipe recipe = PlainSgd("saq:0.1");
  recipe::ParsePerturbed("none", recipe);
  OneWeight network(recipe);
  Step(recipe, network);
  const double out = 2 * (1 + 0.1) + 0.5;  // all of rho goes to the one quantized weight
  EXPECT_NEAR(network.Get("fc.bias"), 0.5 - 0.1 * out, 1e-5);
}

// By hand. Gradients 5, 2.5 and 5 * 0.2 * g to the weight, bias and step; all three move; the moved weight is quantized
// with the moved step, to code 2.
TEST(OptimizerStep, SamWorkedByHand) {
  const Recipe recipe = PlainSgd("sam:0.1");
  OneWeight network(recipe);
  Step(recipe, network);
  const double step_gradient = 5 * 0.2 * kStepScale;
  const double factor = 0.1 / std::sqrt(25 + 6.25 + step_gradient * step_gradient);
  const double out = 2 * 2 * (0.5 + factor * step_gradient) + 0.5 + factor * 2.5;
  EXPECT_NEAR(network.Get("fc.weight"), 0.9 - 0.1 * 2 * out, 1e-5);
  EXPECT_NEAR(network.Get("fc.bias"), 0.5 - 0.1 * out, 1e-5);
}

// As SAM, with the weight's gradient scaled by T = |w| + 0.01 in the norm and by T^2 in the move. The moved weight is
// still code 2, so what the test sees of it is the norm.
TEST(OptimizerStep, AsamWorkedByHand) {
  const Recipe recipe = PlainSgd("asam:0.1");
  OneWeight network(recipe);
  Step(recipe, network);
  const double t = 0.91, step_gradient = 5 * 0.2 * kStepScale;
  const double factor = 0.1 / std::sqrt(25 * t * t + 6.25 + step_gradient * step_gradient);
  const double moved_step = 0.5 + factor * step_gradient, moved_weight = 0.9 + factor * t * t * 5;
  const double out = 2 * 2 * moved_step + 0.5 + factor * 2.5;
  EXPECT_NEAR(network.Get("fc.bias"), 0.5 - 0.1 * out, 1e-5);
  EXPECT_NEAR(network.Get("fc.weight_step"), 0.5 - 0.1 * 2 * out * (2 - moved_weight / moved_step) * kStepScale, 1e-5);
}

TEST(OptimizerStep, RhoZeroIsThePlainStep) {
  for (const char* sharpness : {"sam:0", "asam:0", "saq:0"}) {
    OneWeight plain(PlainSgd("none")), sharp(PlainSgd(sharpness));
    Step(PlainSgd("none"), plain);
    Step(PlainSgd(sharpness), sharp);
    for (const char* name : {"fc.weight", "fc.bias", "fc.weight_step"})
      EXPECT_EQ(plain.Get(name), sharp.Get(name)) << sharpness;
  }
}

TEST(OptimizerStep, StepsStayPositive) {
  Recipe recipe = PlainSgd("none");
  recipe.learning_rate = 100.0;
  OneWeight network(recipe);
  Step(recipe, network);
  EXPECT_GE(network.Get("fc.weight_step"), kSmallestStep);
}

// The bias alone moves under gradient 2.5 + 2 db (other parameters kept still by the test); slow implementations beside
// it.
template <typename Update>
void CompareTrajectory(Recipe recipe, Update update) {
  OneWeight network(recipe);
  const auto optimizer = MakeOptimizer(recipe, network);
  double bias = 0.5;
  for (int t = 1; t <= 30; ++t) {
    update(t, bias, 2.0 + bias);
    OptimizerStep(recipe, network, *optimizer, [&](bool) { return network.Loss(); });
    network.Set("fc.weight", 0.9f);
    network.Set("fc.weight_step", 0.5f);
    ASSERT_NEAR(network.Get("fc.bias"), bias, 2e-4) << t;
  }
}

TEST(MakeOptimizer, SgdFollowsNesterov) {
  Recipe recipe = PlainSgd("none");
  recipe.momentum = 0.9;
  recipe.learning_rate = 0.01;
  double velocity = 0;
  CompareTrajectory(recipe, [&](int t, double& bias, double gradient) {
    velocity = t == 1 ? gradient : 0.9 * velocity + gradient;
    bias -= 0.01 * (gradient + 0.9 * velocity);
  });
}

TEST(MakeOptimizer, AdamFollowsKingmaAndBa) {
  Recipe recipe;
  recipe.learning_rate = 0.01;
  double m = 0, v = 0;
  CompareTrajectory(recipe, [&](int t, double& bias, double gradient) {
    m = 0.9 * m + 0.1 * gradient;
    v = 0.999 * v + 0.001 * gradient * gradient;
    bias -= 0.01 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
  });
}

TEST(MakeOptimizer, DecaysWeightsOnly) {
  Recipe recipe = PlainSgd("none");
  recipe.weight_decay = 0.5;
  OneWeight network(recipe);
  const auto optimizer = MakeOptimizer(recipe, network);
  OptimizerStep(recipe, network, *optimizer, [&](bool) { return 0.0 * network.Loss(); });
  EXPECT_NEAR(network.Get("fc.weight"), 0.9 - 0.1 * 0.5 * 0.9, 1e-6);
  EXPECT_NEAR(network.Get("fc.bias"), 0.5, 1e-6);
  EXPECT_NEAR(network.Get("fc.weight_step"), 0.5, 1e-6);
}

TEST(LearningRateAt, FollowsItsSchedule) {
  Recipe recipe;
  recipe.learning_rate = 1.0;
  EXPECT_NEAR(LearningRateAt(recipe, 0, 100, 10), 1.0, 1e-12);
  EXPECT_NEAR(LearningRateAt(recipe, 50, 100, 10), 0.5, 1e-12);
  recipe::ParseSchedule("step:3,5", recipe);
  EXPECT_NEAR(LearningRateAt(recipe, 29, 100, 10), 1.0, 1e-12);
  EXPECT_NEAR(LearningRateAt(recipe, 30, 100, 10), 0.1, 1e-12);
  EXPECT_NEAR(LearningRateAt(recipe, 99, 100, 10), 0.01, 1e-12);
}

}  // namespace
}  // namespace steadfast::train
