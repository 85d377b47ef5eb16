#include "steadfast/report/story.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "steadfast/base/text.h"
#include "steadfast/report/campaign_report.h"
#include "steadfast/report/curves.h"
#include "steadfast/report/figure_parts.h"
#include "steadfast/report/recipe_comparison.h"
#include "steadfast/report/sharpness_report.h"
#include "steadfast/report/sweep_report.h"
#include "steadfast/report/text_table.h"
#include "steadfast/statistics/summary.h"

namespace steadfast::report {

using nlohmann::json;

namespace {

std::string Thousands(int64_t value) {
  const std::string digits = fmt::format("{}", value);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

json RecipeOf(const store::ModelRow& model) {
  json recipe = json::parse(model.recipe_json, nullptr, false);
  return recipe.is_object() ? recipe : json::object();
}

std::string Plain(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// The keys of all recipes with the values that they take, without name and seed.
std::map<std::string, std::set<std::string>> RecipeValues(const Evidence& evidence) {
  std::map<std::string, std::set<std::string>> values;
  for (const auto& model : evidence.models) {
    const json recipe = RecipeOf(model);
    for (const auto& [key, value] : recipe.items()) {
      if (key != "name" && key != "seed") values[key].insert(Plain(value));
    }
  }
  return values;
}

std::string TextOf(const StoryTable& story) {
  std::vector<std::string> headers;
  for (const auto& header : story.headers) headers.push_back(Printable(header));
  TextTable table(headers);
  for (const auto& row : story.rows) table.AddRow(row);
  return Printable(story.caption) + "\n\n" + table.Text() + "\n";
}

std::string Bounds(const Correlation& c) {
  if (!std::isfinite(c.value)) return "–";
  if (!std::isfinite(c.interval.low)) return fmt::format("{:+.2f}", c.value);
  return fmt::format("{:+.2f} ({:+.2f} to {:+.2f})", c.value, c.interval.low, c.interval.high);
}

}  // namespace

std::string TitleOf(const Evidence& evidence) {
  std::set<std::string> networks, widths;
  for (const auto& model : evidence.models) {
    networks.insert(model.network);
    widths.insert(WidthOf(model));
  }
  return fmt::format("Memory faults in {} quantized network{}: {} {}", evidence.models.size(),
                     evidence.models.size() == 1 ? "" : "s", fmt::join(networks, ", "), fmt::join(widths, ", "));
}

std::string QuestionOf(const Evidence& evidence) {
  for (const Source& source : evidence.sources) {
    for (const auto& claim : source.claims) {
      const json detail = json::parse(claim.detail_json, nullptr, false);
      if (detail.is_object() && detail.contains("question") && detail["question"].is_string())
        return detail["question"].get<std::string>();
    }
  }
  return "What do faults in the memory that holds the weights cost these networks, and why?";
}

std::vector<Verdict> VerdictsOf(const Source& source) {
  std::vector<Verdict> verdicts;
  for (const auto& claim : source.claims) {
    const json detail = json::parse(claim.detail_json, nullptr, false);
    const bool known = detail.is_object();
    const auto number = [&](double value) {
      return claim.unit == "loss" ? fmt::format("{:+.4f}", value) : fmt::format("{:+.2f}", value);
    };
    std::string effect =
        fmt::format("{}: {} {} (95 % interval {} to {}", known ? detail.value("difference", "effect") : "effect",
                    number(claim.effect), claim.unit, number(claim.low), number(claim.high));
    if (known && detail.contains("seeds")) effect += fmt::format(", {} seeds", detail["seeds"].size());
    effect += ")";
    if (known && detail.contains("largest")) {
      const json& largest = detail["largest"];
      effect += fmt::format("; largest at {} {}: {}", largest.value("fault", ""),
                            FormatShortest(largest.value("rate", 0.0)), number(largest.value("effect", 0.0)));
    }
    verdicts.push_back({claim.id, known ? detail.value("statement", "") : "", claim.verdict, effect});
  }
  return verdicts;
}

std::string ExtentOf(const Evidence& evidence, const Source& source) {
  std::string text = fmt::format("{} networks, {} trials", source.models.size(),
                                 Thousands(static_cast<int64_t>(source.trials.size())));
  if (!source.models.empty())
    text += fmt::format(", {} test images", Thousands(evidence.model(source.models.front()).images));
  if (!source.trials.empty()) text += ", faults in " + MemoryOf(source);
  return text;
}

StoryTable TargetTable(const Evidence& evidence, const Source& source) {
  StoryTable table{"Accuracy lost in points, where only this part of what is stored fails (" + MemoryOf(source) + ")",
                   {"what fails", "fault", ">rate"},
                   {}};
  const auto damages = DamageByTarget(evidence, source);
  std::vector<std::string> groups;
  std::vector<std::tuple<std::string, std::string, double>> cells;
  for (const TargetDamage& d : damages) {
    if (std::find(groups.begin(), groups.end(), d.group) == groups.end()) groups.push_back(d.group);
    const std::tuple cell{d.target, d.fault, d.rate};
    if (std::find(cells.begin(), cells.end(), cell) == cells.end()) cells.push_back(cell);
  }
  for (const auto& group : groups) table.headers.push_back(">" + group);
  for (const auto& [target, fault, rate] : cells) {
    std::vector<std::string> row = {target, fault, rate > 0 ? FormatShortest(rate) : ""};
    for (const auto& group : groups) {
      const auto found = std::find_if(damages.begin(), damages.end(), [&](const TargetDamage& d) {
        return d.group == group && d.target == target && d.fault == fault && d.rate == rate;
      });
      row.push_back(
          found == damages.end() ? "" : fmt::format("{:.2f} ± {:.2f}", found->damage, (found->high - found->low) / 2));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

StoryTable AccuracyTable(const Evidence& evidence, const Source& source) {
  const auto curves = AccuracyCurves(evidence, source);
  const bool several = HasSeveralEncodings(curves);
  StoryTable table{"Accuracy in percent: mean, ± half the 95 % interval", {"fault", ">rate"}, {}};
  std::vector<std::string> groups;
  std::map<std::tuple<std::string, std::string, double>, std::map<std::string, const CurvePoint*>> cells;
  for (const CurvePoint& p : curves) {
    if (std::find(groups.begin(), groups.end(), p.group) == groups.end()) groups.push_back(p.group);
    cells[{p.fault == "none" ? "" : p.fault, p.encoding, p.rate}][p.group] = &p;
  }
  std::set<std::string> at_chance;
  for (const auto& model : evidence.ModelsOf(source)) {
    if (EndedAtChance(model)) at_chance.insert(evidence.GroupName(model));
  }
  if (!at_chance.empty())
    table.caption +=
        " (chance: of some networks, training ended no better than always answering the most frequent class)";
  for (const auto& group : groups)
    table.headers.push_back(">" + group + (at_chance.contains(group) ? " (chance)" : ""));
  for (const auto& [cell, by_group] : cells) {
    const auto& [fault, encoding, rate] = cell;
    std::vector<std::string> row = {fault.empty() ? "none" : FaultTitle(fault, encoding, several),
                                    fault.empty() ? "0" : FormatShortest(rate)};
    for (const auto& group : groups) {
      const auto found = by_group.find(group);
      if (found == by_group.end())
        row.emplace_back("");
      else if (std::isfinite(found->second->low))
        row.push_back(
            fmt::format("{:.2f} ± {:.2f}", found->second->accuracy, (found->second->high - found->second->low) / 2));
      else
        row.push_back(fmt::format("{:.2f}", found->second->accuracy));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

StoryTable SparsityTable(const Evidence& evidence) {
  StoryTable table{"Zero activations in percent, mean over networks", {"recipe"}, {}};
  std::vector<std::string> groups, layers;
  std::map<std::string, std::map<std::string, std::vector<double>>> shares;
  for (const auto& model : evidence.models) {
    const std::string group = evidence.GroupName(model);
    if (model.zero_share) shares[group]["all"].push_back(100 * *model.zero_share);
    for (const auto& layer : model.layers) {
      if (!layer.zero_share || layer.weight_shape.empty()) continue;
      if (std::find(layers.begin(), layers.end(), layer.name) == layers.end()) layers.push_back(layer.name);
      shares[group][layer.name].push_back(100 * *layer.zero_share);
    }
    if (shares.contains(group) && std::find(groups.begin(), groups.end(), group) == groups.end())
      groups.push_back(group);
  }
  layers.emplace_back("all");
  for (const auto& layer : layers) table.headers.push_back(">" + layer);
  for (const auto& group : groups) {
    std::vector<std::string> row = {group};
    for (const auto& layer : layers) {
      const auto found = shares[group].find(layer);
      row.push_back(found == shares[group].end() ? "" : fmt::format("{:.1f}", statistics::Mean(found->second)));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

StoryTable SharpnessByGroup(const Evidence& evidence) {
  StoryTable table{"Sharpness: mean over networks", {"measure"}, {}};
  std::vector<int64_t> models;
  for (const auto& row : evidence.sharpness) models.push_back(row.model);
  const auto groups = GroupsOf(evidence, models);
  for (const auto& group : groups) table.headers.push_back(">" + group);
  for (const MeasureKey& key : MeasuresOf(evidence.sharpness)) {
    std::vector<std::string> cells = {TitleOf(key)};
    for (const auto& group : groups) {
      std::vector<double> values;
      for (const auto& row : evidence.sharpness) {
        const double value = ValueOf(row, key);
        if (evidence.GroupName(evidence.model(row.model)) == group && std::isfinite(value)) values.push_back(value);
      }
      cells.push_back(values.empty() ? "" : fmt::format("{:.4g}", statistics::Mean(values)));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

StoryTable SharpnessByLayer(const Evidence& evidence) {
  StoryTable table{"Hessian by layer: trace / largest eigenvalue of its block, mean over networks", {"recipe"}, {}};
  std::vector<std::string> layers;
  std::vector<int64_t> models;
  std::map<std::pair<std::string, std::string>, std::map<std::string, std::vector<double>>> values;  // group, layer
  for (const auto& row : evidence.sharpness) {
    for (const auto& v : row.values) {
      if (v.layer.empty() || !std::isfinite(v.value)) continue;
      if (std::find(layers.begin(), layers.end(), v.layer) == layers.end()) layers.push_back(v.layer);
      if (models.empty() || models.back() != row.model) models.push_back(row.model);
      values[{evidence.GroupName(evidence.model(row.model)), v.layer}][v.measure].push_back(v.value);
    }
  }
  for (const auto& layer : layers) table.headers.push_back(">" + layer);
  for (const auto& group : GroupsOf(evidence, models)) {
    std::vector<std::string> cells = {group};
    for (const auto& layer : layers) {
      const auto mean = [&](const char* measure) {
        const auto& of_layer = values[{group, layer}];
        const auto found = of_layer.find(measure);
        return found == of_layer.end() ? std::string("–") : fmt::format("{:.3g}", statistics::Mean(found->second));
      };
      cells.push_back(mean("hessian-trace") + " / " + mean("hessian-eigenvalue"));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

std::vector<std::string> ScopesOf(const Tie& tie) {
  std::vector<std::string> scopes;
  for (const TieRow& row : tie.rows) {
    if (std::find(scopes.begin(), scopes.end(), row.scope) == scopes.end()) scopes.push_back(row.scope);
  }
  return scopes;
}

StoryTable TieStoryTable(const Tie& tie, const std::string& scope, size_t damage) {
  const auto rows = RankedFor(tie, scope, damage);
  StoryTable table{"", {"measure", ">Spearman", ">Kendall", ">within recipes", ">sparsity and norm held"}, {}};
  if (rows.empty()) return table;
  table.caption = fmt::format(
      "Rank correlation with the accuracy lost to {}: {} networks of {} recipes{} (95 % intervals)",
      tie.damages[damage].title, rows[0].networks, rows[0].groups, scope == "all" ? "" : ", " + scope + " alone");
  for (const TieRow& row : rows) {
    table.rows.push_back({tie.predictors[row.predictor].title, Bounds(row.spearman), Bounds(row.kendall),
                          Bounds(row.within), Bounds(row.partial)});
  }
  return table;
}

std::string TieSentence(const Tie& tie) {
  const auto rows = RankedFor(tie, "all", 0);
  if (rows.empty()) return "";
  const TieRow& best = rows.front();
  std::string text = fmt::format(
      "Of {} measures, the one that goes most closely with the accuracy lost to {} is {}: Spearman {}.",
      tie.predictors.size(), tie.damages[0].title, tie.predictors[best.predictor].title, Bounds(best.spearman));
  // How many other intervals overlap with the best one's, compared by absolute value.
  const auto& [low, high] = best.spearman.interval;
  const double edge = low <= 0 && high >= 0 ? 0.0 : std::min(std::abs(low), std::abs(high));
  size_t alike = 0;
  for (const TieRow& row : rows) {
    const double reach = std::max(std::abs(row.spearman.interval.low), std::abs(row.spearman.interval.high));
    alike += &row != &best && reach >= edge;
  }
  if (alike > 0) text += fmt::format(" The intervals of {} others, by size, overlap with its own.", alike);
  return text;
}

StoryTable CriticalityTable(const Evidence& evidence, const SweptModel& swept) {
  const auto& model = evidence.model(swept.sweep.model);
  const std::string fault = swept.sweep.fault_of_values(), what = WhatWasSwept(swept.sweep);
  const auto report = MakeSweepReport(model, swept.sweep, swept.parts, {fault}, 0);
  StoryTable table{
      fmt::format(
          "{}: one {}, mean over the bits of a layer ({} encoding{}{})", model.label,
          fault == "flip" ? "flip" : "bit stuck (" + fault + ")", swept.sweep.encoding, what.empty() ? "" : "; " + what,
          report.bits.is_whole() ? "" : fmt::format("; a sample: {} of {} bits", report.bits.flipped, report.bits.all)),
      {"layer", ">bit", ">bits", ">harmless, %", ">predictions changed", ">points lost", ">worst accuracy, %"},
      {}};
  for (const auto& p : report.positions) {
    table.rows.push_back({p.tensor, p.bit < 0 ? "all" : fmt::format("{}", p.bit), fmt::format("{}", p.faults),
                          fmt::format("{:.1f}", 100 * p.harmless_share), fmt::format("{:.2f}", p.mean_changed),
                          fmt::format("{:.4f}", 100 * (model.accuracy() - p.mean_accuracy)),
                          fmt::format("{:.2f}", 100 * p.worst_accuracy)});
  }
  return table;
}

StoryTable ClassTable(const Evidence& evidence) {
  StoryTable table{"Class by class, those that break first on top",
                   {"network", "faults", ">class", ">images", ">recall, %", ">under faults, %", ">difference",
                    ">taken for", ">then taken for"},
                   {}};
  for (const auto& [id, scores] : evidence.classes) {
    if (!scores.is_object() || !scores.contains("classes")) continue;
    const std::string faults =
        fmt::format("{} at {:g}", scores.value("fault", std::string()), scores.value("rate", 0.0));
    struct Row {
      double difference;
      std::vector<std::string> cells;
    };
    std::vector<Row> rows;
    for (const json& one : scores["classes"]) {
      const double before = one.value("recall", 0.0), after = one.value("faulty_recall", 0.0);
      const auto name = [&](const char* key) {
        const int64_t other = one.value(key, int64_t{-1});
        return other < 0 ? std::string("-") : std::to_string(other);
      };
      rows.push_back({after - before,
                      {evidence.model(id).label, faults, std::to_string(one.value("class", int64_t{0})),
                       std::to_string(one.value("images", int64_t{0})), fmt::format("{:.2f}", 100 * before),
                       fmt::format("{:.2f}", 100 * after), fmt::format("{:+.2f}", 100 * (after - before)),
                       name("taken_for"), name("faulty_taken_for")}});
    }
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.difference < b.difference; });
    for (Row& row : rows) table.rows.push_back(std::move(row.cells));
  }
  return table;
}

StoryTable LatencyTable(const Evidence& evidence) {
  StoryTable table{"Latency by layer, one thread",
                   {"network", "layer", ">dense ns", ">sparse ns", ">speed-up", ">products skipped, %",
                    ">zero-skipping accelerator"},
                   {}};
  for (const auto& [id, latency] : evidence.latencies) {
    if (!latency.is_object() || !latency.contains("layers")) continue;
    for (const json& layer : latency["layers"]) {
      const auto number = [&](const char* key, const char* format, double factor = 1) {
        return layer.contains(key) && layer[key].is_number()
                   ? fmt::format(fmt::runtime(format), factor * layer[key].get<double>())
                   : std::string();
      };
      table.rows.push_back({evidence.model(id).label, layer.value("layer", ""), number("dense_ns_per_image", "{:.0f}"),
                            number("sparse_ns_per_image", "{:.0f}"), number("sparse_speedup", "{:.2f}"),
                            number("skipped_share", "{:.1f}", 100), number("accelerator_speedup", "{:.2f}")});
    }
  }
  return table;
}

StoryTable TrainingTable(const Evidence& evidence) {
  StoryTable table{"How the recipes differ", {"recipe", "seeds"}, {}};
  std::vector<std::string> keys;
  for (const auto& [key, values] : RecipeValues(evidence)) {
    if (values.size() < 2) continue;
    keys.push_back(key);
    table.headers.push_back(key);
  }
  for (const auto& group : GroupsOf(evidence, AllModels(evidence))) {
    std::vector<std::string> seeds;
    const store::ModelRow* first = nullptr;
    for (const auto& model : evidence.models) {
      if (evidence.GroupName(model) != group || model.recipe.empty()) continue;
      if (first == nullptr) first = &model;
      seeds.push_back(fmt::format("{}", model.seed));
    }
    if (first == nullptr) continue;
    std::vector<std::string> row = {group, fmt::format("{}", fmt::join(seeds, ", "))};
    const json recipe = RecipeOf(*first);
    for (const auto& key : keys) row.push_back(recipe.contains(key) ? Plain(recipe[key]) : "");
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string TrainedAlike(const Evidence& evidence) {
  std::string text;
  for (const auto& [key, values] : RecipeValues(evidence)) {
    if (values.size() == 1 && *values.begin() != "{}") text += (text.empty() ? "" : ", ") + key + " " + *values.begin();
  }
  return text.empty() ? "" : "All were trained with " + text + ".";
}

StoryTable ModelTable(const Evidence& evidence) {
  StoryTable table{
      "Networks",
      {"network", ">accuracy, %", ">zeros, %", ">memory, bits", ">products", "model file's SHA-256", "file"},
      {}};
  for (const auto& m : evidence.models) {
    table.rows.push_back({m.label, fmt::format("{:.2f}", 100 * m.accuracy()),
                          m.zero_share ? fmt::format("{:.1f}", 100 * *m.zero_share) : "", Thousands(m.memory_bits),
                          Thousands(m.macs), m.sha256, m.path});
  }
  return table;
}

StoryTable RunTable(const Source& source) {
  StoryTable table{fmt::format("Runs that filled {}", source.name),
                   {"command", "started (UTC)", "finished", "version", "machine"},
                   {}};
  for (const auto& run : source.runs) {
    table.rows.push_back({run.command.empty() ? "" : "steadfast " + run.command, run.started,
                          run.finished.empty() ? "interrupted" : run.finished, run.version, run.machine});
  }
  return table;
}

std::string Sparkline(const std::vector<double>& values, double low, double high) {
  constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string line;
  for (double value : values) {
    if (!std::isfinite(value)) {
      line += ' ';
      continue;
    }
    const double share = high > low ? (value - low) / (high - low) : 1.0;
    line += kBars[std::clamp(static_cast<int>(share * 8), 0, 7)];
  }
  return line;
}

namespace {

// Accuracy over ascending rates, one bar a rate, for each group and fault.
StoryTable CurveSketch(const Evidence& evidence, const Source& source) {
  const auto curves = AccuracyCurves(evidence, source);
  const bool several = HasSeveralEncodings(curves);
  StoryTable table{"Accuracy from fault-free to the highest rate (bars from 0 to 100 %)",
                   {"recipe", "fault", "curve", ">fault-free", ">at the highest"},
                   {}};
  std::map<std::string, double> clean;
  for (const CurvePoint& p : curves) {
    if (p.fault == "none") clean[p.group] = p.accuracy;
  }
  std::vector<std::tuple<std::string, std::string, std::string>> order;
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<double>> lines;
  for (const CurvePoint& p : curves) {
    if (p.fault == "none") continue;
    const auto key = std::tuple(p.group, p.fault, p.encoding);
    if (!lines.contains(key)) {
      order.push_back(key);
      lines[key].push_back(clean[p.group]);
    }
    lines[key].push_back(p.accuracy);
  }
  for (const auto& key : order) {
    const auto& [group, fault, encoding] = key;
    table.rows.push_back({group, FaultTitle(fault, encoding, several), Sparkline(lines[key], 0, 100),
                          fmt::format("{:.2f}", lines[key].front()), fmt::format("{:.2f}", lines[key].back())});
  }
  return table;
}

std::string SpectrumSketch(const Evidence& evidence) {
  std::string text;
  double high = 0, low = 0;
  const auto firsts = FirstOfEachGroup(evidence, [&](const store::ModelRow& m) {
    return std::any_of(evidence.sharpness.begin(), evidence.sharpness.end(),
                       [&](const auto& r) { return r.model == m.id && !r.density.empty(); });
  });
  for (const auto& row : evidence.sharpness) {
    if (std::find(firsts.begin(), firsts.end(), row.model) == firsts.end()) continue;
    for (const auto& node : row.density) {
      if (!std::isfinite(node.value)) continue;
      low = std::min(low, node.value);
      high = std::max(high, node.value);
    }
  }
  if (firsts.empty() || !(high > low)) return "";
  StoryTable table{
      fmt::format("Spectrum of the Hessian from {:.3g} to {:.3g} (bars: logarithm of the share of eigenvalues)", low,
                  high),
      {"recipe", "spectrum"},
      {}};
  for (int64_t id : firsts) {
    std::vector<double> bins(48, 0.0);
    for (const auto& row : evidence.sharpness) {
      if (row.model != id) continue;
      for (const auto& node : row.density) {
        if (!std::isfinite(node.value) || !std::isfinite(node.weight)) continue;
        const auto bin = static_cast<size_t>((node.value - low) / (high - low) * 47.999);
        bins[bin] += node.weight;
      }
    }
    std::vector<double> logs;
    for (double share : bins) logs.push_back(share > 1e-8 ? std::log10(share) : std::nan(""));
    table.rows.push_back({evidence.GroupName(evidence.model(id)), Sparkline(logs, -7, 0)});
  }
  return TextOf(table);
}

}  // namespace

std::string ToTerminal(const Evidence& evidence, const Tie& tie) {
  std::string text = Printable(TitleOf(evidence)) + "\n" + Printable(QuestionOf(evidence)) + "\n\n";
  for (const Source& source : evidence.sources) {
    if (evidence.sources.size() > 1)
      text += fmt::format("== {}: {}\n\n", Printable(source.name), ExtentOf(evidence, source));
    if (source.Interrupted())
      text += "The last run on this store has not finished: what follows is not the whole campaign.\n\n";
    if (source.stale_trials > 0) text += source.StaleRemark() + "\n\n";
    for (const Verdict& v : VerdictsOf(source))
      text += fmt::format("Claim {}: {}\n  {}: {}\n", Printable(v.id), Printable(v.statement), Printable(v.verdict),
                          Printable(v.effect));
    if (!source.claims.empty()) text += "\n";
    if (source.trials.empty()) continue;
    const bool recipes = !evidence.model(source.models.front()).recipe.empty();
    text += recipes ? TextOf(AccuracyTable(evidence, source))
                    : ToText(MakeCampaignReport(evidence.ModelsOf(source), evidence.TrialsOf(source),
                                                {source.IsSequential()})) +
                          "\n";
    if (const StoryTable targets = TargetTable(evidence, source); !targets.rows.empty()) text += TextOf(targets);
    const StoryTable sketch = CurveSketch(evidence, source);
    if (!sketch.rows.empty()) text += TextOf(sketch);
  }
  if (const auto table = SparsityTable(evidence); !table.rows.empty()) text += TextOf(table);
  if (!evidence.sharpness.empty()) {
    text += TextOf(SharpnessByGroup(evidence));
    if (const auto table = SharpnessByLayer(evidence); !table.rows.empty()) text += TextOf(table);
    text += SpectrumSketch(evidence);
  }
  if (const std::string sentence = TieSentence(tie); !sentence.empty()) {
    text += Printable(sentence) + "\n\n";
    for (const auto& scope : ScopesOf(tie)) {
      if (const auto table = TieStoryTable(tie, scope, 0); !table.rows.empty()) text += TextOf(table);
    }
  }
  for (const SweptModel& swept : evidence.sweeps) {
    if (!swept.parts.empty()) text += TextOf(CriticalityTable(evidence, swept));
  }
  if (!evidence.classes.empty()) text += TextOf(ClassTable(evidence));
  if (!evidence.latencies.empty()) text += TextOf(LatencyTable(evidence));
  return text;
}

}  // namespace steadfast::report
