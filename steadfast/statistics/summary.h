// Summaries of repeated measurements: mean, spread, intervals, quantiles.
//
// Intervals are two-sided. A claim about training recipes takes the training seed as its unit: give these functions one
// number a seed, not one a trial.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace steadfast::statistics {

struct Interval {
  double low;
  double high;
};

struct Summary {
  int64_t count;
  double mean;
  double standard_deviation;  // of the sample (n - 1); 0 where count is 1
  Interval interval;          // Student's t, of the mean
  double minimum;
  double maximum;
  double quantile05, quantile25, median, quantile75, quantile95;
};

double Mean(std::span<const double> values);               // values not empty
double StandardDeviation(std::span<const double> values);  // n - 1 in the denominator; 0 for one value

// The t with P(T <= t) = probability, for T of Student's distribution. Throws UsageError where degrees < 1 or
// probability is outside (0, 1).
double StudentQuantile(double degrees, double probability);

// Student's t interval of the mean. One value gives an infinite interval. confidence in (0, 1).
Interval StudentInterval(std::span<const double> values, double confidence = 0.95);

// Percentile bootstrap interval of the mean (Efron 1979), resamples drawn by Philox from `seed`.
Interval BootstrapInterval(std::span<const double> values, double confidence, int resamples, uint64_t seed);

// Linear interpolation between order statistics (Hyndman and Fan's type 7, as NumPy and R do). q in [0, 1].
double Quantile(std::span<const double> sorted, double q);

Summary Summarize(std::span<const double> values, double confidence = 0.95);  // values not empty

// Whether `count` of `total` independent events are more than those of probability `share` would give, one-sided, at
// the given confidence: by the normal approximation to the binomial law.
bool IsAbove(int64_t count, int64_t total, double share, double confidence = 0.999);

// Intervals of several means that all hold together with `confidence`: Student's t with Bonferroni's correction.
// cells[i] are the values of cell i. Conservative, and valid whatever the dependence between cells.
std::vector<Interval> SimultaneousIntervals(std::span<const std::vector<double>> cells, double confidence = 0.95);

}  // namespace steadfast::statistics
