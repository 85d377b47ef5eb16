#include "steadfast/report/sweep_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "steadfast/base/progress.h"  // FormatDuration
#include "steadfast/report/sweep_report.h"
#include "steadfast/report/text_table.h"
#include "steadfast/statistics/bounded_mean.h"

namespace steadfast::report {
namespace {

using statistics::DrawnStratum;
using statistics::Estimate;
using statistics::MeanOfClusters;
using statistics::MeanOfStrata;
using statistics::Stratum;

// Means of three quantities from the same parts.
struct Strata {
  std::vector<Stratum> accuracy, harmless, changed;
};

void AddPart(const store::ModelRow& model, const store::SweepRow& sweep, const store::SweepPart& part,
             const std::string& kind, Stratum& accuracy, Stratum& harmless, Stratum& changed) {
  double correct = 0, without_effect = 0, changes = 0;
  ForEachFault(model, sweep, {part}, {kind}, [&](const SweptFault& fault) {
    correct += static_cast<double>(fault.correct);
    without_effect += fault.changed == 0 ? 1 : 0;
    changes += static_cast<double>(fault.changed);
  });
  const auto size = static_cast<double>(EvaluatedFaults(part));
  const auto add = [&](Stratum& stratum, double total) {
    stratum.sizes.push_back(size);
    stratum.totals.push_back(total);
  };
  add(accuracy, correct / static_cast<double>(sweep.images));
  add(harmless, without_effect);
  add(changed, changes);
}

nlohmann::json ToJson(const Estimate& estimate) {
  const auto number = [](double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); };
  return {{"mean", estimate.mean}, {"low", number(estimate.interval.low)}, {"high", number(estimate.interval.high)}};
}

std::string Around(const Estimate& estimate, double unit, int digits) {
  const double half = (estimate.interval.high - estimate.interval.low) / 2;
  const std::string spread = std::isfinite(half) ? fmt::format("{:.{}f}", half * unit, digits) : "?";
  return fmt::format("{:.{}f} ± {}", estimate.mean * unit, digits, spread);
}

}  // namespace

SweepSample ProjectSweep(const store::ModelRow& model, const store::SweepRow& sweep,
                         const std::vector<store::SweepPart>& parts, const std::vector<SweptStratum>& strata,
                         const std::vector<double>& part_seconds, int threads, const std::vector<std::string>& kinds) {
  SweepSample sample;
  sample.threads = threads;
  std::vector<Stratum> timed;
  for (const auto& kind : kinds) {
    Strata all;
    int64_t faults = 0, sampled = 0;
    for (const SweptStratum& stratum : strata) {
      Stratum accuracy{stratum.parts, static_cast<double>(stratum.faults), {}, {}};
      Stratum harmless = accuracy, changed = accuracy, seconds = accuracy;
      int64_t sampled_here = 0;
      for (size_t p = 0; p < parts.size(); ++p) {
        if (parts[p].tensor != stratum.tensor) continue;
        AddPart(model, sweep, parts[p], kind, accuracy, harmless, changed);
        sampled_here += EvaluatedFaults(parts[p]);
        if (part_seconds[p] < 0) continue;
        seconds.sizes.push_back(static_cast<double>(EvaluatedFaults(parts[p])));
        seconds.totals.push_back(part_seconds[p]);
      }
      if (timed.size() < strata.size()) timed.push_back(std::move(seconds));
      sample.means.push_back({kind, stratum.tensor, stratum.faults, sampled_here, MeanOfClusters({accuracy}),
                              MeanOfClusters({harmless}), MeanOfClusters({changed})});
      all.accuracy.push_back(std::move(accuracy));
      all.harmless.push_back(std::move(harmless));
      all.changed.push_back(std::move(changed));
      faults += stratum.faults;
      sampled += sampled_here;
    }
    sample.means.push_back({kind, "", faults, sampled, MeanOfClusters(all.accuracy), MeanOfClusters(all.harmless),
                            MeanOfClusters(all.changed)});
    sample.faults = faults;
    sample.sampled_faults = sampled;
  }
  sample.is_timed = !timed.empty();
  for (const Stratum& stratum : timed) sample.is_timed = sample.is_timed && !stratum.sizes.empty();
  if (sample.is_timed) {
    sample.seconds = MeanOfClusters(timed);
    const double unit = static_cast<double>(sample.faults) / threads;
    sample.seconds.mean *= unit;
    sample.seconds.interval.low = std::max(0.0, sample.seconds.interval.low * unit);
    sample.seconds.interval.high *= unit;
  }
  return sample;
}

