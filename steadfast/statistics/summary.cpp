#include "steadfast/statistics/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "steadfast/base/error.h"
#include "steadfast/base/philox.h"

namespace steadfast::statistics {

double Mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double StandardDeviation(std::span<const double> values) {
  if (values.size() < 2) return 0.0;
  const double mean = Mean(values);
  double squares = 0.0;
  for (double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double StudentQuantile(double degrees, double probability) {
  if (!(degrees >= 1.0) || !(probability > 0.0 && probability < 1.0)) {
    throw UsageError(fmt::format("Student's t has no quantile at {} for {} degrees of freedom", probability, degrees));
  }
  return boost::math::quantile(boost::math::students_t(degrees), probability);
}

Interval StudentInterval(std::span<const double> values, double confidence) {
  const auto n = static_cast<double>(values.size());
  if (values.size() < 2) {
    return {-std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  }
  const double mean = Mean(values);
  const double half = StudentQuantile(n - 1, 0.5 + confidence / 2) * StandardDeviation(values) / std::sqrt(n);
  return {mean - half, mean + half};
}

Interval BootstrapInterval(std::span<const double> values, double confidence, int resamples, uint64_t seed) {
  std::vector<double> means(static_cast<size_t>(resamples));
  for (int r = 0; r < resamples; ++r) {
    double sum = 0.0;
    for (size_t i = 0; i < values.size(); ++i) {
      const auto draw = Philox4x32({static_cast<uint32_t>(i), static_cast<uint32_t>(r), 0, 0}, KeyOfSeed(seed));
      const auto pick = static_cast<size_t>(OpenUnit(draw[0], draw[1]) * static_cast<double>(values.size()));
      sum += values[std::min(pick, values.size() - 1)];
    }
    means[static_cast<size_t>(r)] = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
  return {Quantile(means, 0.5 - confidence / 2), Quantile(means, 0.5 + confidence / 2)};
}

double Quantile(std::span<const double> sorted, double q) {
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Summary Summarize(std::span<const double> values, double confidence) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  return {.count = static_cast<int64_t>(values.size()),
          .mean = Mean(values),
          .standard_deviation = StandardDeviation(values),
          .interval = StudentInterval(values, confidence),
          .minimum = sorted.front(),
          .maximum = sorted.back(),
          .quantile05 = Quantile(sorted, 0.05),
          .quantile25 = Quantile(sorted, 0.25),
          .median = Quantile(sorted, 0.5),
          .quantile75 = Quantile(sorted, 0.75),
          .quantile95 = Quantile(sorted, 0.95)};
}

std::vector<Interval> SimultaneousIntervals(std::span<const std::vector<double>> cells, double confidence) {
  const double each = 1.0 - (1.0 - confidence) / static_cast<double>(std::max<size_t>(cells.size(), 1));
  std::vector<Interval> intervals;
  for (const auto& cell : cells) intervals.push_back(StudentInterval(cell, each));
  return intervals;
}

bool IsAbove(int64_t count, int64_t total, double share, double confidence) {
  const auto n = static_cast<double>(total);
  const double quantile = boost::math::quantile(boost::math::normal(), confidence);
  return static_cast<double>(count) > n * share + quantile * std::sqrt(n * share * (1 - share));
}

}  // namespace steadfast::statistics
