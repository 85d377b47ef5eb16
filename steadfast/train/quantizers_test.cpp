#include "steadfast/train/quantizers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace steadfast::train {
namespace {

using recipe::Quantizer;
using torch::Tensor;

// LSQ's pseudocode (Esser et al., appendix) as a chain of LibTorch operations.
Tensor SlowLsq(const Tensor& x, const Tensor& step, int lowest, int highest, double gradient_scale) {
  const Tensor scaled = step * gradient_scale;
  const Tensor s = (step - scaled).detach() + scaled;
  const Tensor v = torch::clamp(x / s, lowest, highest);
  return ((torch::round(v) - v).detach() + v) * s;
}

TEST(LsqQuantize, HasTheGradientsOfItsPseudocode) {
  torch::manual_seed(1);
  for (const auto& [lowest, highest] : {std::pair{-8, 7}, {0, 15}, {-1, 1}}) {
    const Tensor x = torch::randn({50, 40}), upstream = torch::randn({50, 40});
    Tensor x1 = x.clone().set_requires_grad(true), x2 = x.clone().set_requires_grad(true);
    Tensor s1 = torch::full({1}, 0.23).set_requires_grad(true), s2 = torch::full({1}, 0.23).set_requires_grad(true);
    const Tensor fast = LsqQuantize(x1, s1, lowest, highest, 0.01), slow = SlowLsq(x2, s2, lowest, highest, 0.01);
    EXPECT_TRUE(torch::allclose(fast, slow, 1e-5, 1e-6));
    (fast * upstream).sum().backward();
    (slow * upstream).sum().backward();
    EXPECT_TRUE(torch::allclose(x1.grad(), x2.grad()));
    EXPECT_NEAR(s1.grad().item<double>(), s2.grad().item<double>(), 1e-4 * (1 + std::abs(s2.grad().item<double>())));
  }
}

// By hand: x = 0.9, step 0.5: v = 1.8, code 2, value 1. Step gradient of one: (2 - 1.8) * scale. Beyond the range
// (x = 5, highest code 7): v = 10, value 3.5, gradient 0 to x and 7 * scale to the step.
TEST(LsqQuantize, WorkedByHand) {
  Tensor x = torch::tensor({0.9f, 5.0f}).set_requires_grad(true), step = torch::full({1}, 0.5).set_requires_grad(true);
  const Tensor y = LsqQuantize(x, step, -8, 7, 0.25);
  EXPECT_FLOAT_EQ(y[0].item<float>(), 1.0f);
  EXPECT_FLOAT_EQ(y[1].item<float>(), 3.5f);
  y.sum().backward();
  EXPECT_FLOAT_EQ(x.grad()[0].item<float>(), 1.0f);
  EXPECT_FLOAT_EQ(x.grad()[1].item<float>(), 0.0f);
  EXPECT_NEAR(step.grad().item<float>(), (0.2 + 7.0) * 0.25, 1e-6);
}

TEST(LsqQuantizeActivations, PenaltiesHaveTheGradientsOfAutograd) {
  torch::manual_seed(2);
  const Tensor x = torch::randn({8, 30}), upstream = torch::randn({8, 30});
  const auto hoyer = [](const Tensor& sum, const Tensor& squares) { return 0.3 * sum + sum.square() / squares; };
  for (bool after : {false, true}) {
    Tensor x1 = x.clone().set_requires_grad(true), x2 = x.clone().set_requires_grad(true);
    Tensor s1 = torch::full({1}, 0.2).set_requires_grad(true), s2 = torch::full({1}, 0.2).set_requires_grad(true);
    const auto fast = LsqQuantizeActivations(x1, s1, 7, 0.1, true, after);
    ((fast.values * upstream).sum() + hoyer(fast.sum, fast.squares)).backward();
    const Tensor slow = SlowLsq(x2, s2, 0, 7, 0.1);
    const Tensor penalized = after ? slow : torch::relu(x2);
    ((slow * upstream).sum() + hoyer(penalized.abs().sum(), penalized.square().sum())).backward();
    EXPECT_TRUE(torch::allclose(x1.grad(), x2.grad(), 1e-4, 1e-5)) << after;
    EXPECT_NEAR(s1.grad().item<double>(), s2.grad().item<double>(), 1e-4 * (1 + std::abs(s2.grad().item<double>())))
        << after;
  }
}

// What other devices take: here, of doubles on this one.
TEST(LsqQuantizeActivations, OperationsAgreeWithTheFusedLoops) {
  torch::manual_seed(5);
  const Tensor x = torch::randn({9, 20}), upstream = torch::randn({9, 20});
  for (const double step : {0.21, -1.0}) {  // below zero: the smallest there is
    for (const bool after : {false, true}) {
      const auto gradients = [&](torch::Dtype dtype) {
        Tensor own = x.to(dtype, false, true).set_requires_grad(true),
               own_step = torch::full({1}, step, dtype).set_requires_grad(true);
        const auto made = LsqQuantizeActivations(own, own_step, 15, 0.1, true, after);
        const Tensor weight = LsqQuantize(own, own_step, -8, 7, 0.3);
        ((made.values + 0.5 * weight) * upstream.to(dtype)).sum().add(0.2 * made.sum + 0.1 * made.squares).backward();
        return std::vector<Tensor>{made.values, made.sum, weight, own.grad(), own_step.grad()};
      };
      const auto fused = gradients(torch::kFloat), plain = gradients(torch::kDouble);
      for (size_t i = 0; i < fused.size(); ++i)
        EXPECT_TRUE(torch::allclose(fused[i].to(torch::kDouble), plain[i].detach(), 1e-3, 1e-4)) << i << " " << step;
    }
  }
}

TEST(WeightQuantizer, StoresWhatItComputes) {
  torch::manual_seed(3);
  const Tensor weight = torch::randn({6, 5, 3, 3}) * 0.2;
  for (Quantizer kind : {Quantizer::kLsq, Quantizer::kLiq, Quantizer::kDoReFa}) {
    for (int bits = kind == Quantizer::kLsq ? 2 : 1; bits <= 8; ++bits) {
      for (bool option : {false, true}) {  // narrow for LSQ, normalized for LIQ
        const WeightQuantizer quantizer{kind, bits, kind == Quantizer::kLsq && option,
                                        kind == Quantizer::kLiq && option};
        const Tensor step = torch::full({1}, quantizer.initial_step(weight));
        const Tensor expected = quantizer(weight, step).reshape({-1});
        const auto stored = quantizer.store(weight, step);
        std::set<int> codes;
        for (size_t i = 0; i < stored.codes.size(); ++i) {
          const int code = stored.codes[i];
          ASSERT_GE(code, quantizer.format().lowest_code());
          ASSERT_LE(code, quantizer.format().highest_code());
          ASSERT_NEAR(stored.scale * static_cast<float>(quantizer.format().level(code)),
                      expected[static_cast<int64_t>(i)].item<float>(), 1e-5)
              << recipe::NameOf(kind) << bits;
          codes.insert(code);
        }
        EXPECT_GE(codes.size(), 2u);
      }
    }
  }
}

TEST(WeightQuantizer, GradientsReachTheWeights) {
  torch::manual_seed(4);
  for (Quantizer kind : {Quantizer::kLsq, Quantizer::kLiq, Quantizer::kDoReFa}) {
    Tensor weight = (torch::randn({4, 10}) * 0.2).set_requires_grad(true);
    const WeightQuantizer quantizer{kind, 2, false, false};
    Tensor step = torch::full({1}, quantizer.initial_step(weight.detach())).set_requires_grad(quantizer.has_step());
    (quantizer(weight, step) * torch::randn({4, 10})).sum().backward();
    EXPECT_GT(weight.grad().abs().sum().item<double>(), 0.0) << recipe::NameOf(kind);
    if (quantizer.has_step()) {
      EXPECT_GT(step.grad().abs().item<double>(), 0.0) << recipe::NameOf(kind);
    }
  }
}

// One-bit DoReFa: sign(w) mean|w|.
TEST(WeightQuantizer, BinaryDoReFaByHand) {
  const Tensor weight = torch::tensor({0.5f, -0.1f, -0.3f, 0.0f});
  const Tensor q = WeightQuantizer{Quantizer::kDoReFa, 1, false, false}(weight, Tensor());
  EXPECT_TRUE(torch::allclose(q, torch::tensor({0.225f, -0.225f, -0.225f, 0.225f})));
}

}  // namespace
}  // namespace steadfast::train
