#include "steadfast/report/evidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "steadfast/base/error.h"

namespace steadfast::report {

using store::ModelRow;
using store::TrialRow;

namespace {

class Gatherer {
 public:
  void Add(const std::filesystem::path& path) {
    const store::Store store = store::Store::OpenForReading(path);
    Source source{UniqueName(path.stem().string()),
                  path.string(),
                  store.settings(),
                  {},
                  {},
                  store.Claims(),
                  store.Runs(),
                  store.StaleTrials()};
    if (source.settings.is_object() && source.settings.value("weighted", false))
      throw InputError(
          fmt::format("{}: holds the weighted trials of `steadfast rare`, which say nothing by themselves; give the "
                      "store of its sweep",
                      path.string()));
    std::map<int64_t, int64_t> ids;  // the store's to ours
    for (ModelRow& model : store.Models()) {
      const int64_t id_in_store = model.id;
      ids[id_in_store] = AddModel(std::move(model), path);
      // One file may stand under two labels.
      if (std::find(source.models.begin(), source.models.end(), ids[id_in_store]) == source.models.end())
        source.models.push_back(ids[id_in_store]);
    }
    for (TrialRow& trial : store.Trials()) {
      trial.model = ids.at(trial.model);
      const auto [found, added] = trials_.emplace(trial.id, evidence.trials.size());
      source.trials.push_back(found->second);
      if (added) evidence.trials.push_back(std::move(trial));
    }
    for (auto& row : store.Sharpness()) {
      row.model = ids.at(row.model);
      sharpness_.push_back(std::move(row));
    }
    for (const auto& sweep : store.Sweeps()) {
      SweptModel swept{sweep, store.SweepParts(sweep.id)};
      swept.sweep.model = ids.at(sweep.model);
      evidence.sweeps.push_back(std::move(swept));
    }
    const auto take = [&](auto documents, auto& into) {
      for (auto& [model, document] : documents) {
        const int64_t id = ids.at(model);
        std::erase_if(into, [&](const auto& other) { return other.first == id; });
        into.emplace_back(id, std::move(document));
      }
    };
    take(store.Latencies(), evidence.latencies);
    take(store.Classes(), evidence.classes);
    take(store.BankMaps(), evidence.bank_maps);
    evidence.sources.push_back(std::move(source));
  }

  // Networks are compared by measurements with the same settings: those that cover the most networks, and among equals
  // the last measured. If a network has several rows, the one with the most points is taken.
  void ChooseSharpness() {
    std::map<std::string, std::set<int64_t>> covered;
    for (const auto& row : sharpness_) covered[row.settings].insert(row.model);
    const store::SharpnessRow* chosen = nullptr;
    for (const auto& row : sharpness_) {
      if (chosen == nullptr || covered[row.settings].size() >= covered[chosen->settings].size()) chosen = &row;
    }
    std::map<int64_t, size_t> places;
    for (const auto& row : sharpness_) {
      if (row.settings != chosen->settings) continue;
      const auto [found, added] = places.emplace(row.model, evidence.sharpness.size());
      if (added)
        evidence.sharpness.push_back(row);
      else if (row.points.size() >= evidence.sharpness[found->second].points.size())
        evidence.sharpness[found->second] = row;
    }
  }

  Evidence evidence;

 private:
  // Names are compared as they stand in a page, where only letters and digits differ.
  std::string UniqueName(const std::string& stem) const {
    const auto plain = [](std::string name) {
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '-';
      return name;
    };
    std::string name = stem;
    const auto taken = [&](const Source& other) { return plain(other.name) == plain(name); };
    for (int n = 2; std::any_of(evidence.sources.begin(), evidence.sources.end(), taken); ++n)
      name = fmt::format("{}-{}", stem, n);
    return name;
  }

