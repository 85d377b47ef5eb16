#include "steadfast/statistics/cluster_sample.h"

#include <cmath>
#include <limits>
#include <numeric>

namespace steadfast::statistics {

Estimate MeanOfClusters(const std::vector<Stratum>& strata, double confidence) {
  const double size =
      std::accumulate(strata.begin(), strata.end(), 0.0, [](double sum, const Stratum& s) { return sum + s.size; });
  double mean = 0, variance = 0, squares = 0;  // squares: of variances over their degrees of freedom
  for (const Stratum& stratum : strata) {
    const auto drawn = static_cast<double>(stratum.sizes.size());
    const double sizes = std::accumulate(stratum.sizes.begin(), stratum.sizes.end(), 0.0);
    const double ratio = std::accumulate(stratum.totals.begin(), stratum.totals.end(), 0.0) / sizes;
    const double weight = stratum.size / size;
    mean += weight * ratio;
    if (static_cast<int64_t>(stratum.sizes.size()) >= stratum.clusters) continue;
    if (drawn < 2) {
      variance = std::numeric_limits<double>::infinity();
      continue;
    }
    double residuals = 0;
    for (size_t i = 0; i < stratum.sizes.size(); ++i) {
      const double residual = stratum.totals[i] - ratio * stratum.sizes[i];
      residuals += residual * residual;
    }
    const double mean_size = sizes / drawn, share = drawn / static_cast<double>(stratum.clusters);
    const double of_ratio = (1 - share) / drawn * residuals / (drawn - 1) / (mean_size * mean_size);
    const double part = weight * weight * of_ratio;
    variance += part;
    squares += part * part / (drawn - 1);
  }
  if (!(variance > 0)) return {mean, {mean, mean}};
  if (std::isinf(variance)) return {mean, {-variance, variance}};
  const double degrees = std::max(1.0, variance * variance / squares);
  const double half = StudentQuantile(degrees, 0.5 + confidence / 2) * std::sqrt(variance);
  return {mean, {mean - half, mean + half}};
}

}  // namespace steadfast::statistics
