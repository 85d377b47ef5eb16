#include "steadfast/report/evidence.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "steadfast/base/error.h"

namespace steadfast::report {

using store::ModelRow;
using store::TrialRow;

namespace {

class Gatherer {
 public:
  void Add(const std::filesystem::path& path) {
    const store::Store store = store::Store::OpenForReading(path);
    Source source{path.stem().string(),         store.settings(), {}, {}, store.Claims(), store.Runs(),
                  store.LastRunWasInterrupted()};
    std::map<int64_t, int64_t> ids;  // the store's to ours
    for (ModelRow& model : store.Models()) {
      const int64_t own = model.id;
      ids[own] = AddModel(std::move(model), path);
      source.models.push_back(ids[own]);
    }
    for (TrialRow& trial : store.Trials()) {
      trial.model = ids.at(trial.model);
      const auto [found, added] = trials_.emplace(trial.id, evidence.trials.size());
      source.trials.push_back(found->second);
      if (added) evidence.trials.push_back(std::move(trial));
    }
    for (auto& row : store.Sharpness()) {
      row.model = ids.at(row.model);
      const auto other = std::find_if(evidence.sharpness.begin(), evidence.sharpness.end(),
                                      [&](const auto& r) { return r.model == row.model; });
      if (other == evidence.sharpness.end())
        evidence.sharpness.push_back(std::move(row));
      else if (row.points.size() >= other->points.size())
        *other = std::move(row);
    }
    for (const auto& sweep : store.Sweeps()) {
      SweptModel swept{sweep, store.SweepParts(sweep.id)};
      swept.sweep.model = ids.at(sweep.model);
      evidence.sweeps.push_back(std::move(swept));
    }
    for (auto& [model, latency] : store.Latencies()) evidence.latencies.emplace_back(ids.at(model), std::move(latency));
    evidence.sources.push_back(std::move(source));
  }

  Evidence evidence;

 private:
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
};

}  // namespace

Evidence Gather(const std::vector<std::filesystem::path>& stores) {
  Gatherer gatherer;
  for (const auto& path : stores) gatherer.Add(path);
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

std::string Evidence::GroupName(const ModelRow& model) const {
  const bool one_width = std::all_of(models.begin(), models.end(),
                                     [&](const ModelRow& other) { return WidthOf(other) == WidthOf(model); });
  return one_width && !model.recipe.empty() ? model.recipe : GroupOf(model);
}

std::string WidthOf(const ModelRow& model) {
  return fmt::format("W{}A{}", model.weight_bits, model.activation_bits);
}

std::string GroupOf(const ModelRow& model) {
  return model.recipe.empty() ? model.label : WidthOf(model) + " " + model.recipe;
}

}  // namespace steadfast::report
