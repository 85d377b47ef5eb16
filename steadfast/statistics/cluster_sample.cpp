#include "steadfast/statistics/cluster_sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace steadfast::statistics {

Estimate MeanOfClusters(const std::vector<Stratum>& strata, double confidence) {
  struct Sampled {
    double weight, drawn, share;
    double variance;  // of a cluster's mean around the stratum's, in sizes of a mean cluster
  };
  std::vector<Sampled> sampled;
  double size = 0;
  for (const Stratum& stratum : strata) size += stratum.size;
  double mean = 0, pooled = 0, degrees_of_pool = 0;
  for (const Stratum& stratum : strata) {
    const auto drawn = static_cast<double>(stratum.sizes.size());
    const double sizes = std::accumulate(stratum.sizes.begin(), stratum.sizes.end(), 0.0);
    const double ratio = std::accumulate(stratum.totals.begin(), stratum.totals.end(), 0.0) / sizes;
    mean += stratum.size / size * ratio;
    if (static_cast<int64_t>(stratum.sizes.size()) >= stratum.clusters) continue;
    double residuals = 0;
    for (size_t i = 0; i < stratum.sizes.size(); ++i) {
      const double residual = (stratum.totals[i] - ratio * stratum.sizes[i]) / (sizes / drawn);
      residuals += residual * residual;
    }
    sampled.push_back({stratum.size / size, drawn, drawn / static_cast<double>(stratum.clusters),
                       drawn < 2 ? 0.0 : residuals / (drawn - 1)});
    if (residuals > 0) {
      pooled += residuals;
      degrees_of_pool += drawn - 1;
    }
  }
  if (sampled.empty()) return {mean, {mean, mean}};
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (degrees_of_pool == 0) return {mean, {-kInfinity, kInfinity}};  // nothing is known of how clusters differ
  double variance = 0, squares = 0;  // squares: of variances over their degrees of freedom
  for (const Sampled& s : sampled) {
    // Of clusters that happen to be alike, or of one alone: as clusters of the other strata differ.
    const double of_cluster = s.variance > 0 ? s.variance : pooled / degrees_of_pool;
    const double part = s.weight * s.weight * (1 - s.share) / s.drawn * of_cluster;
    variance += part;
    squares += part * part / std::max(1.0, s.drawn - 1);
  }
  const double degrees = std::max(1.0, variance * variance / squares);
  const double half = StudentQuantile(degrees, 0.5 + confidence / 2) * std::sqrt(variance);
  return {mean, {mean - half, mean + half}};
}

}  // namespace steadfast::statistics
