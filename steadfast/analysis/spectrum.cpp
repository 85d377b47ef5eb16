#include "steadfast/analysis/spectrum.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

#include "steadfast/base/elementary.h"
#include "steadfast/base/philox.h"

namespace steadfast::analysis {

using torch::Tensor;

namespace {

// What tells these streams from others of the same seed.
constexpr uint32_t kRademacherStream = 0x52414445, kNormalStream = 0x4E4F524D;
constexpr double kBreakdown = 1e-10;  // relative: what is left is rounding, the subspace is invariant

PhiloxOutput Draw(uint64_t seed, uint64_t index, uint32_t stream, int64_t block) {
  return Philox4x32(
      {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(index), stream},
      KeyOfSeed(seed));
}

}  // namespace

Estimate MeanOf(std::span<const double> samples) {
  const auto n = static_cast<double>(samples.size());
  double mean = 0, squares = 0;
  for (double sample : samples) mean += sample / n;
  for (double sample : samples) squares += (sample - mean) * (sample - mean);
  return {mean, samples.size() > 1 ? std::sqrt(squares / (n - 1) / n) : std::nan("")};
}

Tensor RademacherVector(int64_t n, uint64_t seed, uint64_t index) {
  Tensor vector = torch::empty({n}, torch::kDouble);
  double* values = vector.data_ptr<double>();
  for (int64_t i = 0; i < n; i += 128) {
    const PhiloxOutput words = Draw(seed, index, kRademacherStream, i / 128);
    for (int64_t k = i; k < std::min(n, i + 128); ++k)
      values[k] = words[static_cast<size_t>((k - i) / 32)] >> ((k - i) % 32) & 1 ? 1.0 : -1.0;
  }
  return vector;
}

// Box and Muller (1958).
Tensor NormalVector(int64_t n, uint64_t seed, uint64_t index) {
  Tensor vector = torch::empty({n}, torch::kDouble);
  double* values = vector.data_ptr<double>();
  for (int64_t i = 0; i < n; i += 2) {
    const PhiloxOutput words = Draw(seed, index, kNormalStream, i / 2);
    const double radius = std::sqrt(-2.0 * PortableLog(OpenUnit(words[0], words[1])));
    const double angle = 2.0 * std::numbers::pi * OpenUnit(words[2], words[3]);
    values[i] = radius * std::cos(angle);
    if (i + 1 < n) values[i + 1] = radius * std::sin(angle);
  }
  return vector;
}

RitzPairs Lanczos(const Operator& apply, const Tensor& start, int steps, bool with_vectors) {
  const int64_t n = start.numel();
  steps = static_cast<int>(std::min<int64_t>(steps, n));
  Tensor basis = torch::zeros({steps, n}, torch::kDouble);
  std::vector<double> diagonal, off_diagonal;
  Tensor q = start.to(torch::kDouble);
  q = q / q.norm();
  double scale = 0, beta = 0;
  for (int k = 0; k < steps; ++k) {
    basis[k].copy_(q);
    Tensor w = apply(q).to(torch::kDouble);
    diagonal.push_back(q.dot(w).item<double>());
    // Against all vectors so far, twice: once is not enough where cancellation is strong (Kahan, Parlett).
    const Tensor so_far = basis.slice(0, 0, k + 1);
    for (int pass = 0; pass < 2; ++pass) w = w - so_far.t().mv(so_far.mv(w));
    beta = w.norm().item<double>();
    scale = std::max({scale, std::abs(diagonal.back()), beta});
    if (k + 1 == steps) break;
    if (beta <= kBreakdown * scale) {
      beta = 0;
      break;
    }
    off_diagonal.push_back(beta);
    q = w / beta;
  }
  const auto m = static_cast<Eigen::Index>(diagonal.size());
  Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver;
  solver.computeFromTridiagonal(Eigen::Map<Eigen::VectorXd>(diagonal.data(), m),
                                Eigen::Map<Eigen::VectorXd>(off_diagonal.data(), m - 1));
  RitzPairs pairs;
  Tensor rotation = torch::empty({m, m}, torch::kDouble);
  for (Eigen::Index i = 0; i < m; ++i) {
    pairs.values.push_back(solver.eigenvalues()[i]);
    pairs.weights.push_back(solver.eigenvectors()(0, i) * solver.eigenvectors()(0, i));
    pairs.residuals.push_back(std::abs(beta * solver.eigenvectors()(m - 1, i)));
    for (Eigen::Index k = 0; k < m; ++k) rotation[i][k] = solver.eigenvectors()(k, i);
  }
  if (with_vectors) pairs.vectors = rotation.mm(basis.slice(0, 0, m));
  return pairs;
}

Eigenvalues LargestEigenvalues(const Operator& apply, int64_t n, int k, int steps, uint64_t seed) {
  const RitzPairs pairs = Lanczos(apply, NormalVector(n, seed, 0), steps, true);
  const auto found = static_cast<int64_t>(pairs.values.size());
  const int64_t kept = std::min<int64_t>(k, found);
  Eigenvalues result{{}, {}, torch::empty({kept, n}, torch::kDouble), pairs.values.front(), pairs.residuals.front()};
  for (int64_t i = 0; i < kept; ++i) {
    result.largest.push_back(pairs.values[static_cast<size_t>(found - 1 - i)]);
    result.residuals.push_back(pairs.residuals[static_cast<size_t>(found - 1 - i)]);
    const Tensor vector = pairs.vectors[found - 1 - i];
    result.vectors[i].copy_(vector / vector.norm());
  }
  return result;
}

std::vector<SpectralNode> SpectralDensity(const Operator& apply, int64_t n, int probes, int steps, uint64_t seed) {
  std::vector<SpectralNode> nodes;
  for (int probe = 0; probe < probes; ++probe) {
    const RitzPairs pairs = Lanczos(apply, RademacherVector(n, seed, static_cast<uint64_t>(probe)), steps, false);
    for (size_t i = 0; i < pairs.values.size(); ++i)
      nodes.push_back({probe, pairs.values[i], pairs.weights[i] / probes});
  }
  return nodes;
}

Traces HutchinsonTraces(const Operator& apply, int64_t n, const std::vector<std::pair<int64_t, int64_t>>& blocks,
                        int probes, uint64_t seed) {
  std::vector<double> whole;
  std::vector<std::vector<double>> by_block(blocks.size());
  for (int probe = 0; probe < probes; ++probe) {
    const Tensor v = RademacherVector(n, seed, static_cast<uint64_t>(probe));
    const Tensor products = v * apply(v).to(torch::kDouble);
    whole.push_back(products.sum().item<double>());
    for (size_t b = 0; b < blocks.size(); ++b)
      by_block[b].push_back(products.narrow(0, blocks[b].first, blocks[b].second).sum().item<double>());
  }
  Traces traces{MeanOf(whole), {}};
  for (const auto& samples : by_block) traces.blocks.push_back(MeanOf(samples));
  return traces;
}

}  // namespace steadfast::analysis
