// Means of few, or rarely differing, bounded values: intervals that hold for any number of them, whatever their law.
//
// Student's t knows only the spread that it saw, and where one fault in a thousand ruins a network, a sample that has
// none of these claims too much. Here a mean is ruled out by what betting against it would have made (Waudby-Smith and
// Ramdas, Estimating means of bounded random variables by betting, 2024), with bets that do not change from value to
// value (ours): then, by the inequality of the arithmetic and the geometric mean, values need not have the same mean,
// and, by Maclaurin's inequality, values of a stratum may be drawn without replacement.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "steadfast/statistics/cluster_sample.h"  // Estimate

namespace steadfast::statistics {

// Of the mean of the expectations of independent values in [least, most]. Throws UsageError where one is outside, or
// confidence is not within (0, 1).
Interval BoundedMeanInterval(std::span<const double> values, double least, double most, double confidence = 0.95);

// Units of which some were drawn at random, without replacement, each as likely as any other.
struct DrawnStratum {
  int64_t size = 0;            // units in all
  std::vector<double> values;  // of those that were drawn; not empty
};
// Of a unit of all strata together, strata added up by their sizes (post-stratified). Where every unit was drawn, it is
// exact. Values are in [least, most].
Estimate MeanOfStrata(std::span<const DrawnStratum> strata, double least, double most, double confidence = 0.95);

// How many equally weighted values would be as sure (Kish): the square of the weights' sum over the sum of their
// squares.
double EffectiveSampleSize(std::span<const double> weights);

}  // namespace steadfast::statistics
