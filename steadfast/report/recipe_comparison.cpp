#include "steadfast/report/recipe_comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <tuple>

#include "steadfast/base/error.h"
#include "steadfast/base/text.h"
#include "steadfast/report/campaign_report.h"  // EndedAtChance, JsonNumber
#include "steadfast/report/text_table.h"

namespace steadfast::report {
namespace {

using nlohmann::json;
using store::ModelRow;
using store::TrialRow;

using CellKey = std::tuple<std::string, std::string, double>;  // fault, encoding, rate

// The trials of one recipe: accuracy[seed][cell][trial], in percent.
struct RecipeTrials {
  std::map<int64_t, const ModelRow*> models;  // by seed
  std::map<int64_t, std::map<CellKey, std::map<int64_t, double>>> accuracy;
};

std::map<std::string, RecipeTrials> ByRecipe(const std::vector<ModelRow>& models, const std::vector<TrialRow>& trials) {
  std::map<std::string, RecipeTrials> recipes;
  std::map<int64_t, const ModelRow*> by_id;
  for (const ModelRow& model : models) {
    by_id[model.id] = &model;
    recipes[model.recipe].models[model.seed] = &model;
  }
  for (const TrialRow& t : trials) {
    const auto model = by_id.find(t.model);
    if (model == by_id.end()) continue;
    recipes[model->second->recipe].accuracy[model->second->seed][{t.fault, t.encoding, t.rate}][t.trial] =
        100.0 * t.accuracy();
  }
  return recipes;
}

std::string VerdictOf(const statistics::Interval& interval) {
  if (interval.low > 0) return "holds";
  if (interval.high < 0) return "does not hold";
  return "undecided";
}

Effect EffectOf(std::vector<double> seeds) {
  return {statistics::Mean(seeds), statistics::StudentInterval(seeds), std::move(seeds)};
}

const RecipeTrials& Find(const std::map<std::string, RecipeTrials>& recipes, const std::string& name) {
  const auto found = recipes.find(name);
  if (found == recipes.end()) throw InputError(fmt::format("comparing recipes takes '{}', and no model has it", name));
  return found->second;
}

// The mean of better minus worse over the trials both have, for one seed and cell.
double PairedMean(const std::map<int64_t, double>& better, const std::map<int64_t, double>& worse) {
  double sum = 0.0;
  int count = 0;
  for (const auto& [trial, accuracy] : better) {
    const auto other = worse.find(trial);
    if (other == worse.end()) continue;
    sum += accuracy - other->second;
    ++count;
  }
  if (count == 0) throw InputError("comparing recipes takes the same trials of both");
  return sum / count;
}

void CheckSeeds(const std::string& a, const RecipeTrials& ra, const std::string& b, const RecipeTrials& rb) {
  std::set<int64_t> seeds_a, seeds_b;
  for (const auto& [seed, model] : ra.models) seeds_a.insert(seed);
  for (const auto& [seed, model] : rb.models) seeds_b.insert(seed);
  if (seeds_a != seeds_b) {
    throw InputError(fmt::format("recipes are compared by training seed, and '{}' has seeds {} where '{}' has {}", a,
                                 fmt::join(seeds_a, ","), b, fmt::join(seeds_b, ",")));
  }
}

Comparison CompareAccuracy(const std::map<std::string, RecipeTrials>& recipes, std::string id, std::string statement,
                           const std::string& better, const std::string& worse) {
  const RecipeTrials &b = Find(recipes, better), &w = Find(recipes, worse);
  CheckSeeds(better, b, worse, w);
  Comparison claim{std::move(id), std::move(statement), better, worse, "points", "", {}, {}, {}, -1};
  std::map<CellKey, std::vector<double>> cells;  // values by seed
  std::vector<double> seed_means, seed_drops;
  for (const auto& [seed, model] : b.models) {
    const auto trials_b = b.accuracy.find(seed), trials_w = w.accuracy.find(seed);
    if (trials_b == b.accuracy.end() || trials_w == w.accuracy.end())
      throw InputError(fmt::format("comparing recipes takes trials of '{}' and '{}' for seed {}", better, worse, seed));
    double sum = 0.0;
    int count = 0;
    for (const auto& [cell, accuracies] : trials_b->second) {
      const auto other = trials_w->second.find(cell);
      if (other == trials_w->second.end()) continue;
      const double difference = PairedMean(accuracies, other->second);
      cells[cell].push_back(difference);
      sum += difference;
      ++count;
    }
    if (count == 0) throw InputError("comparing recipes takes the same faults and rates of both");
    seed_means.push_back(sum / count);
    // Better minus worse of (accuracy under faults - clean accuracy).
    seed_drops.push_back(sum / count - 100.0 * (model->accuracy() - w.models.at(seed)->accuracy()));
  }
  claim.primary = EffectOf(seed_means);
  claim.drop = EffectOf(seed_drops);
  claim.verdict = VerdictOf(claim.primary.interval);
  std::vector<std::vector<double>> values;
  for (const auto& [cell, by_seed] : cells) values.push_back(by_seed);
  const auto simultaneous = statistics::SimultaneousIntervals(values);
  size_t i = 0;
  for (const auto& [cell, by_seed] : cells) {
    const auto& [fault, encoding, rate] = cell;
    claim.cells.push_back({fault, encoding, rate, statistics::Mean(by_seed), simultaneous[i]});
    if (claim.largest < 0 || claim.cells.back().mean > claim.cells[static_cast<size_t>(claim.largest)].mean)
      claim.largest = static_cast<int>(i);
    ++i;
  }
  return claim;
}

std::string IntervalText(const statistics::Interval& interval, const char* format) {
  if (!std::isfinite(interval.low)) return "unbounded (one seed)";
  return fmt::format("{} to {}", fmt::format(fmt::runtime(format), interval.low),
                     fmt::format(fmt::runtime(format), interval.high));
}

json EffectJson(const Effect& effect) {
  return {{"effect", effect.mean},
          {"interval", {JsonNumber(effect.interval.low), JsonNumber(effect.interval.high)}},
          {"seeds", effect.seeds}};
}

json CellJson(const CellEffect& cell) {
  return {{"fault", cell.fault},
          {"encoding", cell.encoding},
          {"rate", cell.rate},
          {"effect", cell.mean},
          {"simultaneous_interval", {JsonNumber(cell.simultaneous.low), JsonNumber(cell.simultaneous.high)}}};
}

}  // namespace

Comparison CompareRecipes(const std::vector<ModelRow>& models, const std::vector<TrialRow>& trials,
                          const std::string& better, const std::string& worse, const std::string& id,
                          const std::string& statement) {
  return CompareAccuracy(
      ByRecipe(models, trials), id.empty() ? better + " - " + worse : id,
      statement.empty() ? fmt::format("{} is more accurate under faults than {}.", better, worse) : statement, better,
      worse);
}

Comparison CompareModels(const std::vector<ModelRow>& models, const std::string& better, const std::string& worse,
                         const std::string& id, const std::string& statement, const std::string& unit,
                         const std::function<double(const ModelRow&)>& value) {
  const auto recipes = ByRecipe(models, {});
  const RecipeTrials &b = Find(recipes, better), &w = Find(recipes, worse);
  CheckSeeds(better, b, worse, w);
  std::vector<double> seeds;
  for (const auto& [seed, model] : b.models) seeds.push_back(value(*model) - value(*w.models.at(seed)));
  Comparison comparison{id, statement, better, worse, unit, "", EffectOf(seeds), {}, {}, -1};
  comparison.verdict = VerdictOf(comparison.primary.interval);
  return comparison;
}

json ToJson(const std::vector<Comparison>& claims) {
  json list = json::array();
  for (const Comparison& claim : claims) {
    json one = EffectJson(claim.primary);
    one["id"] = claim.id;
    one["statement"] = claim.statement;
    one["verdict"] = claim.verdict;
    one["unit"] = claim.unit;
    one["difference"] = fmt::format("{} minus {}", claim.better, claim.worse);
    one["confidence"] = 0.95;
    if (claim.relative_radius) one["relative_radius"] = *claim.relative_radius;
    if (!claim.cells.empty()) {
      one["drop_from_clean"] = EffectJson(claim.drop);
      one["largest"] = CellJson(claim.cells[static_cast<size_t>(claim.largest)]);
      one["grid"] = json::array();
      for (const CellEffect& cell : claim.cells) one["grid"].push_back(CellJson(cell));
    }
    list.push_back(one);
  }
  return {{"schema", 1}, {"claims", list}};
}

std::string ToText(const std::vector<Comparison>& claims) {
  std::string text;
  for (const Comparison& claim : claims) {
    const char* format = claim.unit == "loss" ? "{:+.4f}" : "{:+.2f}";
    text += fmt::format("{}{}: {}\n  {}: {} minus {} is {} {} (95 % interval {}, {} seeds)\n",
                        claim.question.empty() ? "" : "Claim ", claim.id, claim.statement, claim.verdict, claim.better,
                        claim.worse, fmt::format(fmt::runtime(format), claim.primary.mean), claim.unit,
                        IntervalText(claim.primary.interval, format), claim.primary.seeds.size());
    if (claim.cells.empty()) {
      if (claim.relative_radius)
        text += fmt::format("  loss increase one step of {} of the weights' norm up the gradient\n",
                            *claim.relative_radius);
      continue;
    }
    const CellEffect& largest = claim.cells[static_cast<size_t>(claim.largest)];
    text += fmt::format(
        "  in the drop from clean accuracy: {:+.2f} points ({}); largest at {} {}: {:+.2f} (simultaneous interval "
        "{})\n",
        claim.drop.mean, IntervalText(claim.drop.interval, format), largest.fault, FormatShortest(largest.rate),
        largest.mean, IntervalText(largest.simultaneous, format));
  }
  return text;
}

std::vector<store::ClaimRow> ToRows(const std::vector<Comparison>& claims) {
  const json all = ToJson(claims);
  std::vector<store::ClaimRow> rows;
  for (size_t i = 0; i < claims.size(); ++i) {
    const Comparison& c = claims[i];
    json detail = all["claims"][i];
    if (!c.question.empty()) detail["question"] = c.question;
    rows.push_back(
        {c.id, c.verdict, c.unit, c.primary.mean, c.primary.interval.low, c.primary.interval.high, detail.dump()});
  }
  return rows;
}

std::string RecipeTable(const std::vector<ModelRow>& models, const std::vector<TrialRow>& trials) {
  const auto recipes = ByRecipe(models, trials);
  std::vector<std::string> order;
  for (const ModelRow& model : models) {
    if (std::find(order.begin(), order.end(), model.recipe) == order.end()) order.push_back(model.recipe);
  }
  const auto over_seeds = [](const RecipeTrials& recipe, const std::function<double(int64_t, const ModelRow&)>& value) {
    std::vector<double> values;
    for (const auto& [seed, model] : recipe.models) values.push_back(value(seed, *model));
    return values;
  };
  const auto show = [](const std::vector<double>& values) {
    const statistics::Interval interval = statistics::StudentInterval(values);
    if (!std::isfinite(interval.low)) return fmt::format("{:.1f}", statistics::Mean(values));
    return fmt::format("{:.1f} ± {:.1f}", statistics::Mean(values), (interval.high - interval.low) / 2);
  };
  std::vector<std::string> headers = {"fault", ">rate"};
  bool any_at_chance = false;
  for (const auto& name : order) {
    const auto& of_seeds = recipes.at(name).models;
    const bool at_chance =
        std::any_of(of_seeds.begin(), of_seeds.end(), [](const auto& seed) { return EndedAtChance(*seed.second); });
    any_at_chance |= at_chance;
    headers.push_back(">" + (name.empty() ? "(no recipe)" : name) + (at_chance ? " (chance)" : ""));
  }
  TextTable table(headers);
  std::vector<std::string> clean = {"none", "0"}, zeros = {"zero activations, %", ""};
  for (const auto& name : order) {
    clean.push_back(
        show(over_seeds(recipes.at(name), [](int64_t, const ModelRow& m) { return 100.0 * m.accuracy(); })));
    zeros.push_back(show(over_seeds(
        recipes.at(name), [](int64_t, const ModelRow& m) { return 100.0 * m.zero_share.value_or(std::nan("")); })));
  }
  table.AddRow(clean);
  std::set<CellKey> cells;
  for (const TrialRow& t : trials) cells.insert({t.fault, t.encoding, t.rate});
  const bool several_encodings = std::any_of(
      cells.begin(), cells.end(), [&](const CellKey& c) { return std::get<1>(c) != std::get<1>(*cells.begin()); });
  for (const CellKey& cell : cells) {
    const auto& [fault, encoding, rate] = cell;
    std::vector<std::string> row = {several_encodings ? fault + " " + encoding : fault, FormatShortest(rate)};
    for (const auto& name : order) {
      const RecipeTrials& recipe = recipes.at(name);
      row.push_back(show(over_seeds(recipe, [&](int64_t seed, const ModelRow&) {
        const auto by_seed = recipe.accuracy.find(seed);
        if (by_seed == recipe.accuracy.end() || !by_seed->second.contains(cell)) return std::nan("");
        double sum = 0.0;
        for (const auto& [trial, accuracy] : by_seed->second.at(cell)) sum += accuracy;
        return sum / static_cast<double>(by_seed->second.at(cell).size());
      })));
    }
    table.AddRow(row);
  }
  table.AddRow(zeros);
  return "Accuracy under faults, in percent: mean over training seeds and trials ± half the 95 % t interval over "
         "seeds\n\n" +
         table.Text() + (any_at_chance ? kAtChance : "");
}

std::string RecipeCsv(const std::vector<ModelRow>& models, const std::vector<TrialRow>& trials) {
  std::string csv = "recipe,fault,encoding,rate,seeds,trials,accuracy,low,high,zero_share\n";
  for (const auto& [name, recipe] : ByRecipe(models, trials)) {
    const auto add = [&](const CellKey& cell, size_t trials_each, const std::vector<double>& seeds,
                         const std::string& zero_share) {
      const auto& [fault, encoding, rate] = cell;
      const statistics::Interval interval = statistics::StudentInterval(seeds);
      const auto bound = [](double value) {
        return std::isfinite(value) ? fmt::format("{:.4f}", value) : std::string();
      };
      csv += fmt::format("{},{},{},{},{},{},{:.4f},{},{},{}\n", CsvField(name), fault, encoding, FormatShortest(rate),
                         seeds.size(), trials_each, statistics::Mean(seeds), bound(interval.low), bound(interval.high),
                         zero_share);
    };
    std::vector<double> clean, zeros;
    for (const auto& [seed, model] : recipe.models) {
      clean.push_back(100.0 * model->accuracy());
      if (model->zero_share) zeros.push_back(100.0 * *model->zero_share);
    }
    add({"none", "", 0.0}, 0, clean, zeros.empty() ? "" : fmt::format("{:.4f}", statistics::Mean(zeros)));
    std::map<CellKey, std::vector<double>> cells;
    std::map<CellKey, size_t> counts;
    for (const auto& [seed, by_cell] : recipe.accuracy) {
      for (const auto& [cell, by_trial] : by_cell) {
        double sum = 0.0;
        for (const auto& [trial, accuracy] : by_trial) sum += accuracy;
        cells[cell].push_back(sum / static_cast<double>(by_trial.size()));
        counts[cell] = by_trial.size();
      }
    }
    for (const auto& [cell, seeds] : cells) add(cell, counts[cell], seeds, "");
  }
  return csv;
}

}  // namespace steadfast::report
