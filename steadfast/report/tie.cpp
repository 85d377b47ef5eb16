#include "steadfast/report/tie.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "steadfast/base/parallel.h"
#include "steadfast/base/score_unit.h"
#include "steadfast/base/text.h"
#include "steadfast/report/curves.h"  // FaultTitle
#include "steadfast/report/sharpness_report.h"
#include "steadfast/report/text_table.h"
#include "steadfast/statistics/correlation.h"

namespace steadfast::report {
namespace {

constexpr int kResamples = 1000;
constexpr uint64_t kSeed = 1;
constexpr size_t kFewestNetworks = 5;
constexpr const char* kEncoding = "twos";

using Values = std::vector<double>;

// A list of values made ready, so that each of the four correlations with another list is one sum of products.
struct Prepared {
  Values ranks, residuals, within;  // centred, of unit length; empty where constant
  std::vector<int8_t> signs;        // of the difference of every two
  double untied;                    // square root of the number of pairs that differ
};

Values Normalized(Values values) {
  const double mean = statistics::Mean(values);
  double square = 0;
  for (double& v : values) {
    v -= mean;
    square += v * v;
  }
  if (!(square > 0)) return {};
  for (double& v : values) v /= std::sqrt(square);
  return values;
}

Prepared Prepare(const Values& values, const std::vector<int>& groups, const std::vector<Values>& control_ranks) {
  const Values ranks = statistics::Ranks(values);
  Prepared p{Normalized(ranks),
             Normalized(statistics::Residuals(ranks, control_ranks)),
             Normalized(statistics::Ranks(statistics::CenteredWithin(values, groups))),
             {},
             0};
  int64_t untied = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      p.signs.push_back(static_cast<int8_t>((values[i] > values[j]) - (values[i] < values[j])));
      untied += p.signs.back() != 0;
    }
  }
  p.untied = std::sqrt(static_cast<double>(untied));
  return p;
}

// The four correlations of a pair.
struct Four {
  double spearman, kendall, within, partial;
};

double Product(const Values& a, const Values& b) {
  if (a.empty() || b.empty()) return std::nan("");
  return std::clamp(std::inner_product(a.begin(), a.end(), b.begin(), 0.0), -1.0, 1.0);
}
Four FourOf(const Prepared& x, const Prepared& y) {
  int64_t score = 0;
  for (size_t block = 0; block < x.signs.size(); block += 16384) {  // sums of a block fit 32 bits, and are quick
    int32_t sum = 0;
    for (size_t i = block; i < std::min(block + 16384, x.signs.size()); ++i) sum += x.signs[i] * y.signs[i];
    score += sum;
  }
  const double scale = x.untied * y.untied;
  return {Product(x.ranks, y.ranks), scale > 0 ? static_cast<double>(score) / scale : std::nan(""),
          Product(x.within, y.within), Product(x.residuals, y.residuals)};
}

Correlation WithInterval(double value, std::vector<double> resampled) {
  if (!std::isfinite(value)) return {value, {std::nan(""), std::nan("")}};
  return {value, statistics::PercentileInterval(std::move(resampled))};
}

class Maker {
 public:
  Maker(const Evidence& evidence, int threads, const Cancellation* cancellation)
      : evidence_(evidence), threads_(threads), cancellation_(cancellation) {}

  Tie Make() {
    FindNetworks();
    FindPredictors();
    FindDamages();
    if (tie_.networks.size() < kFewestNetworks) return std::move(tie_);
    std::vector<std::string> scopes = {"all"};
    std::set<std::string> widths;
    for (const auto& network : tie_.networks) widths.insert(network.width);
    if (widths.size() > 1) scopes.insert(scopes.end(), widths.begin(), widths.end());
    for (const auto& scope : scopes) AddRows(scope);
    return std::move(tie_);
  }

 private:
  void FindNetworks() {
    std::set<int64_t> with_trials;
    for (const auto& trial : evidence_.trials) {
      if (trial.encoding == kEncoding && !trial.fault.starts_with("list:")) with_trials.insert(trial.model);
    }
    for (const auto& row : evidence_.sharpness) {
      const auto& model = evidence_.model(row.model);
      if (!with_trials.contains(row.model) || !evidence_.Learned(model)) continue;
      tie_.networks.push_back({row.model, model.label, GroupOf(model), WidthOf(model)});
      rows_.push_back(&row);
    }
  }

