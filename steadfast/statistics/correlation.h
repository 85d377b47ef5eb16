// Rank correlation, what is left of it when other things are held constant, and how sure it is.
//
// Spearman's rho is Pearson's correlation of average ranks; Kendall's tau is tau-b, which accounts for ties. A partial
// rank correlation is Pearson's correlation of what is left of both ranks after linear regression on the ranks of the
// controls (Kendall and Stuart, The Advanced Theory of Statistics, vol. 2). Values are finite. Where one side is
// constant there is no correlation: NaN.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "steadfast/statistics/summary.h"  // Interval

namespace steadfast::statistics {

// 1 for the smallest; ties get the mean of their ranks.
std::vector<double> Ranks(std::span<const double> values);

double Pearson(std::span<const double> x, std::span<const double> y);
double Spearman(std::span<const double> x, std::span<const double> y);
double KendallTauB(std::span<const double> x, std::span<const double> y);

// What linear regression on the controls (and a constant) leaves of y.
std::vector<double> Residuals(std::span<const double> y, std::span<const std::vector<double>> controls);
double PartialSpearman(std::span<const double> x, std::span<const double> y,
                       std::span<const std::vector<double>> controls);

// Values minus the mean of their group: what differs between members of a group.
std::vector<double> CenteredWithin(std::span<const double> values, std::span<const int> groups);

// Resamples of n things that come in groups (0 to g - 1), for a bootstrap of two stages, as for hierarchical data
// (Davison and Hinkley, Bootstrap Methods, 3.8): whole groups with replacement, then members of each drawn group, with
// replacement too (ours: the wider of the usual ways). Members of a group are not independent evidence, so the group is
// the unit. With one group, members are drawn alone.
struct Resample {
  std::vector<int> members;  // indices of the things
  std::vector<int> groups;   // which drawn group each belongs to: a group drawn twice counts as two
};
std::vector<Resample> GroupedResamples(std::span<const int> groups, int count, uint64_t seed);

// Percentile interval of a statistic's values over resamples; those that are not finite are left out. NaN bounds where
// fewer than half are finite.
Interval PercentileInterval(std::vector<double> values, double confidence = 0.95);

}  // namespace steadfast::statistics
