// The spectrum of a symmetric operator that is known by its products with vectors.
//
// Lanczos with full reorthogonalization (Golub and Van Loan, Matrix Computations, 10.3); the spectral density by
// stochastic Lanczos quadrature (Ghorbani, Krishnan, Xiao, ICML 2019); the trace by Hutchinson's estimator with
// Rademacher vectors, a fixed number of them, and its standard error.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "steadfast/train/libtorch.h"

namespace steadfast::analysis {

// v -> A v, [n] to [n].
using Operator = std::function<torch::Tensor(const torch::Tensor&)>;

// A vector of independent signs, +1 or -1, from Philox: number `index` of `seed`. [n], double.
torch::Tensor RademacherVector(int64_t n, uint64_t seed, uint64_t index);
// A vector of independent standard normal numbers, made likewise.
torch::Tensor NormalVector(int64_t n, uint64_t seed, uint64_t index);

struct Estimate {
  double value;
  double standard_error;  // of the mean; not a number for one sample
};
// Mean and standard error of samples (not empty).
Estimate MeanOf(std::span<const double> samples);

struct RitzPairs {
  std::vector<double> values;     // ascending
  std::vector<double> weights;    // squared first components: the start vector's share in each; they sum to 1
  std::vector<double> residuals;  // ||A y - value y||: an eigenvalue lies within this of the value
  torch::Tensor vectors;          // [steps, n], rows; undefined unless asked for
};
// At most `steps` steps from `start`; fewer where an invariant subspace is found.
RitzPairs Lanczos(const Operator& apply, const torch::Tensor& start, int steps, bool with_vectors);

struct Eigenvalues {
  std::vector<double> largest;    // descending, k of them
  std::vector<double> residuals;  // of each
  torch::Tensor vectors;          // [k, n], unit length, of the largest
  double smallest;                // the lowest Ritz value: negative where the surface curves down
  double smallest_residual;
};
// The k algebraically largest eigenvalues, by one run of `steps` steps from a random start.
Eigenvalues LargestEigenvalues(const Operator& apply, int64_t n, int k, int steps, uint64_t seed);

// Nodes of the density: sum over all probes of weight * delta(value), weights summing to 1.
struct SpectralNode {
  int probe;
  double value, weight;
};
std::vector<SpectralNode> SpectralDensity(const Operator& apply, int64_t n, int probes, int steps, uint64_t seed);

// The trace of the whole, and of the diagonal blocks [first, first + count) given. Blocks see the same probes.
struct Traces {
  Estimate whole;
  std::vector<Estimate> blocks;
};
Traces HutchinsonTraces(const Operator& apply, int64_t n, const std::vector<std::pair<int64_t, int64_t>>& blocks,
                        int probes, uint64_t seed);

}  // namespace steadfast::analysis