  void FindPredictors() {
    const auto add = [&](const std::string& name, const std::string& title, auto value_of) {
      TieColumn column{name, title, {}};
      for (size_t i = 0; i < rows_.size(); ++i)
        column.values.push_back(value_of(*rows_[i], evidence_.model(rows_[i]->model)));
      tie_.predictors.push_back(std::move(column));
    };
    std::vector<store::SharpnessRow> rows;
    for (const auto* row : rows_) rows.push_back(*row);
    for (const MeasureKey& key : MeasuresOf(rows)) {
      if (key.measure == "hessian-eigenvalue" && key.parameter > 1) continue;
      const std::string name =
          key.parameter == 0 ? key.measure : fmt::format("{} {}", key.measure, FormatShortest(key.parameter));
      add(name, TitleOf(key),
          [&](const store::SharpnessRow& row, const store::ModelRow&) { return ValueOf(row, key); });
    }
    // What needs no measuring of sharpness at all: a measure that says less than these is not worth its time.
    add("zero-share", "share of zero activations",
        [](const store::SharpnessRow&, const store::ModelRow& m) { return m.zero_share.value_or(std::nan("")); });
    add("clean-accuracy", "fault-free accuracy",
        [](const store::SharpnessRow&, const store::ModelRow& m) { return m.accuracy(); });
    add("clean-margin", "fault-free mean margin", [](const store::SharpnessRow&, const store::ModelRow& m) {
      return static_cast<double>(m.margin_sum) * kScoreUnit / static_cast<double>(m.images);
    });
  }

  void FindDamages() {
    // Mean accuracy of every network at every fault and rate.
    std::map<std::tuple<std::string, double>, std::map<int64_t, std::pair<double, int64_t>>> cells;
    for (const auto& trial : evidence_.trials) {
      if (trial.encoding != kEncoding || trial.fault.starts_with("list:")) continue;
      auto& [sum, count] = cells[{trial.fault, trial.rate}][trial.model];
      sum += trial.accuracy();
      ++count;
    }
    const auto drop = [&](const std::map<int64_t, std::pair<double, int64_t>>& cell, const TieNetwork& network) {
      const auto found = cell.find(network.model);
      if (found == cell.end()) return std::nan("");
      return 100 * (evidence_.model(network.model).accuracy() -
                    found->second.first / static_cast<double>(found->second.second));
    };
    std::vector<int64_t> models;
    for (const auto& network : tie_.networks) models.push_back(network.model);
    tie_.mean_rates = evidence_.SharedRates(models);
    std::map<std::string, Values> sums;
    std::map<std::string, size_t> counts;
    std::vector<TieColumn> single;
    for (const auto& [key, cell] : cells) {
      const auto& [fault, rate] = key;
      TieColumn column{fmt::format("{} {}", fault, FormatShortest(rate)),
                       fmt::format("{} at {}", FaultTitle(fault), FormatShortest(rate)),
                       {}};
      for (const auto& network : tie_.networks) column.values.push_back(drop(cell, network));
      ++counts[fault];
      const auto& shared = tie_.mean_rates[fault];
      if (std::find(shared.begin(), shared.end(), rate) != shared.end()) {
        auto& sum = sums[fault];
        sum.resize(column.values.size(), 0.0);
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += column.values[i];
      }
      single.push_back(std::move(column));
    }
    for (auto& [fault, sum] : sums) {
      const auto& shared = tie_.mean_rates[fault];
      for (double& value : sum) value /= static_cast<double>(shared.size());
      std::string rates;
      if (shared.size() < counts[fault]) {
        for (double rate : shared) rates += (rates.empty() ? " " : ", ") + FormatShortest(rate);
      }
      tie_.damages.push_back({fault + " mean", fmt::format("{} (mean over rates{})", FaultTitle(fault), rates), sum});
    }
    // Flips first: every study has them.
    std::stable_sort(tie_.damages.begin(), tie_.damages.end(),
                     [](const auto& a, const auto& b) { return (a.name == "flip mean") > (b.name == "flip mean"); });
    tie_.damages.insert(tie_.damages.end(), single.begin(), single.end());
  }

  // What a partial correlation holds constant; none where a network lacks one of them.
  std::vector<const Values*> ControlsOf(const std::vector<int>& members) const {
    std::vector<const Values*> controls;
    for (const char* name : {"zero-share", "weight-norm"}) {
      const auto column = std::find_if(tie_.predictors.begin(), tie_.predictors.end(),
                                       [&](const TieColumn& c) { return c.name == name; });
      const auto known = [&](int m) { return std::isfinite(column->values[static_cast<size_t>(m)]); };
      if (column == tie_.predictors.end() || !std::all_of(members.begin(), members.end(), known)) return {};
      controls.push_back(&column->values);
    }
    return controls;
  }

  using Pair = std::pair<size_t, size_t>;  // damage, predictor

  // Pairs that the same networks have values of are resampled together.
  void AddRows(const std::string& scope) {
    std::map<std::vector<int>, std::vector<Pair>> pairs_of;
    for (size_t d = 0; d < tie_.damages.size(); ++d) {
      for (size_t p = 0; p < tie_.predictors.size(); ++p) {
        std::vector<int> members;
        for (size_t i = 0; i < tie_.networks.size(); ++i) {
          if ((scope == "all" || tie_.networks[i].width == scope) && std::isfinite(tie_.damages[d].values[i]) &&
              std::isfinite(tie_.predictors[p].values[i]))
            members.push_back(static_cast<int>(i));
        }
        if (members.size() >= kFewestNetworks) pairs_of[members].emplace_back(d, p);
      }
    }
    std::map<Pair, TieRow> rows;
    for (const auto& [members, pairs] : pairs_of) {
      for (TieRow& row : RowsOf(scope, members, pairs)) rows.emplace(Pair{row.damage, row.predictor}, std::move(row));
    }
    for (auto& [pair, row] : rows) tie_.rows.push_back(std::move(row));
  }