std::vector<DrawnMeans> ProjectDrawnFaults(const store::ModelRow& model, const store::SweepRow& sweep,
                                           const std::vector<store::SweepPart>& parts,
                                           const std::vector<SweptPosition>& positions,
                                           const std::vector<std::string>& kinds) {
  const auto images = static_cast<double>(sweep.images);
  const double clean = static_cast<double>(model.correct) / images;
  std::vector<DrawnMeans> all;
  for (const std::string& kind : kinds) {
    struct Drawn {
      std::vector<double> lost, harmful, changed;
    };
    std::map<std::pair<std::string, int>, Drawn> drawn;
    ForEachFault(model, sweep, parts, {kind}, [&](const SweptFault& fault) {
      Drawn& of_position = drawn[{fault.tensor, fault.bit}];
      of_position.lost.push_back(clean - static_cast<double>(fault.correct) / images);
      of_position.harmful.push_back(fault.changed > 0 ? 1 : 0);
      of_position.changed.push_back(static_cast<double>(fault.changed) / images);
    });
    const auto add = [&](const std::string& group, const std::string& name, const auto& holds) {
      DrawnMeans means{kind, group, name, 0, 0, {}, {}, {}};
      std::vector<DrawnStratum> lost, harmful, changed;
      for (const SweptPosition& position : positions) {
        const auto found = drawn.find({position.tensor, position.bit});
        if (!holds(position) || found == drawn.end()) continue;
        means.faults += position.faults;
        means.drawn_faults += static_cast<int64_t>(found->second.lost.size());
        lost.push_back({position.faults, found->second.lost});
        harmful.push_back({position.faults, found->second.harmful});
        changed.push_back({position.faults, found->second.changed});
      }
      if (lost.empty()) return;
      const auto less = [](double from, const Estimate& estimate) {
        return Estimate{from - estimate.mean, {from - estimate.interval.high, from - estimate.interval.low}};
      };
      means.accuracy = less(clean, MeanOfStrata(lost, clean - 1, clean));
      means.harmless_share = less(1, MeanOfStrata(harmful, 0, 1));
      means.changed = MeanOfStrata(changed, 0, 1);
      means.changed.mean *= images;
      means.changed.interval = {means.changed.interval.low * images, means.changed.interval.high * images};
      all.push_back(std::move(means));
    };
    std::vector<std::string> roles, tensors;
    std::set<int> bits;
    for (const SweptPosition& position : positions) {
      if (std::find(roles.begin(), roles.end(), position.role) == roles.end()) roles.push_back(position.role);
      if (std::find(tensors.begin(), tensors.end(), position.tensor) == tensors.end())
        tensors.push_back(position.tensor);
      bits.insert(position.bit);
    }
    for (const auto& role : roles) add("role", role, [&](const SweptPosition& p) { return p.role == role; });
    for (const auto& tensor : tensors)
      add("tensor", tensor, [&](const SweptPosition& p) { return p.tensor == tensor; });
    for (const int bit : bits) add("bit", fmt::format("{}", bit), [&](const SweptPosition& p) { return p.bit == bit; });
    add("all", "all", [](const SweptPosition&) { return true; });
  }
  return all;
}