  int64_t AddModel(ModelRow model, const std::filesystem::path& path) {
    for (const ModelRow& other : evidence.models) {
      if (other.sha256 != model.sha256) continue;
      if (other.images != model.images || other.correct != model.correct) {
        throw InputError(fmt::format("{}: evaluated {} on other images than another of these stores; report them apart",
                                     path.string(), model.label));
      }
      return other.id;
    }
    model.id = static_cast<int64_t>(evidence.models.size()) + 1;
    const auto same_label = [&](const ModelRow& other) { return other.label == model.label; };
    if (std::any_of(evidence.models.begin(), evidence.models.end(), same_label))
      model.label += fmt::format(" ({})", path.stem().string());
    evidence.models.push_back(std::move(model));
    return evidence.models.back().id;
  }

  std::map<std::string, size_t> trials_;  // by id, the place in evidence.trials
  std::vector<store::SharpnessRow> sharpness_;
};

}  // namespace

Evidence Gather(const std::vector<std::filesystem::path>& stores) {
  Gatherer gatherer;
  for (const auto& path : stores) gatherer.Add(path);
  gatherer.ChooseSharpness();
  return std::move(gatherer.evidence);
}

std::vector<ModelRow> Evidence::ModelsOf(const Source& source) const {
  std::vector<ModelRow> rows;
  for (int64_t id : source.models) rows.push_back(model(id));
  return rows;
}

std::vector<TrialRow> Evidence::TrialsOf(const Source& source) const {
  std::vector<TrialRow> rows;
  for (size_t index : source.trials) rows.push_back(trials[index]);
  return rows;
}

bool Evidence::Learned(const ModelRow& model) const {
  double best = 0;
  for (const ModelRow& other : models) best = std::max(best, other.accuracy());
  return model.accuracy() >= 0.5 * best;
}

std::map<std::string, std::vector<double>> Evidence::SharedRates(const std::vector<int64_t>& chosen) const {
  const std::set<int64_t> wanted(chosen.begin(), chosen.end());
  std::map<std::string, std::map<double, std::set<int64_t>>> having;
  for (const TrialRow& trial : trials) {
    if (trial.encoding != "twos" || trial.fault.starts_with("list:") || !wanted.contains(trial.model)) continue;
    having[trial.fault][trial.rate].insert(trial.model);
  }
  std::map<std::string, std::vector<double>> shared;
  for (const auto& [fault, rates] : having) {
    size_t most = 0;
    for (const auto& [rate, models_with] : rates) most = std::max(most, models_with.size());
    for (const auto& [rate, models_with] : rates) {
      if (models_with.size() == most) shared[fault].push_back(rate);
    }
  }
  return shared;
}

std::string KindOf(const store::RunRow& run) {
  const auto settings = nlohmann::json::parse(run.settings, nullptr, false);
  if (settings.is_object() && settings.contains("sharpness")) return "sharpness";
  if (settings.is_object() && settings.contains("kind")) return "sweep";
  if (run.command.starts_with("evaluate")) return "classes";
  return run.command.starts_with("latency") ? "latency" : "trials";
}

std::string Source::StaleRemark() const {
  if (stale_trials == 0) return "";
  return fmt::format(
      "{} trials of an older reading of their model's file are stale and left out: the file was read wrongly then.",
      stale_trials);
}

bool Source::IsSequential() const {
  return settings.is_object() && settings.contains("until");
}

bool Source::Interrupted() const {
  const auto last =
      std::find_if(runs.rbegin(), runs.rend(), [](const store::RunRow& run) { return KindOf(run) == "trials"; });
  return last != runs.rend() && last->finished.empty();
}

std::string Evidence::GroupName(const ModelRow& model) const {
  const bool one_width = std::all_of(models.begin(), models.end(),
                                     [&](const ModelRow& other) { return WidthOf(other) == WidthOf(model); });
  return one_width && !model.recipe.empty() ? model.recipe : GroupOf(model);
}

std::string WidthOf(const ModelRow& model) {
  // 0: layers differ, or the width is unknown.
  const auto text = [](int64_t bits) { return bits > 0 ? fmt::format("{}", bits) : std::string("?"); };
  return fmt::format("W{}A{}", text(model.weight_bits), text(model.activation_bits));
}

std::string GroupOf(const ModelRow& model) {
  return model.recipe.empty() ? model.label : WidthOf(model) + " " + model.recipe;
}

}  // namespace steadfast::report