  std::vector<TieRow> RowsOf(const std::string& scope, const std::vector<int>& members,
                             const std::vector<Pair>& pairs) const {
    std::map<std::string, int> numbers;
    std::vector<int> groups, everyone;
    for (int m : members) {
      groups.push_back(
          numbers.emplace(tie_.networks[static_cast<size_t>(m)].group, static_cast<int>(numbers.size())).first->second);
      everyone.push_back(static_cast<int>(everyone.size()));
    }
    const std::vector<Four> found = Correlate(members, everyone, groups, pairs);
    const auto resamples = statistics::GroupedResamples(groups, kResamples, kSeed);
    std::vector<std::vector<Four>> resampled(resamples.size());
    ParallelFor(
        threads_, static_cast<int64_t>(resamples.size()),
        [&](int, int64_t r) {
          const auto& resample = resamples[static_cast<size_t>(r)];
          resampled[static_cast<size_t>(r)] = Correlate(members, resample.members, resample.groups, pairs);
        },
        cancellation_);
    std::vector<TieRow> rows;
    for (size_t k = 0; k < pairs.size(); ++k) {
      const auto with_interval = [&](double Four::*which) {
        std::vector<double> values;
        for (const auto& fours : resampled) values.push_back(fours[k].*which);
        return WithInterval(found[k].*which, std::move(values));
      };
      rows.push_back({scope, pairs[k].second, pairs[k].first, static_cast<int64_t>(members.size()),
                      static_cast<int64_t>(numbers.size()), with_interval(&Four::spearman),
                      with_interval(&Four::kendall), with_interval(&Four::within), with_interval(&Four::partial)});
    }
    return rows;
  }

  // drawn: places in `members`.
  std::vector<Four> Correlate(const std::vector<int>& members, const std::vector<int>& drawn,
                              const std::vector<int>& groups, const std::vector<Pair>& pairs) const {
    const auto pick = [&](const Values& values) {
      Values picked;
      for (int place : drawn) picked.push_back(values[static_cast<size_t>(members[static_cast<size_t>(place)])]);
      return picked;
    };
    std::vector<Values> controls;
    for (const Values* control : ControlsOf(members)) controls.push_back(statistics::Ranks(pick(*control)));
    std::map<size_t, Prepared> damages, predictors;
    std::vector<Four> fours;
    for (const auto& [d, p] : pairs) {
      if (!damages.contains(d)) damages[d] = Prepare(pick(tie_.damages[d].values), groups, controls);
      if (!predictors.contains(p)) predictors[p] = Prepare(pick(tie_.predictors[p].values), groups, controls);
      fours.push_back(FourOf(predictors[p], damages[d]));
      if (controls.empty()) fours.back().partial = std::nan("");
    }
    return fours;
  }

  const Evidence& evidence_;
  const int threads_;
  const Cancellation* cancellation_;
  std::vector<const store::SharpnessRow*> rows_;  // [network]
  Tie tie_;
};

std::string Number(double value) {
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : "";
}

}  // namespace

Tie MakeTie(const Evidence& evidence, int threads, const Cancellation* cancellation) {
  return Maker(evidence, threads, cancellation).Make();
}

std::string TieCsv(const Tie& tie) {
  std::string csv =
      "scope,predictor,damage,networks,groups,spearman,spearman_low,spearman_high,kendall,kendall_low,kendall_high,"
      "within,within_low,within_high,partial,partial_low,partial_high\n";
  for (const TieRow& row : tie.rows) {
    csv += fmt::format("{},{},{},{},{}", row.scope, CsvField(tie.predictors[row.predictor].name),
                       CsvField(tie.damages[row.damage].name), row.networks, row.groups);
    for (const Correlation* c : {&row.spearman, &row.kendall, &row.within, &row.partial})
      csv += fmt::format(",{},{},{}", Number(c->value), Number(c->interval.low), Number(c->interval.high));
    csv += "\n";
  }
  return csv;
}

std::vector<TieRow> RankedFor(const Tie& tie, const std::string& scope, size_t damage) {
  std::vector<TieRow> rows;
  for (const TieRow& row : tie.rows) {
    if (row.scope == scope && row.damage == damage && std::isfinite(row.spearman.value)) rows.push_back(row);
  }
  std::stable_sort(rows.begin(), rows.end(), [](const TieRow& a, const TieRow& b) {
    return std::abs(a.spearman.value) > std::abs(b.spearman.value);
  });
  return rows;
}

}  // namespace steadfast::report
