// Totals and means of a population from a stratified sample of whole clusters.
//
// Cochran: Sampling Techniques (1977), chapters 6 and 9: within a stratum, clusters are drawn at random without
// replacement, and the mean is the ratio of what they hold to their sizes; strata are added up by their sizes.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/statistics/summary.h"  // Interval

namespace steadfast::statistics {

struct Stratum {
  int64_t clusters = 0;  // in all
  double size = 0;       // of all clusters together
  // Of those that were drawn; not empty.
  std::vector<double> sizes;
  std::vector<double> totals;
};

struct Estimate {
  double mean;        // of a unit
  Interval interval;  // Student's t, degrees of freedom by Satterthwaite; infinite where no two clusters differ
};

// Of a unit of all strata together. Where every cluster was drawn, it is exact. A stratum whose drawn clusters are
// alike, or one alone, is taken to vary as the others do (ours: a variance of 0 from two clusters would claim too
// much).
Estimate MeanOfClusters(const std::vector<Stratum>& strata, double confidence = 0.95);

}  // namespace steadfast::statistics
