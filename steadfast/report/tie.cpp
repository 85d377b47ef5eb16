#include "steadfast/report/tie.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "steadfast/base/parallel.h"
#include "steadfast/base/text.h"
#include "steadfast/report/curves.h"  // FaultTitle
#include "steadfast/report/sharpness_report.h"
#include "steadfast/report/text_table.h"  // CsvField
#include "steadfast/statistics/correlation.h"

namespace steadfast::report {
namespace {

constexpr int kResamples = 1000;
constexpr uint64_t kSeed = 1;
constexpr size_t kFewestNetworks = 5;
constexpr const char* kEncoding = "twos";

using Values = std::vector<double>;

Values Pick(const Values& values, const std::vector<int>& members) {
  Values picked;
  for (int m : members) picked.push_back(values[static_cast<size_t>(m)]);
  return picked;
}

// All four correlations of two lists.
struct Four {
  double spearman, kendall, within, partial;
};
Four FourOf(const Values& x, const Values& y, const std::vector<int>& groups, const std::vector<Values>& controls) {
  const Values rank_x = statistics::Ranks(x), rank_y = statistics::Ranks(y);
  std::vector<Values> rank_controls;
  for (const auto& control : controls) rank_controls.push_back(statistics::Ranks(control));
  return {
      statistics::Pearson(rank_x, rank_y), statistics::KendallTauB(x, y),
      statistics::Spearman(statistics::CenteredWithin(x, groups), statistics::CenteredWithin(y, groups)),
      statistics::Pearson(statistics::Residuals(rank_x, rank_controls), statistics::Residuals(rank_y, rank_controls))};
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
    const size_t damages = tie_.damages.size();
    std::vector<std::vector<TieRow>> rows(scopes.size() * damages);
    ParallelFor(
        threads_, static_cast<int64_t>(rows.size()),
        [&](int, int64_t i) {
          const auto k = static_cast<size_t>(i);
          rows[k] = RowsOf(scopes[k / damages], k % damages);
        },
        cancellation_);
    for (auto& some : rows) tie_.rows.insert(tie_.rows.end(), some.begin(), some.end());
    return std::move(tie_);
  }

 private:
  void FindNetworks() {
    std::set<int64_t> with_trials;
    for (const auto& trial : evidence_.trials) {
      if (trial.encoding == kEncoding && !trial.fault.starts_with("list:")) with_trials.insert(trial.model);
    }
    for (const auto& row : evidence_.sharpness) {
      if (!with_trials.contains(row.model)) continue;
      const auto& model = evidence_.model(row.model);
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
      return static_cast<double>(m.margin_sum) * 0x1p-20 / static_cast<double>(m.images);
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
    std::map<std::string, Values> sums;
    std::map<std::string, int> counts;
    std::vector<TieColumn> single;
    for (const auto& [key, cell] : cells) {
      const auto& [fault, rate] = key;
      TieColumn column{fmt::format("{} {}", fault, FormatShortest(rate)),
                       fmt::format("{} at {}", FaultTitle(fault), FormatShortest(rate)),
                       {}};
      for (const auto& network : tie_.networks) column.values.push_back(drop(cell, network));
      auto& sum = sums[fault];
      sum.resize(column.values.size(), 0.0);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += column.values[i];
      ++counts[fault];
      single.push_back(std::move(column));
    }
    for (auto& [fault, sum] : sums) {
      for (double& value : sum) value /= counts[fault];
      tie_.damages.push_back({fault + " mean", FaultTitle(fault) + " (mean over rates)", sum});
    }
    // Flips first: every study has them.
    std::stable_sort(tie_.damages.begin(), tie_.damages.end(),
                     [](const auto& a, const auto& b) { return (a.name == "flip mean") > (b.name == "flip mean"); });
    tie_.damages.insert(tie_.damages.end(), single.begin(), single.end());
  }

  const Values& Predictor(const std::string& name) const {
    for (const auto& column : tie_.predictors) {
      if (column.name == name) return column.values;
    }
    return tie_.predictors.back().values;
  }

  std::vector<TieRow> RowsOf(const std::string& scope, size_t damage) const {
    std::vector<int> chosen;
    for (size_t i = 0; i < tie_.networks.size(); ++i) {
      const bool in_scope = scope == "all" || tie_.networks[i].width == scope;
      if (in_scope && std::isfinite(tie_.damages[damage].values[i])) chosen.push_back(static_cast<int>(i));
    }
    std::vector<TieRow> rows;
    for (size_t p = 0; p < tie_.predictors.size(); ++p) {
      std::vector<int> members = chosen;
      const Values& x = tie_.predictors[p].values;
      std::erase_if(members, [&](int m) { return !std::isfinite(x[static_cast<size_t>(m)]); });
      if (members.size() >= kFewestNetworks) rows.push_back(RowOf(scope, p, damage, members));
    }
    return rows;
  }

  TieRow RowOf(const std::string& scope, size_t predictor, size_t damage, const std::vector<int>& members) const {
    std::map<std::string, int> numbers;
    std::vector<int> groups;
    for (int m : members)
      groups.push_back(
          numbers.emplace(tie_.networks[static_cast<size_t>(m)].group, static_cast<int>(numbers.size())).first->second);
    const Values x = Pick(tie_.predictors[predictor].values, members), y = Pick(tie_.damages[damage].values, members);
    std::vector<Values> controls;
    for (const char* name : {"zero-share", "weight-norm"}) {
      Values control = Pick(Predictor(name), members);
      const bool known = std::all_of(control.begin(), control.end(), [](double v) { return std::isfinite(v); });
      if (known) controls.push_back(std::move(control));
    }
    const Four four = FourOf(x, y, groups, controls);
    std::vector<double> spearman, kendall, within, partial;
    for (const auto& resample : statistics::GroupedResamples(groups, kResamples, kSeed)) {
      std::vector<Values> resampled_controls;
      for (const auto& control : controls) resampled_controls.push_back(Pick(control, resample.members));
      const Four f = FourOf(Pick(x, resample.members), Pick(y, resample.members), resample.groups, resampled_controls);
      spearman.push_back(f.spearman);
      kendall.push_back(f.kendall);
      within.push_back(f.within);
      partial.push_back(f.partial);
    }
    return {scope,
            predictor,
            damage,
            static_cast<int64_t>(members.size()),
            static_cast<int64_t>(numbers.size()),
            WithInterval(four.spearman, std::move(spearman)),
            WithInterval(four.kendall, std::move(kendall)),
            WithInterval(four.within, std::move(within)),
            WithInterval(four.partial, std::move(partial))};
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
    csv += fmt::format("{},{},{},{},{}", row.scope, tie.predictors[row.predictor].name, tie.damages[row.damage].name,
                       row.networks, row.groups);
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
