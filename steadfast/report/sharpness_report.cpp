#include "steadfast/report/sharpness_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "steadfast/base/text.h"
#include "steadfast/report/campaign_report.h"  // JsonNumber
#include "steadfast/report/text_table.h"

namespace steadfast::report {
namespace {

std::string Short(double value) {
  return std::isfinite(value) ? fmt::format("{:.4g}", value) : "";
}
std::string Full(double value) {
  return std::isfinite(value) ? FormatShortest(value) : "";
}

}  // namespace

std::vector<MeasureKey> MeasuresOf(const std::vector<store::SharpnessRow>& rows) {
  std::vector<MeasureKey> keys;
  for (const auto& row : rows) {
    for (const auto& v : row.values) {
      const MeasureKey key{v.measure, v.parameter};
      if (v.layer.empty() && std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  return keys;
}

double ValueOf(const store::SharpnessRow& row, const MeasureKey& key, const std::string& layer) {
  for (const auto& v : row.values) {
    if (v.measure == key.measure && v.parameter == key.parameter && v.layer == layer) return v.value;
  }
  return std::nan("");
}

std::string TitleOf(const MeasureKey& key) {
  static const std::map<std::string, std::string> titles = {
      {"weight-norm", "weight norm"},
      {"gradient-norm", "gradient norm"},
      {"sam", "SAM sharpness, radius {}"},
      {"sam-relative", "SAM sharpness, {} of the norm"},
      {"sam-adaptive", "adaptive SAM sharpness, {}"},
      {"gaussian", "average sharpness, radius {}"},
      {"gaussian-relative", "average sharpness, {} of the norm"},
      {"gaussian-adaptive", "adaptive average sharpness, {}"},
      {"fault-flip", "loss under bit flips at {}"},
      {"hessian-eigenvalue", "Hessian eigenvalue {}"},
      {"hessian-eigenvalue-relative", "Hessian eigenvalue times squared norm"},
      {"hessian-smallest-eigenvalue", "Hessian smallest eigenvalue"},
      {"hessian-trace", "Hessian trace"},
      {"hessian-trace-relative", "Hessian trace times mean squared weight"}};
  const auto found = titles.find(key.measure);
  if (found == titles.end()) return fmt::format("{} {}", key.measure, FormatShortest(key.parameter));
  return fmt::format(fmt::runtime(found->second), FormatShortest(key.parameter));
}

std::string SharpnessTable(const std::vector<store::ModelRow>& models, const std::vector<store::SharpnessRow>& rows) {
  std::vector<std::string> headers = {"measure"};
  for (const auto& model : models) headers.push_back(">" + model.label);
  TextTable table(headers);
  for (const MeasureKey& key : MeasuresOf(rows)) {
    std::vector<std::string> cells = {TitleOf(key)};
    for (const auto& row : rows) cells.push_back(Short(ValueOf(row, key)));
    table.AddRow(cells);
  }
  return table.Text();
}

std::string SharpnessCsv(const std::vector<store::ModelRow>& models, const std::vector<store::SharpnessRow>& rows) {
  std::string csv = "model,model_sha256,recipe,seed,measure,layer,parameter,value,error\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& model = models[i];
    for (const auto& v : rows[i].values) {
      csv += fmt::format("{},{},{},{},{},{},{},{},{}\n", CsvField(model.label), model.sha256, CsvField(model.recipe),
                         model.seed, CsvField(v.measure), CsvField(v.layer), FormatShortest(v.parameter), Full(v.value),
                         Full(v.error));
    }
  }
  return csv;
}

nlohmann::json SharpnessJson(const std::vector<store::ModelRow>& models, const std::vector<store::SharpnessRow>& rows) {
  nlohmann::json list = nlohmann::json::array();
  for (size_t i = 0; i < rows.size(); ++i) {
    nlohmann::json measures = nlohmann::json::array();
    for (const auto& v : rows[i].values) {
      measures.push_back({{"measure", v.measure},
                          {"layer", v.layer},
                          {"parameter", v.parameter},
                          {"value", JsonNumber(v.value)},
                          {"error", JsonNumber(v.error)}});
    }
    list.push_back({{"label", models[i].label},
                    {"sha256", models[i].sha256},
                    {"recipe", models[i].recipe},
                    {"seed", models[i].seed},
                    {"images", rows[i].images},
                    {"loss", JsonNumber(rows[i].loss)},
                    {"accuracy", rows[i].accuracy},
                    {"measures", measures}});
  }
  return {{"schema", 1}, {"models", list}};
}

}  // namespace steadfast::report
