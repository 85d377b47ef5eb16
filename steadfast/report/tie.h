// The tie between what a network is like without faults (how sharp, how sparse) and what faults do to it: rank
// correlations over networks.
//
// A damage is the drop of accuracy from the fault-free network, in points, mean over trials. Networks that were trained
// alike (one recipe and width, several seeds) form a group. Intervals are percentile intervals of a bootstrap of two
// stages, groups and then members (statistics/correlation.h). Damages are those of codes stored in two's complement.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/report/evidence.h"
#include "steadfast/statistics/summary.h"  // Interval

namespace steadfast::report {

struct TieNetwork {
  int64_t model;  // ModelRow::id
  std::string label, group, width;
};

// A number of each network; NaN where it has none.
struct TieColumn {
  std::string name;            // "sam-relative 0.02", "flip 0.01": unique
  std::string title;           // for people
  std::vector<double> values;  // [network]
};

struct Correlation {
  double value;
  statistics::Interval interval;  // 95 %; NaN bounds where there is none
};

struct TieRow {
  std::string scope;  // "all", or one width
  size_t predictor, damage;
  int64_t networks, groups;
  Correlation spearman, kendall;
  Correlation within;   // Spearman of what differs between members of a group; NaN where groups have one member
  Correlation partial;  // Spearman with zero share and weight norm held constant
};

struct Tie {
  std::vector<TieNetwork> networks;
  std::vector<TieColumn> predictors, damages;
  std::map<std::string, std::vector<double>> mean_rates;  // what the damage "flip mean" averages, by fault
  std::vector<TieRow> rows;
};

// Of networks that learned (Evidence::Learned). Needs at least 5 networks with sharpness and trials; gives no rows with
// fewer. The result does not depend on `threads`.
Tie MakeTie(const Evidence& evidence, int threads = 0, const Cancellation* cancellation = nullptr);

// scope,predictor,fault,networks,groups,spearman,spearman_low,... one line a row.
std::string TieCsv(const Tie& tie);
// The rows of this damage, strongest |Spearman| first.
std::vector<TieRow> RankedFor(const Tie& tie, const std::string& scope, size_t damage);

}  // namespace steadfast::report
