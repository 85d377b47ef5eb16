// What measurements of sharpness found, from the store's rows alone, as a terminal table, CSV and JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "steadfast/store/store.h"

namespace steadfast::report {

// A measure at a parameter, of the whole network: what networks can be compared by.
struct MeasureKey {
  std::string measure;
  double parameter = 0;
  auto operator<=>(const MeasureKey&) const = default;
};
// In the order of the first row, without those of single layers.
std::vector<MeasureKey> MeasuresOf(const std::vector<store::SharpnessRow>& rows);
// NaN where the row has none.
double ValueOf(const store::SharpnessRow& row, const MeasureKey& key, const std::string& layer = "");
// "SAM sharpness, 0.02 of the norm"
std::string TitleOf(const MeasureKey& key);

// rows[i] belongs to models[i].
std::string SharpnessTable(const std::vector<store::ModelRow>& models, const std::vector<store::SharpnessRow>& rows);
// model,model_sha256,recipe,seed,measure,layer,parameter,value,error
std::string SharpnessCsv(const std::vector<store::ModelRow>& models, const std::vector<store::SharpnessRow>& rows);
// {schema, models: [{label, sha256, recipe, seed, images, loss, accuracy, measures: [{measure, layer, parameter, value,
// error}]}]}; what could not be measured is null.
nlohmann::json SharpnessJson(const std::vector<store::ModelRow>& models, const std::vector<store::SharpnessRow>& rows);

}  // namespace steadfast::report
