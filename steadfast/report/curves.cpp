#include "steadfast/report/curves.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "steadfast/statistics/summary.h"

namespace steadfast::report {
namespace {

CurvePoint PointOf(const std::string& group, const std::string& fault, const std::string& encoding, double rate,
                   const std::vector<double>& means, const std::vector<double>& trials_of_one, int64_t trials) {
  const auto interval = statistics::StudentInterval(means.size() > 1 ? means : trials_of_one);
  const auto bound = [](double value) { return std::isfinite(value) ? value : std::nan(""); };
  return {group,
          fault,
          encoding,
          rate,
          statistics::Mean(means),
          bound(interval.low),
          bound(interval.high),
          static_cast<int64_t>(means.size()),
          trials};
}

}  // namespace

std::vector<CurvePoint> AccuracyCurves(const Evidence& evidence, const Source& source) {
  using CurveKey = std::tuple<size_t, std::string, std::string, double>;  // group, fault, encoding, rate
  std::vector<std::string> groups;
  std::map<int64_t, size_t> group_of;
  std::vector<std::vector<double>> clean;
  for (int64_t id : source.models) {
    const std::string name = evidence.GroupName(evidence.model(id));
    const auto found = std::find(groups.begin(), groups.end(), name);
    group_of[id] = static_cast<size_t>(found - groups.begin());
    if (found == groups.end()) {
      groups.push_back(name);
      clean.emplace_back();
    }
    clean[group_of[id]].push_back(100 * evidence.model(id).accuracy());
  }
  std::map<CurveKey, std::map<int64_t, std::vector<double>>> cells;
  for (size_t index : source.trials) {
    const auto& t = evidence.trials[index];
    cells[{group_of.at(t.model), t.fault, t.encoding, t.rate}][t.model].push_back(100 * t.accuracy());
  }
  std::vector<CurvePoint> curves;
  for (size_t g = 0; g < groups.size(); ++g) {
    curves.push_back(PointOf(groups[g], "none", "", 0, clean[g], {clean[g][0]}, 0));
    for (const auto& [cell, by_model] : cells) {
      const auto& [group, fault, encoding, rate] = cell;
      if (group != g) continue;
      std::vector<double> means;
      int64_t trials = 0;
      for (const auto& [model, accuracies] : by_model) {
        means.push_back(statistics::Mean(accuracies));
        trials = std::max(trials, static_cast<int64_t>(accuracies.size()));
      }
      curves.push_back(PointOf(groups[g], fault, encoding, rate, means, by_model.begin()->second, trials));
    }
  }
  return curves;
}

bool HasSeveralEncodings(const std::vector<CurvePoint>& curves) {
  std::string first;
  for (const CurvePoint& point : curves) {
    if (point.fault == "none") continue;
    if (first.empty()) first = point.encoding;
    if (point.encoding != first) return true;
  }
  return false;
}

std::vector<TargetDamage> DamageByTarget(const Evidence& evidence, const Source& source) {
  const auto curves = AccuracyCurves(evidence, source);
  std::map<std::string, double> clean;
  for (const CurvePoint& p : curves) {
    if (p.fault == "none") clean[p.group] = p.accuracy;
  }
  std::vector<TargetDamage> damages;
  for (const CurvePoint& p : curves) {
    const size_t at = p.fault.find('@');
    // Of mixtures, the parts may be anywhere.
    if (at == std::string::npos || p.fault.find('*') != std::string::npos || !clean.contains(p.group)) continue;
    const double whole = clean.at(p.group);
    damages.push_back({p.group, p.fault.substr(0, at), p.fault.substr(at + 1), p.rate, whole - p.accuracy,
                       whole - p.high, whole - p.low});
  }
  return damages;
}

std::string MemoryOf(const Source& source) {
  const auto chip = source.settings.is_object() ? source.settings.value("chip", std::string()) : std::string();
  if (chip.empty()) return "plain memory";
  const auto parsed = nlohmann::json::parse(chip, nullptr, false);
  return "memory of chip " + (parsed.is_object() ? parsed.value("chip", std::string("?")) : std::string("?"));
}

std::string FaultTitle(const std::string& fault) {
  if (fault == "flip") return "bit flips";
  if (fault == "sa0") return "stuck-at-0";
  if (fault == "sa1") return "stuck-at-1";
  if (fault.starts_with("mixed:")) return fmt::format("mixed stuck-at {}", fault.substr(6));
  if (fault.starts_with("list:")) return fmt::format("fault list {}", fault.substr(5));
  return fault;
}

std::string FaultTitle(const std::string& fault, const std::string& encoding, bool several_encodings) {
  return several_encodings ? fmt::format("{} ({})", FaultTitle(fault), encoding) : FaultTitle(fault);
}

}  // namespace steadfast::report