std::string ToText(const std::vector<DrawnMeans>& means) {
  if (means.empty()) return {};
  std::string text = fmt::format(
      "\nProjected to all {} faults, from {} of them, drawn by chance from each bit position of each tensor; 95 % "
      "intervals that hold whatever the faults that were not drawn do within 0 to 100 %.\n",
      means.back().faults, means.back().drawn_faults);
  TextTable table({"fault", "of", "", ">faults", ">drawn", ">mean accuracy %", ">", ">harmless %", ">",
                   ">predictions changed", ">"});
  const auto between = [](const Estimate& estimate, double unit, int digits) {
    return fmt::format("{:.{}f} to {:.{}f}", estimate.interval.low * unit, digits, estimate.interval.high * unit,
                       digits);
  };
  for (const DrawnMeans& m : means)
    table.AddRow({m.kind, m.group == "all" ? "" : m.group, m.name, fmt::format("{}", m.faults),
                  fmt::format("{}", m.drawn_faults), fmt::format("{:.3f}", 100 * m.accuracy.mean),
                  between(m.accuracy, 100, 2), fmt::format("{:.1f}", 100 * m.harmless_share.mean),
                  between(m.harmless_share, 100, 1), fmt::format("{:.1f}", m.changed.mean), between(m.changed, 1, 0)});
  return text + table.Text();
}

nlohmann::json ToJson(const std::vector<DrawnMeans>& means) {
  nlohmann::json list = nlohmann::json::array();
  for (const DrawnMeans& m : means)
    list.push_back({{"fault", m.kind},
                    {"group", m.group},
                    {"name", m.name},
                    {"faults", m.faults},
                    {"drawn_faults", m.drawn_faults},
                    {"accuracy", ToJson(m.accuracy)},
                    {"harmless_share", ToJson(m.harmless_share)},
                    {"changed_predictions", ToJson(m.changed)}});
  return {{"confidence", 0.95}, {"projected", list}};
}

std::string ToText(const SweepSample& sample) {
  std::string text = fmt::format(
      "\nProjected to all {} faults, from {} of them ({:.2f} %): whole parts of each tensor, chosen by chance; "
      "95 % intervals of means. The most critical bit of all may be worse than those above.\n",
      sample.faults, sample.sampled_faults,
      100 * static_cast<double>(sample.sampled_faults) / static_cast<double>(sample.faults));
  TextTable table(
      {"fault", "tensor", ">faults", ">sampled", ">mean accuracy %", ">harmless %", ">predictions changed"});
  for (const auto& m : sample.means) {
    table.AddRow({m.kind, m.tensor.empty() ? "all" : m.tensor, fmt::format("{}", m.faults),
                  fmt::format("{}", m.sampled_faults), Around(m.accuracy, 100, 3), Around(m.harmless_share, 100, 1),
                  Around(m.changed, 1, 1)});
  }
  text += table.Text();
  if (!sample.is_timed) return text;
  const auto& [low, high] = sample.seconds.interval;
  text += fmt::format("The whole sweep would take about {} on {} thread{}", FormatDuration(sample.seconds.mean),
                      sample.threads, sample.threads == 1 ? "" : "s");
  if (std::isfinite(high)) text += fmt::format(" ({} to {})", FormatDuration(low), FormatDuration(high));
  return text + ", its fault-free run aside.\n";
}

nlohmann::json ToJson(const SweepSample& sample) {
  nlohmann::json means = nlohmann::json::array();
  for (const auto& m : sample.means) {
    means.push_back({{"fault", m.kind},
                     {"tensor", m.tensor.empty() ? nlohmann::json() : nlohmann::json(m.tensor)},
                     {"faults", m.faults},
                     {"sampled_faults", m.sampled_faults},
                     {"accuracy", ToJson(m.accuracy)},
                     {"harmless_share", ToJson(m.harmless_share)},
                     {"changed_predictions", ToJson(m.changed)}});
  }
  return {{"faults", sample.faults},
          {"sampled_faults", sample.sampled_faults},
          {"confidence", 0.95},
          {"projected", means},
          {"seconds_of_the_whole", sample.is_timed ? ToJson(sample.seconds) : nlohmann::json()},
          {"threads", sample.threads}};
}

}  // namespace steadfast::report
