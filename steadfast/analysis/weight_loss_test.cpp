#include "steadfast/analysis/weight_loss.h"

#include <gtest/gtest.h>

#include <Eigen/Eigenvalues>

#include "steadfast/analysis/spectrum.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/model/operators/linear.h"
#include "steadfast/model/random_model.h"
#include "steadfast/model/requantization.h"

namespace steadfast::analysis {
namespace {

using torch::Tensor;

constexpr int kInputs = 6, kHidden = 5, kClasses = 3, kWeights = kInputs * kHidden + kHidden * kClasses;
constexpr int64_t kImages = 40;

// 45 weights: small enough for a whole Hessian.
model::QuantizedModel TinyNetwork() {
  model::QuantizedModel model;
  model.name = "tiny";
  model.values = {
      {"input", {kInputs, 1, 1, true}, model::ActivationCoding{.bits = 8, .scale = 0.02f, .zero_point = 100}},
      {"hidden", {kHidden, 1, 1, true}, model::ActivationCoding{.bits = 3, .scale = 0.4f}},
      {"logits", {kClasses, 1, 1, true}, std::nullopt}};
  const auto codes = [](int n, int step) {
    std::vector<int16_t> result;
    for (int i = 0; i < n; ++i) result.push_back(static_cast<int16_t>((i * step + 3) % 15 - 7));
    return result;
  };
  const int a =
      model::AddWeights(model, "a.weight", {kHidden, kInputs}, {.bits = 4}, {0.08f}, codes(kHidden * kInputs, 11));
  const int b = model::AddWeights(model, "b.weight", {kClasses, kHidden}, {.bits = 4}, {0.1f, 0.2f, 0.15f},
                                  codes(kClasses * kHidden, 4));
  const model::Linear first{model::AddAffine(model, "a", a, {}, {0.1f, 0.2f, 0.0f, 0.3f, 0.1f})};
  const model::Linear second{model::AddAffine(model, "b", b, {}, {0.1f, -0.1f, 0.0f})};
  model.nodes = {{"a", first, {0}, 1, {.relu = true}}, {"b", second, {1}, 2}};
  model.output = 2;
  model::Validate(model);
  return model;
}

struct Samples {
  std::vector<uint8_t> bytes;
  Tensor images, labels;
};
Samples SomeSamples(const model::QuantizedModel& model, int64_t n) {
  Samples samples{model::RandomImages(model, n, 5), {}, torch::arange(n).remainder(model.classes()).to(torch::kLong)};
  const auto& shape = model.values[0].shape;
  samples.images = torch::from_blob(samples.bytes.data(), {n, shape.channels, shape.height, shape.width}, torch::kByte);
  return samples;
}

// The surrogate written out, with no automatic derivative: the hidden codes' roundings and clippings are those of the
// unperturbed network, and stay while the weights move.
double SurrogateLoss(const model::QuantizedModel& model, const Samples& samples, const std::vector<double>& delta) {
  double total = 0;
  for (int64_t n = 0; n < kImages; ++n) {
    double codes[kHidden], logits[kClasses];
    for (int h = 0; h < kHidden; ++h) {
      double clean = 0, moved = 0;
      for (int i = 0; i < kInputs; ++i) {
        const double x = 0.02f * (samples.bytes[static_cast<size_t>(n * kInputs + i)] - 100.0);
        const double w = double{0.08f} * model.parameter(0).code(h * kInputs + i);
        clean += x * w;
        moved += x * (w + delta[static_cast<size_t>(h * kInputs + i)]);
      }
      const double bias = model::AffineOf(model, model.nodes[0]).bias[static_cast<size_t>(h)];
      const double before = (clean + bias) / 0.4f, after = (moved + bias) / 0.4f;
      const double clipped = std::min(std::max(before, 0.0), 7.0);
      codes[h] = std::nearbyint(clipped) + (before == clipped ? after - before : 0.0);
    }
    for (int c = 0; c < kClasses; ++c) {
      logits[c] = model::AffineOf(model, model.nodes[1]).bias[static_cast<size_t>(c)];
      for (int h = 0; h < kHidden; ++h) {
        const double w = double{model.parameter(3).real(c)} * model.parameter(2).code(c * kHidden + h);
        logits[c] += 0.4f * codes[h] * (w + delta[static_cast<size_t>(kInputs * kHidden + c * kHidden + h)]);
      }
    }
    double sum = 0;
    for (double logit : logits) sum += std::exp(logit);
    total += std::log(sum) - logits[n % kClasses];
  }
  return total / kImages;
}

Eigen::MatrixXd HessianByDifferences(const model::QuantizedModel& model, const Samples& samples) {
  const double h = 1e-3;
  Eigen::MatrixXd hessian(kWeights, kWeights);
  const auto at = [&](int i, double di, int j, double dj) {
    std::vector<double> delta(kWeights, 0.0);
    delta[static_cast<size_t>(i)] += di;
    delta[static_cast<size_t>(j)] += dj;
    return SurrogateLoss(model, samples, delta);
  };
  for (int i = 0; i < kWeights; ++i) {
    for (int j = 0; j <= i; ++j) {
      hessian(i, j) = hessian(j, i) =
          (at(i, h, j, h) - at(i, h, j, -h) - at(i, -h, j, h) + at(i, -h, j, -h)) / (4 * h * h);
    }
  }
  return hessian;
}

TEST(WeightLoss, HessianColumnByColumnIsThatOfTheSurrogate) {
  const auto model = TinyNetwork();
  const Samples samples = SomeSamples(model, kImages);
  const WeightLoss loss(model, samples.images, samples.labels, torch::kDouble);
  ASSERT_EQ(loss.weights().numel(), kWeights);
  const Eigen::MatrixXd expected = HessianByDifferences(model, samples);
  Eigen::MatrixXd columns(kWeights, kWeights);
  for (int j = 0; j < kWeights; ++j) {
    Tensor unit = torch::zeros({kWeights}, torch::kDouble);
    unit[j] = 1.0;
    const Tensor column = loss.HessianTimes(unit);
    for (int i = 0; i < kWeights; ++i) columns(i, j) = column[i].item<double>();
  }
  EXPECT_LT((columns - columns.transpose()).norm(), 1e-12 * columns.norm());
  EXPECT_LT((columns - expected).norm(), 1e-4 * expected.norm());
  EXPECT_GT(columns.topRightCorner(kInputs * kHidden, kClasses * kHidden).norm(), 0.01 * columns.norm())
      << "layers act on each other";

  // And what is made of it: eigenvalues, trace and blocks against the whole matrix.
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(columns);
  const Operator apply = [&](const Tensor& v) { return loss.HessianTimes(v); };
  const Eigenvalues found = LargestEigenvalues(apply, kWeights, 4, kWeights, 3);
  for (int i = 0; i < 4; ++i)
    EXPECT_NEAR(found.largest[static_cast<size_t>(i)], solver.eigenvalues()[kWeights - 1 - i], 1e-9);
  EXPECT_NEAR(found.smallest, solver.eigenvalues()[0], 1e-9);
  const Traces traces = HutchinsonTraces(apply, kWeights, {{0, 30}, {30, 15}}, 400, 3);
  EXPECT_NEAR(traces.whole.value, columns.trace(), 4 * traces.whole.standard_error);
  EXPECT_NEAR(traces.blocks[1].value, columns.bottomRightCorner(15, 15).trace(), 4 * traces.blocks[1].standard_error);
}

TEST(WeightLoss, GradientIsThatOfTheSurrogate) {
  const auto model = TinyNetwork();
  const Samples samples = SomeSamples(model, kImages);
  const WeightLoss loss(model, samples.images, samples.labels, torch::kDouble);
  const auto slope = loss.SlopeAt();
  const std::vector<double> nothing(kWeights, 0.0);
  EXPECT_NEAR(slope.loss, SurrogateLoss(model, samples, nothing), 1e-7);
  for (int i = 0; i < kWeights; ++i) {
    auto up = nothing, down = nothing;
    up[static_cast<size_t>(i)] = 1e-5;
    down[static_cast<size_t>(i)] = -1e-5;
    EXPECT_NEAR(slope.gradient[i].item<double>(),
                (SurrogateLoss(model, samples, up) - SurrogateLoss(model, samples, down)) / 2e-5, 1e-7);
  }
}

TEST(WeightLoss, IsTheEnginesLossOnAnyModel) {
  for (uint64_t seed : {1, 2, 3}) {
    const auto model = model::RandomLeNet5(4, 4, seed);
    const Samples samples = SomeSamples(model, 300);
    std::vector<uint16_t> labels;
    for (int64_t i = 0; i < 300; ++i) labels.push_back(static_cast<uint16_t>(samples.labels[i].item<int64_t>()));
    const auto golden = engine::RunGolden(model, engine::MakeEvaluationSet(model, samples.bytes, labels), 1);
    const auto value = WeightLoss(model, samples.images, samples.labels).At();
    EXPECT_EQ(value.accuracy, golden.scores.accuracy());
    EXPECT_NEAR(value.loss, static_cast<double>(golden.scores.loss_sum) * 0x1p-20 / 300, 1e-5);
  }
}

}  // namespace
}  // namespace steadfast::analysis
