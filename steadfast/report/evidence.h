// Everything that one or more stores know, put together for one report: networks that several stores hold are one
// network, and trials that several hold are one trial.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "steadfast/store/store.h"

namespace steadfast::report {

// One store, with rows that name models by their place in Evidence::models.
struct Source {
  std::string name;  // the file's stem
  std::string path;  // as it was given
  nlohmann::json settings;
  std::vector<int64_t> models;  // ids, in the store's order
  std::vector<size_t> trials;   // indices into Evidence::trials
  std::vector<store::ClaimRow> claims;
  std::vector<store::RunRow> runs;
  int64_t stale_trials = 0;  // of models whose files were read wrongly at the time: kept in the store, left out here

  // What is left out, as a sentence, or empty.
  std::string StaleRemark() const;
  // Whether trials ended when means were known well enough (--until).
  bool IsSequential() const;
  // Whether the last run that injects faults was killed or cancelled, or is still under way.
  bool Interrupted() const;
};

// What a run did: "trials", "sharpness", "sweep", "latency" or "classes".
std::string KindOf(const store::RunRow& run);

struct SweptModel {
  store::SweepRow sweep;
  std::vector<store::SweepPart> parts;
};

struct Evidence {
  std::vector<Source> sources;
  std::vector<store::ModelRow> models;         // models[i].id is i + 1; labels are unique
  std::vector<store::TrialRow> trials;         // each id once
  std::vector<store::SharpnessRow> sharpness;  // at most one a model, all with the same settings
  std::vector<SweptModel> sweeps;
  std::vector<std::pair<int64_t, nlohmann::json>> latencies;
  std::vector<std::pair<int64_t, nlohmann::json>> bank_maps;  // of a model: where on the chip its bits matter
  std::vector<std::pair<int64_t, nlohmann::json>> classes;    // what faults do to each class of a model

  const store::ModelRow& model(int64_t id) const { return models[static_cast<size_t>(id - 1)]; }
  std::vector<store::ModelRow> ModelsOf(const Source& source) const;
  std::vector<store::TrialRow> TrialsOf(const Source& source) const;
  // Whether the network learned at all, that is, has at least half the fault-free accuracy of the best one. A network
  // that answers by chance has nothing to lose to faults, and is left out where damages are compared (ours).
  bool Learned(const store::ModelRow& model) const;
  // The rates over which damage is averaged to compare these networks, by kind of fault (two's complement): those that
  // the most networks have, hence those that all networks share if they share any. A network that lacks one of these
  // rates has no such mean.
  std::map<std::string, std::vector<double>> SharedRates(const std::vector<int64_t>& models) const;
  // The model's group as short as it can be named here: without the width where all have one.
  std::string GroupName(const store::ModelRow& model) const;
};

// Throws IoError and InputError as Store does, and InputError where two stores evaluated one network on other images.
Evidence Gather(const std::vector<std::filesystem::path>& stores);

// What networks that were trained alike share: "W4A4 as-saq"; the label where there is no recipe.
std::string GroupOf(const store::ModelRow& model);
std::string WidthOf(const store::ModelRow& model);  // "W4A4"

}  // namespace steadfast::report
