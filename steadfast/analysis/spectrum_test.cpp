#include "steadfast/analysis/spectrum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace steadfast::analysis {
namespace {

using torch::Tensor;

// A = Q diag(spectrum) Q^T with Q a product of Householder reflections: a quadratic whose spectrum is known.
class Quadratic {
 public:
  explicit Quadratic(Tensor spectrum) : spectrum_(std::move(spectrum)) {
    for (uint64_t i = 0; i < 3; ++i) {
      const Tensor v = NormalVector(spectrum_.numel(), 99, i);
      mirrors_.push_back(v / v.norm());
    }
  }
  Tensor operator()(const Tensor& x) const {
    Tensor y = x;
    for (const Tensor& m : mirrors_) y = y - 2 * m * m.dot(y);
    y = spectrum_ * y;
    for (size_t i = mirrors_.size(); i-- > 0;) y = y - 2 * mirrors_[i] * mirrors_[i].dot(y);
    return y;
  }

 private:
  Tensor spectrum_;
  std::vector<Tensor> mirrors_;
};

// A bulk in [-1, 1], outliers on both sides.
Tensor SomeSpectrum(int64_t n) {
  Tensor spectrum = torch::linspace(-1, 1, n, torch::kDouble);
  spectrum[n - 1] = 20.0;
  spectrum[n - 2] = 13.0;
  spectrum[n - 3] = 12.0;
  spectrum[0] = -5.0;
  return spectrum;
}

TEST(Spectrum, LargestEigenvaluesOfAKnownQuadratic) {
  const int64_t n = 500;
  const Quadratic quadratic(SomeSpectrum(n));
  const Eigenvalues found = LargestEigenvalues(std::cref(quadratic), n, 3, 40, 7);
  const double expected[] = {20, 13, 12};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(found.largest[i], expected[i], 1e-8);
    EXPECT_LE(found.residuals[i], 1e-3);
    const Tensor y = found.vectors[static_cast<int64_t>(i)];
    EXPECT_NEAR(y.norm().item<double>(), 1, 1e-12);
    EXPECT_NEAR((quadratic(y) - expected[i] * y).norm().item<double>(), found.residuals[i], 1e-6);
  }
  EXPECT_NEAR(found.smallest, -5, 1e-8);
}

TEST(Spectrum, ResidualsBoundTheError) {
  const int64_t n = 500;
  const Quadratic quadratic(SomeSpectrum(n));
  const Tensor spectrum = SomeSpectrum(n);
  const RitzPairs pairs = Lanczos(std::cref(quadratic), NormalVector(n, 3, 0), 15, false);
  for (size_t i = 0; i < pairs.values.size(); ++i) {
    EXPECT_LE((spectrum - pairs.values[i]).abs().min().item<double>(), pairs.residuals[i] + 1e-9);
  }
}

TEST(Spectrum, StopsWhereTheSubspaceIsInvariant) {
  const Tensor spectrum = torch::tensor({2.0, 2.0, 2.0, 5.0, 5.0, 5.0}, torch::kDouble);
  const Quadratic quadratic(spectrum);
  const RitzPairs pairs = Lanczos(std::cref(quadratic), NormalVector(6, 1, 0), 6, true);
  ASSERT_EQ(pairs.values.size(), 2u);
  EXPECT_NEAR(pairs.values[0], 2, 1e-10);
  EXPECT_NEAR(pairs.values[1], 5, 1e-10);
  EXPECT_EQ(Lanczos([](const Tensor& v) { return torch::zeros_like(v); }, NormalVector(6, 1, 0), 6, false).values,
            std::vector<double>{0.0});
}

// With as many steps as dimensions, the quadrature of one probe has exactly the probe's moments.
TEST(Spectrum, DensityHasTheMomentsOfTheSpectrum) {
  const int64_t n = 400;
  const Tensor spectrum = SomeSpectrum(n);
  const Quadratic quadratic(spectrum);
  const int probes = 30;
  const auto nodes = SpectralDensity(std::cref(quadratic), n, probes, 30, 11);
  double weight = 0, mean = 0, second = 0;
  for (const auto& node : nodes) {
    weight += node.weight;
    mean += node.weight * node.value;
    second += node.weight * node.value * node.value;
  }
  EXPECT_NEAR(weight, 1, 1e-9);
  // Moments of one probe are v^T A^k v / n exactly; over probes they are Hutchinson's estimates of tr(A^k) / n.
  double exact_mean = 0, exact_second = 0;
  for (int p = 0; p < probes; ++p) {
    const Tensor v = RademacherVector(n, 11, static_cast<uint64_t>(p)), av = quadratic(v);
    exact_mean += v.dot(av).item<double>() / static_cast<double>(n) / probes;
    exact_second += av.dot(av).item<double>() / static_cast<double>(n) / probes;
  }
  EXPECT_NEAR(mean, exact_mean, 1e-9);
  EXPECT_NEAR(second, exact_second, 1e-9);
  EXPECT_NEAR(second, spectrum.square().mean().item<double>(), 0.15);
}

TEST(Spectrum, HutchinsonsTraceIsWithinItsError) {
  const int64_t n = 400;
  const Tensor spectrum = SomeSpectrum(n);
  const Quadratic quadratic(spectrum);
  const double trace = spectrum.sum().item<double>();
  int within = 0;
  const int repetitions = 40;
  for (int r = 0; r < repetitions; ++r) {
    const Traces traces =
        HutchinsonTraces(std::cref(quadratic), n, {{0, 100}, {100, 300}}, 30, static_cast<uint64_t>(r));
    EXPECT_NEAR(traces.blocks[0].value + traces.blocks[1].value, traces.whole.value, 1e-9);
    within += std::abs(traces.whole.value - trace) <= 2 * traces.whole.standard_error;
  }
  EXPECT_GE(within, 34) << "of 40; about 95 % are expected";
  // Signs see a diagonal matrix without any error.
  const Tensor diagonal = torch::arange(1, 6, torch::kDouble);
  const Traces exact = HutchinsonTraces([&](const Tensor& v) { return diagonal * v; }, 5, {{4, 1}}, 3, 1);
  EXPECT_DOUBLE_EQ(exact.whole.value, 15);
  EXPECT_DOUBLE_EQ(exact.whole.standard_error, 0);
  EXPECT_DOUBLE_EQ(exact.blocks[0].value, 5);
}

TEST(Spectrum, RandomVectorsAreWhatTheySay) {
  const Tensor normal = NormalVector(100001, 5, 2);
  EXPECT_NEAR(normal.mean().item<double>(), 0, 0.02);
  EXPECT_NEAR(normal.std().item<double>(), 1, 0.02);
  EXPECT_NEAR(normal.pow(4).mean().item<double>(), 3, 0.15);
  const Tensor signs = RademacherVector(100001, 5, 2);
  EXPECT_TRUE(signs.abs().eq(1).all().item<bool>());
  EXPECT_NEAR(signs.mean().item<double>(), 0, 0.02);
  EXPECT_TRUE(signs.equal(RademacherVector(100001, 5, 2)));
  EXPECT_NEAR(signs.dot(RademacherVector(100001, 5, 3)).item<double>() / 100001, 0, 0.02);
  EXPECT_NEAR(normal.dot(NormalVector(100001, 6, 2)).item<double>() / 100001, 0, 0.02);
}

}  // namespace
}  // namespace steadfast::analysis
