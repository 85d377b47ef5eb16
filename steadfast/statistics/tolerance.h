// Up to which strength of faults does a network hold a floor of accuracy: bounds that hold for any sample size, and a
// search over strengths whose error is divided among those that it tries.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace steadfast::statistics {

// The one-sided lower bound of Clopper and Pearson (1934) of a share, of which `successes` of `trials` were seen.
double ShareLowerBound(int64_t successes, int64_t trials, double confidence);

// The least number of trials of which `failures` may fail for ShareLowerBound to reach `share` (Wilks, 1941, without
// failures: 299 for 99 % with 95 % confidence). share in (0, 1).
int64_t TrialsNeeded(double share, double confidence, int64_t failures = 0);

// A lower bound of the mean of independent values in [0, 1], whatever their law, by betting (Waudby-Smith and Ramdas,
// Estimating means of bounded random variables by betting, 2024): wealth that would be made betting on a mean above m,
// with bets that follow from earlier values alone. Valid however often it is looked at while values come.
double MeanLowerBound(std::span<const double> values, double confidence);

struct ToleranceSettings {
  double floor = 0.85;            // of accuracy, as a share
  std::optional<double> yield;    // of chips that hold it; nothing: their mean does
  double confidence = 0.95;       // that the answer is right
  std::vector<double> strengths;  // ascending, of which the search tries some
  int64_t chips = 0;              // at each strength at most; of a yield at least TrialsNeeded
};

// A strength that was tried.
struct ToleranceStep {
  double strength = 0;
  int64_t chips = 0, below = 0;  // looked at; below the floor
  double mean = 0;
  double bound = 0;  // of the share of chips that hold the floor, or of the mean
  bool holds = false;
};

struct Tolerance {
  std::optional<double> strength;    // the highest that was shown to hold; nothing: not even the lowest
  double confidence_each = 0;        // at which each strength was judged
  std::vector<ToleranceStep> steps;  // in the order in which they were tried
};

// How many strengths bisection tries at most, and so in how many parts the error is divided.
int64_t MostSteps(size_t strengths);

// `accuracies(strength, n)` gives those of chips 0 to n - 1, always the same. They are looked at in this order, 64 at
// first, then twice as many, until the answer is clear or there are no more. Throws UsageError where the settings are
// impossible, or the chips too few for the yield (with the number that is needed).
Tolerance FindTolerance(const ToleranceSettings& settings,
                        const std::function<std::vector<double>(double strength, int64_t chips)>& accuracies);

}  // namespace steadfast::statistics
