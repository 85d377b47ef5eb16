// Figures of what faults do: accuracy, paired differences, sparsity, criticality, latency, training.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"
#include "steadfast/report/campaign_report.h"
#include "steadfast/report/curves.h"
#include "steadfast/report/figure.h"
#include "steadfast/report/figure_parts.h"
#include "steadfast/report/recipe_comparison.h"
#include "steadfast/report/sweep_report.h"
#include "steadfast/report/text_table.h"
#include "steadfast/statistics/summary.h"

namespace steadfast::report {

using nlohmann::json;

namespace {

constexpr int64_t kMostPoints = 3000;  // single trials in a figure

struct Range {
  double low = INFINITY, high = -INFINITY;
  void Take(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

// Rows of single trials: the first `shown` trials of each cell, few enough that the figure stays quick.
std::string TrialRows(const Evidence& evidence, const Source& source, bool several_encodings, int64_t& shown,
                      Range& range) {
  std::map<std::tuple<int64_t, std::string, std::string, double>, std::vector<const store::TrialRow*>> cells;
  for (size_t index : source.trials) {
    const auto& t = evidence.trials[index];
    cells[{t.model, t.fault, t.encoding, t.rate}].push_back(&t);
  }
  shown = cells.empty() ? 0 : std::max<int64_t>(1, kMostPoints / static_cast<int64_t>(cells.size()));
  size_t most = 0;
  for (const auto& [cell, trials] : cells) most = std::max(most, trials.size());
  shown = std::min(shown, static_cast<int64_t>(most));
  std::string csv;
  for (auto& [cell, trials] : cells) {
    std::sort(trials.begin(), trials.end(), [](const auto* a, const auto* b) { return a->trial < b->trial; });
    for (size_t i = 0; i < std::min(trials.size(), static_cast<size_t>(shown)); ++i) {
      const auto& t = *trials[i];
      if (t.rate <= 0) continue;
      range.Take(100 * t.accuracy());
      csv += fmt::format("trial,{},{},{},{:.2f},,,1,,{},{}\n", CsvField(evidence.GroupName(evidence.model(t.model))),
                         CsvField(FaultTitle(t.fault, t.encoding, several_encodings)), FormatShortest(t.rate),
                         100 * t.accuracy(), CsvField(evidence.model(t.model).label), t.trial);
    }
  }
  return csv;
}

}  // namespace

std::optional<Figure> AccuracyFigure(const Evidence& evidence, const Source& source) {
  const auto curves = AccuracyCurves(evidence, source);
  const bool several = HasSeveralEncodings(curves);
  const auto groups = GroupsOf(evidence, source.models);
  std::vector<std::string> faults;
  std::set<double> rates;
  Range means, range;  // bands may reach beyond: they are clipped
  bool bands = false;
  std::string csv = "kind,group,fault,rate,accuracy,low,high,networks,trials,network,trial\n";
  for (const CurvePoint& p : curves) {
    if (p.rate <= 0) continue;
    rates.insert(p.rate);
    means.Take(p.accuracy);
    range.Take(p.accuracy);
    bands = bands || std::isfinite(p.low);
    const std::string fault = FaultTitle(p.fault, p.encoding, several);
    if (std::find(faults.begin(), faults.end(), fault) == faults.end()) faults.push_back(fault);
    csv += fmt::format("mean,{},{},{},{:.4f},{},{},{},{},,\n", CsvField(p.group), CsvField(fault),
                       FormatShortest(p.rate), p.accuracy, CsvNumber(p.low), CsvNumber(p.high), p.networks, p.trials);
  }
  if (faults.empty()) return std::nullopt;
  int64_t shown = 0;
  csv += TrialRows(evidence, source, several, shown, range);
  const json x = Rates("rate", {rates.begin(), rates.end()});
  // Fixed, so that the axes stay when single trials come and go.
  const json scale = {{"domain", {std::max(0.0, range.low), std::min(100.0, range.high)}}, {"nice", true}};
  const json y = {{"field", "accuracy"}, {"type", "quantitative"}, {"title", "accuracy, %"}, {"scale", scale}};
  const json mean = {{{"filter", "datum.kind == 'mean'"}}};
  json spec = {
      {"params",
       {{{"name", "single"}, {"value", false}, {"bind", {{"input", "checkbox"}, {"name", "single trials "}}}}}},
      {"facet", Panels("fault", faults)},
      {"spec",
       {{"height", 230},
        {"layer",
         {{{"transform", mean},
           {"mark", {{"type", "area"}, {"opacity", 0.18}, {"clip", true}}},
           {"encoding",
            {{"x", x},
             {"y", {{"field", "low"}, {"type", "quantitative"}, {"scale", scale}, {"title", "accuracy, %"}}},
             {"y2", {{"field", "high"}}},
             {"color", GroupColor(groups)},
             {"opacity", FilteredOpacity(0.18)}}}},
          {{"transform", {{{"filter", "single && datum.kind == 'trial'"}}}},
           {"mark", {{"type", "circle"}, {"size", 9}}},
           {"encoding",
            {{"x", x},
             {"y", y},
             {"color", GroupColor(groups)},
             {"opacity", FilteredOpacity(0.45)},
             {"tooltip",
              TooltipOf(
                  {{"network", "network"}, {"trial", "trial"}, {"rate", "rate"}, {"accuracy", "accuracy, %"}})}}}},
          {{"transform", mean},
           {"params", {LegendFilter()}},
           {"mark", {{"type", "line"}, {"point", {{"size", 42}}}, {"strokeWidth", 2}}},
           {"encoding",
            {{"x", x},
             {"y", y},
             {"color", GroupColor(groups)},
             {"strokeDash", GroupDash(groups)},
             {"opacity", FilteredOpacity()},
             {"tooltip", TooltipOf({{"group", "recipe"},
                                    {"fault", "fault"},
                                    {"rate", "rate"},
                                    {"accuracy", "accuracy, %"},
                                    {"low", "95 % from"},
                                    {"high", "95 % to"},
                                    {"networks", "networks"},
                                    {"trials", "trials each"}})}}}}}}}}};
  if (!bands) spec["spec"]["layer"].erase(0);
  return Figure{
      "accuracy-" + source.name,
      "Accuracy over fault rate",
      fmt::format("Mean over networks and trials; bands are 95 % t intervals over networks (over trials where a recipe "
                  "has one network). Click a name in the legend to see it alone, shift-click for several. Single "
                  "trials: the first {} of each cell.",
                  shown),
      fmt::format("Lines of accuracy over fault rate for {} recipes and {} kinds of fault, between {:.1f} and {:.1f} "
                  "percent.",
                  groups.size(), faults.size(), means.low, means.high),
      CommandsOf(source.runs, "trials", "steadfast inject"),
      spec,
      csv};
}

namespace {

struct Difference {
  std::string pair, fault, encoding;
  double rate, mean, low, high;
};

std::vector<Difference> FromClaims(const Source& source) {
  std::vector<Difference> rows;
  for (const auto& claim : source.claims) {
    const json detail = json::parse(claim.detail_json, nullptr, false);
    if (!detail.is_object() || !detail.contains("grid")) continue;
    for (const json& cell : detail["grid"]) {
      const json interval = cell.value("simultaneous_interval", json::array({nullptr, nullptr}));
      const auto bound = [](const json& value) { return value.is_number() ? value.get<double>() : std::nan(""); };
      rows.push_back({claim.id + ": " + detail.value("difference", ""), cell.value("fault", ""),
                      cell.value("encoding", ""), cell.value("rate", 0.0), cell.value("effect", 0.0),
                      bound(interval.at(0)), bound(interval.at(1))});
    }
  }
  return rows;
}

// Every recipe against the first, where they have the same seeds and trials.
std::vector<Difference> FromRecipes(const Evidence& evidence, const Source& source) {
  std::vector<Difference> rows;
  auto models = evidence.ModelsOf(source);
  // Each width of a recipe counts as a recipe.
  std::erase_if(models, [](const store::ModelRow& model) { return model.recipe.empty(); });
  for (auto& model : models) model.recipe = evidence.GroupName(model);
  const auto trials = evidence.TrialsOf(source);
  std::vector<std::string> recipes;
  for (const auto& model : models) {
    if (std::find(recipes.begin(), recipes.end(), model.recipe) == recipes.end()) recipes.push_back(model.recipe);
  }
  for (size_t r = 1; r < recipes.size(); ++r) {
    try {
      const Comparison claim = CompareRecipes(models, trials, recipes[r], recipes[0]);
      for (const auto& cell : claim.cells)
        rows.push_back({fmt::format("{} minus {}", recipes[r], recipes[0]), cell.fault, cell.encoding, cell.rate,
                        cell.mean, cell.simultaneous.low, cell.simultaneous.high});
    } catch (const InputError&) {
      // Not comparable: other seeds or other trials.
    }
  }
  return rows;
}

std::vector<Difference> FromModels(const Evidence& evidence, const Source& source) {
  std::vector<Difference> rows;
  const auto report = MakeCampaignReport(evidence.ModelsOf(source), evidence.TrialsOf(source));
  for (const auto& d : report.differences) {
    if (d.model_a != source.models.front()) continue;
    rows.push_back({fmt::format("{} minus {}", evidence.model(d.model_b).label, evidence.model(d.model_a).label),
                    d.fault, d.encoding, d.rate, -d.mean, -d.interval.high, -d.interval.low});
  }
  return rows;
}

}  // namespace

std::optional<Figure> DifferencesFigure(const Evidence& evidence, const Source& source) {
  std::vector<Difference> rows = FromClaims(source);
  const bool claims = !rows.empty();
  // With one network a recipe, trials are the unit.
  const bool recipes = claims || GroupsOf(evidence, source.models).size() < source.models.size();
  if (rows.empty()) rows = recipes ? FromRecipes(evidence, source) : FromModels(evidence, source);
  std::erase_if(rows, [](const Difference& d) { return d.rate <= 0; });
  if (rows.empty()) return std::nullopt;
  const bool several =
      std::any_of(rows.begin(), rows.end(), [&](const Difference& d) { return d.encoding != rows.front().encoding; });
  std::vector<std::string> pairs, faults;
  std::string csv = "group,fault,rate,points,low,high\n";
  for (const Difference& d : rows) {
    const std::string fault = FaultTitle(d.fault, d.encoding, several);
    if (std::find(pairs.begin(), pairs.end(), d.pair) == pairs.end()) pairs.push_back(d.pair);
    if (std::find(faults.begin(), faults.end(), fault) == faults.end()) faults.push_back(fault);
    csv += fmt::format("{},{},{},{:.4f},{},{}\n", CsvField(d.pair), CsvField(fault), FormatShortest(d.rate), d.mean,
                       CsvNumber(d.low), CsvNumber(d.high));
  }
  std::set<double> rates;
  bool bands = false;
  Range range;
  range.Take(0);
  for (const Difference& d : rows) {
    rates.insert(d.rate);
    range.Take(d.mean);
    bands = bands || std::isfinite(d.low);
  }
  // A band that says nothing (few seeds, one of which failed) does not flatten the rest: it is clipped.
  const double room = std::max(1.0, 0.7 * (range.high - range.low));
  const json scale = {{"domain", {range.low - room, range.high + room}}, {"nice", true}};
  const json x = Rates("rate", {rates.begin(), rates.end()});
  json spec = {
      {"facet", Panels("fault", faults)},
      {"spec",
       {{"height", 230},
        {"layer",
         {{{"mark", {{"type", "rule"}, {"color", "#888888"}, {"strokeDash", {4, 4}}}},
           {"encoding", {{"y", {{"datum", 0}}}}}},
          {{"mark", {{"type", "area"}, {"clip", true}}},
           {"encoding",
            {{"x", x},
             {"y", {{"field", "low"}, {"type", "quantitative"}, {"title", "difference, points"}, {"scale", scale}}},
             {"y2", {{"field", "high"}}},
             {"color", GroupColor(pairs, "difference")},
             {"opacity", FilteredOpacity(0.1)}}}},
          {{"params", {LegendFilter()}},
           {"mark", {{"type", "line"}, {"point", {{"size", 42}}}}},
           {"encoding",
            {{"x", x},
             {"y", {{"field", "points"}, {"type", "quantitative"}, {"title", "difference, points"}, {"scale", scale}}},
             {"color", GroupColor(pairs, "difference")},
             {"opacity", FilteredOpacity()},
             {"tooltip", TooltipOf({{"group", "difference"},
                                    {"fault", "fault"},
                                    {"rate", "rate"},
                                    {"points", "points"},
                                    {"low", "95 % from"},
                                    {"high", "95 % to"}})}}}}}}}}};
  if (!bands) spec["spec"]["layer"].erase(1);
  return Figure{
      "differences-" + source.name,
      "Paired differences in accuracy",
      recipes ? "The same faults hit both networks of a pair; the training seed is the unit. Bands are intervals "
                "that hold for all cells of the grid together (95 %, Bonferroni). Above zero, the first is better."
              : "The same faults hit both networks; bands are 95 % t intervals over trials. Above zero, the "
                "first is better.",
      fmt::format("Lines of the difference in accuracy over fault rate for {} pairs{}.", pairs.size(),
                  claims ? ", one for each claim" : ""),
      CommandsOf(source.runs, "trials", "steadfast inject"),
      spec,
      csv};
}

std::optional<Figure> SparsityFigure(const Evidence& evidence) {
  std::vector<std::string> groups, layers;
  std::map<std::pair<std::string, std::string>, std::vector<double>> shares;  // group, layer
  for (const auto& model : evidence.models) {
    const std::string group = evidence.GroupName(model);
    for (const auto& layer : model.layers) {
      if (!layer.zero_share || layer.weight_shape.empty()) continue;
      if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
      if (std::find(layers.begin(), layers.end(), layer.name) == layers.end()) layers.push_back(layer.name);
      shares[{group, layer.name}].push_back(100 * *layer.zero_share);
    }
  }
  if (shares.empty()) return std::nullopt;
  std::string csv = "group,layer,zeros,lowest,highest,networks\n";
  for (const auto& group : groups) {
    for (const auto& layer : layers) {
      const auto found = shares.find({group, layer});
      if (found == shares.end()) continue;
      const auto& v = found->second;
      csv += fmt::format("{},{},{:.3f},{:.3f},{:.3f},{}\n", CsvField(group), CsvField(layer), statistics::Mean(v),
                         *std::min_element(v.begin(), v.end()), *std::max_element(v.begin(), v.end()), v.size());
    }
  }
  const json x = {
      {"field", "layer"}, {"type", "ordinal"}, {"sort", layers}, {"title", "layer"}, {"axis", {{"labelAngle", 0}}}};
  const json spec = {{"height", 240},
                     {"layer",
                      {{{"mark", {{"type", "rule"}, {"strokeWidth", 3}}},
                        {"encoding",
                         {{"x", x},
                          {"y",
                           {{"field", "lowest"},
                            {"type", "quantitative"},
                            {"title", "zero activations, %"},
                            {"scale", {{"zero", false}}}}},
                          {"y2", {{"field", "highest"}}},
                          {"color", GroupColor(groups)},
                          {"opacity", FilteredOpacity(0.35)}}}},
                       {{"params", {LegendFilter()}},
                        {"mark", {{"type", "line"}, {"point", {{"size", 42}}}}},
                        {"encoding",
                         {{"x", x},
                          {"y", Quantitative("zeros", "zero activations, %")},
                          {"color", GroupColor(groups)},
                          {"strokeDash", GroupDash(groups)},
                          {"opacity", FilteredOpacity()},
                          {"tooltip", TooltipOf({{"group", "recipe"},
                                                 {"layer", "layer"},
                                                 {"zeros", "zeros, %"},
                                                 {"lowest", "lowest"},
                                                 {"highest", "highest"},
                                                 {"networks", "networks"}})}}}}}}};
  return Figure{
      "sparsity-layers",
      "Zero activations by layer",
      "The share of zero codes behind each weighted layer on the test set: mean over networks, with the lowest "
      "and highest.",
      fmt::format("Zero activations of {} recipes over {} layers.", groups.size(), layers.size()),
      "steadfast train (kept in each model file: steadfast inspect MODEL)",
      spec,
      csv};
}

std::optional<Figure> SparsityDamageFigure(const Evidence& evidence) {
  std::vector<int64_t> models;
  for (const auto& model : evidence.models) {
    if (model.zero_share && evidence.Learned(model)) models.push_back(model.id);
  }
  // Accuracy by fault, model and rate, at the rates by which models are compared.
  const auto shared = evidence.SharedRates(models);
  std::map<std::string, std::map<int64_t, std::map<double, std::vector<double>>>> accuracies;
  for (const auto& t : evidence.trials) {
    const auto rates = shared.find(t.fault);
    if (t.encoding == "twos" && rates != shared.end() &&
        std::find(rates->second.begin(), rates->second.end(), t.rate) != rates->second.end())
      accuracies[t.fault][t.model][t.rate].push_back(100 * t.accuracy());
  }
  std::vector<int64_t> drawn;
  std::vector<std::string> panels = {"fault-free accuracy, %"}, layers = {"all"}, layer_titles = {"all layers"};
  std::string csv = "group,network,layer,zeros,quantity,value\n";
  for (int64_t id : models) {
    const auto& model = evidence.model(id);
    std::vector<std::pair<std::string, double>> values = {{panels[0], 100 * model.accuracy()}};
    for (const auto& [fault, of_models] : accuracies) {
      const auto found = of_models.find(id);
      if (found == of_models.end() || found->second.size() < shared.at(fault).size()) continue;
      std::vector<double> means;
      for (const auto& [rate, of_trials] : found->second) means.push_back(statistics::Mean(of_trials));
      values.emplace_back("points lost to " + FaultTitle(fault), 100 * model.accuracy() - statistics::Mean(means));
      if (std::find(panels.begin(), panels.end(), values.back().first) == panels.end())
        panels.push_back(values.back().first);
    }
    if (values.size() == 1) continue;
    drawn.push_back(id);
    const auto add = [&](const std::string& layer, double zeros) {
      for (const auto& [quantity, value] : values) {
        csv += fmt::format("{},{},{},{:.3f},{},{:.4f}\n", CsvField(evidence.GroupName(model)), CsvField(model.label),
                           CsvField(layer), 100 * zeros, CsvField(quantity), value);
      }
    };
    add("all", *model.zero_share);
    for (const auto& layer : model.layers) {
      if (!layer.zero_share) continue;
      auto place = std::find(layer_titles.begin() + 1, layer_titles.end(), layer.name);
      if (place == layer_titles.end()) {
        layers.push_back(fmt::format("l{}", layers.size()));
        place = layer_titles.insert(place, layer.name);
      }
      add(layers[static_cast<size_t>(place - layer_titles.begin())], *layer.zero_share);
    }
  }
  if (drawn.size() < 2) return std::nullopt;
  const auto groups = GroupsOf(evidence, drawn);
  const json spec = {
      {"params", {Choice("which", "zeros of", layers, layer_titles)}},
      {"transform", {{{"filter", "datum.layer == which"}}}},
      {"facet", Panels("quantity", panels)},
      {"resolve", {{"scale", {{"y", "independent"}}}}},
      {"spec",
       {{"height", 200},
        {"params", {LegendFilter()}},
        {"mark", {{"type", "point"}, {"filled", true}, {"size", 60}}},
        {"encoding",
         {{"x", Quantitative("zeros", "zero activations, %")},
          {"y", Quantitative("value", "")},
          {"color", GroupColor(groups)},
          {"shape", GroupShape(groups)},
          {"opacity", FilteredOpacity(0.85)},
          {"tooltip",
           TooltipOf(
               {{"network", "network"}, {"zeros", "zeros, %"}, {"quantity", "quantity"}, {"value", "value"}})}}}}}};
  return Figure{
      "sparsity-damage",
      "Sparsity against accuracy and damage",
      "One point a network; choose the layer whose zeros count below. Points lost: fault-free accuracy minus accuracy "
      "under faults, mean over trials and over the rates that the networks share, stored in two's complement. Networks "
      "that did not learn (under half the best accuracy) are left out.",
      fmt::format("Scatter of {} networks: zero activations against accuracy and points lost.", drawn.size()),
      CommandsOf(evidence, "trials", "steadfast inject"),
      spec,
      csv};
}

namespace {

// "conv1.weight" is conv1's.
std::string LayerOf(const std::string& tensor) {
  return tensor.ends_with(".weight") ? tensor.substr(0, tensor.size() - 7) : tensor;
}

}  // namespace

std::optional<Figure> CriticalityFigure(const Evidence& evidence) {
  std::string csv = "network,layer,bit,harm,changed,worst,faults\n";
  std::vector<std::string> layers, networks;
  for (const auto& swept : evidence.sweeps) {
    if (swept.sweep.of_pairs()) continue;
    const auto& model = evidence.model(swept.sweep.model);
    const auto report = MakeSweepReport(model, swept.sweep, swept.parts, {swept.sweep.fault_of_values()}, 0);
    // Several sweeps of one model differ in encoding, images, or what was swept.
    std::string name = model.label + (swept.sweep.encoding == "twos" ? "" : " (" + swept.sweep.encoding + ")");
    constexpr size_t kLongest = 40;
    if (const std::string what = WhatWasSwept(swept.sweep); !what.empty())
      name += fmt::format(" ({})", what.substr(0, kLongest));
    while (std::find(networks.begin(), networks.end(), name) != networks.end()) name += "'";
    for (const auto& p : report.positions) {
      if (p.bit < 0) continue;
      const std::string layer = LayerOf(p.tensor);
      if (std::find(layers.begin(), layers.end(), layer) == layers.end()) layers.push_back(layer);
      csv += fmt::format("{},{},{},{:.4f},{:.3f},{:.4f},{}\n", CsvField(name), CsvField(layer), p.bit,
                         100 * (model.accuracy() - p.mean_accuracy), p.mean_changed, 100 * p.worst_accuracy, p.faults);
    }
    if (!report.positions.empty()) networks.push_back(name);
  }
  if (networks.empty()) return std::nullopt;
  // The layers in the order of the network.
  std::vector<std::string> order;
  for (const auto& layer : evidence.model(evidence.sweeps.front().sweep.model).layers) {
    if (std::find(layers.begin(), layers.end(), layer.name) != layers.end()) order.push_back(layer.name);
  }
  for (const auto& layer : layers) {
    if (std::find(order.begin(), order.end(), layer) == order.end()) order.push_back(layer);
  }
  const json x = {{"field", "bit"},
                  {"type", "ordinal"},
                  {"sort", "descending"},
                  {"title", "bit (0: least significant)"},
                  {"axis", {{"labelAngle", 0}}}};
  const json y = {
      {"field", "layer"}, {"type", "ordinal"}, {"sort", order}, {"title", nullptr}, {"axis", {{"labelLimit", 64}}}};
  const json spec = {
      {"facet", Panels("network", networks)},
      {"spec",
       {{"height", 34 * order.size()},
        {"layer",
         {{{"mark", {{"type", "rect"}}},
           {"encoding",
            {{"x", x},
             {"y", y},
             {"color",
              {{"field", "changed"},
               {"type", "quantitative"},
               {"title", "predictions changed by one flip, mean"},
               {"scale", {{"type", "symlog"}, {"scheme", "viridis"}}},
               {"legend", {{"orient", "bottom"}, {"gradientLength", 180}, {"titleLimit", 0}, {"format", ".3~r"}}}}},
             {"tooltip", TooltipOf({{"layer", "layer"},
                                    {"bit", "bit"},
                                    {"changed", "predictions changed, mean"},
                                    {"harm", "points lost, mean"},
                                    {"worst", "worst accuracy, %"},
                                    {"faults", "bits"}})}}}},
          {{"mark",
            {{"type", "text"}, {"fontSize", 11}, {"stroke", "black"}, {"strokeWidth", 2.2}, {"strokeOpacity", 0.75}}},
           {"encoding",
            {{"x", x},
             {"y", y},
             {"text", {{"field", "changed"}, {"type", "quantitative"}, {"format", ".3~r"}}},
             {"color", {{"value", "white"}}}}}},
          {{"mark", {{"type", "text"}, {"fontSize", 11}}},
           {"encoding",
            {{"x", x},
             {"y", y},
             {"text", {{"field", "changed"}, {"type", "quantitative"}, {"format", ".3~r"}}},
             {"color", {{"value", "white"}}}}}}}}}}};
  bool is_whole = true;
  for (const SweptModel& swept : evidence.sweeps)
    is_whole &= swept.sweep.of_pairs() || BitsOf(swept.sweep, swept.parts).is_whole();
  return Figure{"criticality",
                "Criticality by layer and bit",
                fmt::format("How many of the test set's predictions change when one bit flips, mean over {}.",
                            is_whole ? "all bits of that position in the layer: every bit was flipped, none was sampled"
                                     : "those bits of that position in the layer that were flipped: a sample of all"),
                fmt::format("Heat map over {} layers and bit positions.", order.size()),
                CommandsOf(evidence, "sweep", "steadfast sweep MODEL --store STORE"),
                spec,
                csv};
}

std::optional<Figure> TargetFigure(const Evidence& evidence, const Source& source) {
  const auto damages = DamageByTarget(evidence, source);
  if (damages.empty()) return std::nullopt;
  std::string csv = "group,fault,target,rate,damage,low,high,panel\n";
  std::vector<std::string> panels, targets;
  const auto take = [](std::vector<std::string>& list, const std::string& text) {
    if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
  };
  for (const TargetDamage& d : damages) {
    const std::string panel =
        d.rate > 0 ? fmt::format("{} at {}", FaultTitle(d.fault), FormatShortest(d.rate)) : FaultTitle(d.fault);
    take(panels, panel);
    take(targets, d.target);
    csv +=
        fmt::format("{},{},{},{},{},{},{},{}\n", CsvField(d.group), CsvField(d.fault), CsvField(d.target),
                    FormatShortest(d.rate), CsvNumber(d.damage), CsvNumber(d.low), CsvNumber(d.high), CsvField(panel));
  }
  const auto groups = GroupsOf(evidence, source.models);
  const json y = {
      {"field", "target"}, {"type", "nominal"}, {"title", nullptr}, {"sort", targets}, {"axis", {{"labelLimit", 64}}}};
  const json offset = {{"field", "group"}, {"sort", groups}};
  const json spec = {
      {"facet", Panels("panel", panels)},
      {"spec",
       {{"height", {{"step", 12}}},
        {"encoding", {{"y", y}, {"yOffset", offset}, {"color", GroupColor(groups)}}},
        {"layer",
         {{{"mark", {{"type", "rule"}}},
           {"encoding", {{"x", {{"field", "low"}, {"type", "quantitative"}}}, {"x2", {{"field", "high"}}}}}},
          {{"mark", {{"type", "point"}, {"filled", true}, {"size", 50}}},
           {"encoding",
            {{"x", Quantitative("damage", "accuracy lost, points")},
             {"tooltip", TooltipOf({{"group", "network"},
                                    {"target", "what fails"},
                                    {"fault", "fault model"},
                                    {"rate", "rate"},
                                    {"damage", "accuracy lost, points"}})}}}}}}}}};
  return Figure{
      "targets-" + source.name,
      "Damage by what fails",
      "Accuracy lost, mean and 95 % t interval, where only weights, only biases and so on fail: " + MemoryOf(source) +
          ".",
      "A point for each recipe and each part of what is stored.",
      CommandsOf(source.runs, "trials", "steadfast inject MODEL --fault flip@weights,flip@biases --store STORE"),
      spec,
      csv};
}

std::optional<Figure> BankFigure(const Evidence& evidence) {
  std::string csv = "panel,row,row_end,column,column_end,bits,mean,largest\n";
  std::vector<std::string> panels;
  std::string chips;
  constexpr size_t kMostPanels = 24;
  size_t left_out = 0;
  for (const auto& [id, map] : evidence.bank_maps) {
    if (!map.is_object() || !map.contains("banks")) continue;
    const std::string chip = map.value("chip", std::string());
    if (chips.find(chip) == std::string::npos) chips += (chips.empty() ? "" : ", ") + chip;
    for (const json& bank : map["banks"]) {
      const std::string panel = fmt::format("{}: {}, bank {}", evidence.model(id).label,
                                            bank.value("memory", std::string()), bank.value("bank", int64_t{0}));
      if (panels.size() == kMostPanels) {
        ++left_out;
        continue;
      }
      panels.push_back(panel);
      const auto rows = bank.value("square_rows", int64_t{1}), columns = bank.value("square_columns", int64_t{1});
      for (const json& square : bank.value("squares", json::array())) {
        if (!square.is_array() || square.size() != 5) continue;
        const auto row = square[0].get<int64_t>(), column = square[1].get<int64_t>();
        csv += fmt::format("{},{},{},{},{},{},{},{}\n", CsvField(panel), row, row + rows, column, column + columns,
                           square[2].get<int64_t>(), CsvNumber(100 * square[3].get<double>()),
                           CsvNumber(100 * square[4].get<double>()));
      }
    }
  }
  if (panels.empty()) return std::nullopt;
  const json spec = {
      {"facet", Panels("panel", panels)},
      {"spec",
       {{"height", 140},
        {"mark", {{"type", "rect"}}},
        {"encoding",
         {{"x", Quantitative("column", "column")},
          {"x2", {{"field", "column_end"}}},
          {"y", {{"field", "row"}, {"type", "quantitative"}, {"title", "row"}, {"scale", {{"reverse", true}}}}},
          {"y2", {{"field", "row_end"}}},
          {"color",
           {{"field", "mean"},
            {"type", "quantitative"},
            {"title", "mean accuracy lost, points"},
            {"scale", {{"scheme", "viridis"}}},
            {"legend", {{"orient", "bottom"}}}}},
          {"tooltip", TooltipOf({{"row", "first row"},
                                 {"column", "first column"},
                                 {"bits", "bits"},
                                 {"mean", "mean accuracy lost, points"},
                                 {"largest", "largest"}})}}}}}};
  return Figure{
      "banks",
      "Where on the chip bits matter",
      fmt::format("Accuracy lost to the flip of one bit, mean over the bits of each square of a bank (chip {}); "
                  "where nothing is drawn, nothing was swept.{}",
                  chips, left_out > 0 ? fmt::format(" {} more banks are left out.", left_out) : ""),
      "A map of each memory bank, coloured by how much its bits matter.",
      CommandsOf(evidence, "sweep", "steadfast sweep MODEL --chip CHIP --store STORE"),
      spec,
      csv};
}

std::optional<Figure> ClassFigure(const Evidence& evidence) {
  std::string csv = "network,class,memory,recall,images,faults\n";
  std::vector<std::string> networks;
  for (const auto& [id, scores] : evidence.classes) {
    if (!scores.is_object() || !scores.contains("classes")) continue;
    const std::string name = evidence.model(id).label;
    networks.push_back(name);
    const std::string faults = fmt::format("{} at {:g}, {} trials", scores.value("fault", std::string()),
                                           scores.value("rate", 0.0), scores.value("trials", int64_t{0}));
    for (const json& one : scores["classes"]) {
      for (const auto& [memory, key] : {std::pair{"whole", "recall"}, std::pair{"faulty", "faulty_recall"}}) {
        csv += fmt::format("{},{},{},{},{},{}\n", CsvField(name), one.value("class", int64_t{0}), memory,
                           CsvNumber(100 * one.value(key, 0.0)), one.value("images", int64_t{0}), CsvField(faults));
      }
    }
  }
  if (networks.empty()) return std::nullopt;
  const json spec = {{"facet", Panels("network", networks)},
                     {"spec",
                      {{"height", {{"step", 14}}},
                       {"mark", {{"type", "point"}, {"filled", true}, {"size", 60}}},
                       {"encoding",
                        {{"x", {{"field", "recall"}, {"type", "quantitative"}, {"title", "recall, %"}}},
                         {"y",
                          {{"field", "class"},
                           {"type", "ordinal"},
                           {"sort", {{"field", "recall"}, {"op", "min"}, {"order", "ascending"}}},
                           {"title", "class"}}},
                         {"color",
                          {{"field", "memory"},
                           {"type", "nominal"},
                           {"title", "memory"},
                           {"scale", {{"domain", {"whole", "faulty"}}, {"range", {"#0072B2", "#D55E00"}}}},
                           {"legend", {{"orient", "bottom"}}}}},
                         {"tooltip", TooltipOf({{"class", "class"},
                                                {"memory", "memory"},
                                                {"recall", "recall, %"},
                                                {"images", "images"},
                                                {"faults", "faults"}})}}}}}};
  return Figure{
      "classes",
      "Which classes break first",
      "The share of each class's images that are recognized, with a whole memory and over all trials with a faulty "
      "one; the class that is recognized least is on top.",
      "Two points a class: recall without and under faults.",
      CommandsOf(evidence, "classes", "steadfast evaluate MODEL --fault FAULT --rate RATE --store STORE"),
      spec,
      csv};
}

std::optional<Figure> LatencyFigure(const Evidence& evidence) {
  std::string csv = "network,layer,path,nanoseconds,speedup,skipped,cycles_speedup\n";
  std::vector<std::string> networks, layers;
  for (const auto& [id, latency] : evidence.latencies) {
    if (!latency.is_object() || !latency.contains("layers")) continue;
    const std::string name = evidence.model(id).label;
    networks.push_back(name);
    for (const json& layer : latency["layers"]) {
      const std::string title = layer.value("layer", "");
      const bool has_both = layer.contains("sparse_ns_per_image") && layer["sparse_ns_per_image"].is_number();
      if (title == "all" || !has_both) continue;
      if (std::find(layers.begin(), layers.end(), title) == layers.end()) layers.push_back(title);
      const auto number = [&](const char* key) {
        return layer.contains(key) && layer[key].is_number() ? layer[key].get<double>() : std::nan("");
      };
      for (const char* path : {"dense", "sparse"}) {
        csv +=
            fmt::format("{},{},{},{},{},{},{}\n", CsvField(name), CsvField(title), path,
                        CsvNumber(number(path == std::string("dense") ? "dense_ns_per_image" : "sparse_ns_per_image")),
                        CsvNumber(number("sparse_speedup")), CsvNumber(100 * number("skipped_share")),
                        CsvNumber(number("accelerator_speedup")));
      }
    }
  }
  if (networks.empty()) return std::nullopt;
  const json spec = {{"facet", Panels("network", networks)},
                     {"spec",
                      {{"height", 200},
                       {"mark", {{"type", "bar"}}},
                       {"encoding",
                        {{"x",
                          {{"field", "layer"},
                           {"type", "ordinal"},
                           {"sort", layers},
                           {"title", nullptr},
                           {"axis", {{"labelAngle", 0}}}}},
                         {"xOffset", {{"field", "path"}, {"type", "nominal"}}},
                         {"y", {{"field", "nanoseconds"}, {"type", "quantitative"}, {"title", "ns an image"}}},
                         {"color",
                          {{"field", "path"},
                           {"type", "nominal"},
                           {"title", "path"},
                           {"scale", {{"domain", {"dense", "sparse"}}, {"range", {"#0072B2", "#E69F00"}}}},
                           {"legend", {{"orient", "bottom"}}}}},
                         {"tooltip", TooltipOf({{"layer", "layer"},
                                                {"path", "path"},
                                                {"nanoseconds", "ns an image"},
                                                {"speedup", "speed-up of sparse"},
                                                {"skipped", "products skipped, %"},
                                                {"cycles_speedup", "speed-up of a zero-skipping accelerator"}})}}}}}};
  return Figure{"latency",
                "Is sparsity latency?",
                "Time of each weighted layer with the dense and the zero-skipping path of the engine, on one thread.",
                "Bars of nanoseconds an image by layer and path.",
                CommandsOf(evidence, "latency", "steadfast latency MODEL --store STORE"),
                spec,
                csv};
}

std::optional<Figure> TrainingFigure(const Evidence& evidence) {
  std::string csv = "group,network,epoch,quantity,value\n";
  std::vector<int64_t> models;
  for (const auto& model : evidence.models) {
    if (!model.epochs.empty()) models.push_back(model.id);
    for (const auto& e : model.epochs) {
      const std::string start =
          fmt::format("{},{},{}", CsvField(evidence.GroupName(model)), CsvField(model.label), e.epoch);
      csv += fmt::format("{},\"validation accuracy, %\",{}\n{},training loss,{}\n", start,
                         CsvNumber(100 * e.validation_accuracy), start, CsvNumber(e.loss));
    }
  }
  if (models.empty()) return std::nullopt;
  const auto groups = GroupsOf(evidence, models);
  const json spec = {
      {"facet", Panels("quantity", {"validation accuracy, %", "training loss"})},
      {"resolve", {{"scale", {{"y", "independent"}}}}},
      {"spec",
       {{"height", 200},
        {"params", {LegendFilter()}},
        {"mark", {{"type", "line"}, {"strokeWidth", 1.2}}},
        {"encoding",
         {{"x",
           {{"field", "epoch"},
            {"type", "quantitative"},
            {"title", "epoch"},
            {"axis", {{"tickMinStep", 1}, {"format", "d"}}}}},
          {"y", Quantitative("value", "")},
          {"color", GroupColor(groups)},
          {"strokeDash", GroupDash(groups)},
          {"detail", {{"field", "network"}}},
          {"opacity", FilteredOpacity(0.8)},
          {"tooltip",
           TooltipOf({{"network", "network"}, {"epoch", "epoch"}, {"quantity", "quantity"}, {"value", "value"}})}}}}}};
  return Figure{
      "training",
      "Training curves",
      "One line a network. The loss includes penalties on activations, and under sharpness-aware training it is "
      "that of the first pass.",
      fmt::format("Validation accuracy and training loss over epochs of {} networks.", models.size()),
      "steadfast train (kept in each model file: steadfast inspect MODEL)",
      spec,
      csv};
}

}  // namespace steadfast::report
