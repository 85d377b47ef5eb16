#include "steadfast/report/sample_evidence.h"

#include <fmt/format.h>

#include <cmath>

#include "steadfast/base/philox.h"

namespace steadfast::report {
namespace {

constexpr const char* kRecipes[] = {"standard", "as", "standard-saq"};

// A number in (0, 1) that depends on three others.
double Unit(int64_t a, int64_t b, int64_t c) {
  const auto words =
      Philox4x32({static_cast<uint32_t>(a), static_cast<uint32_t>(b), static_cast<uint32_t>(c), 7}, {1, 2});
  return OpenUnit(words[0], words[1]);
}

store::ModelRow ModelOf(int64_t id, int recipe, int64_t seed, const std::string& mark) {
  store::ModelRow model;
  model.id = id;
  model.label = fmt::format("net-{}-seed{}{}", kRecipes[recipe], seed, mark);
  model.sha256 = fmt::format("{:064x}", id);
  model.path = "/models/" + model.label;
  model.network = "lenet5" + mark;
  model.recipe = std::string(kRecipes[recipe]) + mark;
  model.recipe_json = nlohmann::json({{"name", model.recipe},
                                      {"network", model.network},
                                      {"sharpness", recipe == 2 ? "saq:0.1" : "none" + mark},
                                      {"epochs", 6}})
                          .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  model.seed = seed;
  model.weight_bits = model.activation_bits = 4;
  model.memory_bits = 1200;
  model.macs = 5000;
  model.images = 1000;
  model.correct = 900 - recipe * 5 + seed;
  model.margin_sum = model.images << 21;
  model.zero_share = 0.5 + 0.1 * recipe + 0.01 * static_cast<double>(seed);
  for (const char* layer : {"conv1", "fc1"})
    model.layers.push_back({layer + mark, "Convolution", "6x28x28", "6x1x5x5", 4, 4, 2500, 600, *model.zero_share});
  for (int epoch = 1; epoch <= 3; ++epoch)
    model.epochs.push_back({epoch, 1.0 / epoch + 0.1 * recipe, 0.5, 0.8 + 0.03 * epoch, 1e-3});
  return model;
}

store::SharpnessRow SharpnessOf(const store::ModelRow& model, int recipe, const std::string& mark,
                                const std::string& other) {
  store::SharpnessRow row;
  row.model = model.id;
  row.settings =
      nlohmann::json({{"images", 100}, {"note", mark}}).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  row.images = 100;
  const double sharp = 3.0 - recipe + Unit(model.id, 0, 1);
  row.values = {{"weight-norm", "", 0, 10 + Unit(model.id, 0, 2), 0},
                {"sam-relative", "", 0.02, sharp, 0},
                {"gaussian-relative", "", 0.2, sharp / 50, 0.001},
                {"fault-flip", "", 1e-3, sharp / 100, 0.001},
                {"hessian-eigenvalue", "", 1, 10 * sharp, 0.01},
                {"hessian-trace", "", 0, 50 * sharp, 2},
                {"hessian-trace", "conv1" + mark + ".weight", 0, 20 * sharp, 2},
                {"measure" + mark, "", 1, sharp, 0}};
  for (int i = 0; i < 12; ++i) row.density.push_back({i % 2, i == 11 ? 10 * sharp : 0.2 * i - 0.5, 1.0 / 12});
  for (const std::string& line : {std::string("filter"), "eigenvector-1" + mark}) {
    for (int i = -3; i <= 3; ++i) row.points.push_back({line, 0.1 * i, 0, 0.2 + 0.05 * sharp * i * i, 0.9});
  }
  for (int j = -3; j <= 3; ++j) {
    for (int i = -3; i <= 3; ++i)
      row.points.push_back(
          {"filter" + mark + "-plane", 0.1 * i, 0.1 * j, 0.2 + 0.05 * sharp * (i * i + 2.0 * j * j), 0.9});
  }
  for (int i = 0; i <= 4; ++i) row.points.push_back({"line:" + other, 0.25 * i, 0, 0.3 + i * (4 - i) * 0.2, 0.8});
  return row;
}

void AddTrials(const store::ModelRow& model, int recipe, const std::string& mark, Evidence& evidence, Source& source) {
  for (const std::string& fault :
       {std::string("flip"), "sa0" + mark, "row@weights" + mark, std::string("row@biases")}) {
    for (double rate : {1e-3, 1e-2, 1e-1}) {
      for (int64_t trial = 0; trial < 4; ++trial) {
        store::TrialRow t;
        t.id = fmt::format("{}/{}/{}/{}", model.id, fault, rate, trial);
        t.model = model.id;
        t.fault = fault;
        t.encoding = "twos";
        t.rate = rate;
        t.trial = trial;
        t.images = model.images;
        const double lost = std::pow(rate, 0.7) * (900 - 200 * recipe) + 20 * Unit(model.id, trial, 3);
        t.correct = model.correct - static_cast<int64_t>(lost);
        source.trials.push_back(evidence.trials.size());
        evidence.trials.push_back(t);
      }
    }
  }
}

store::ClaimRow ClaimOf(const std::string& mark) {
  nlohmann::json detail = {{"statement", "Sparse networks are worse" + mark},
                           {"difference", "as" + mark + " minus standard"},
                           {"seeds", {1, 2, 3}},
                           {"grid", nlohmann::json::array()}};
  for (const std::string& fault : {std::string("flip"), "sa0" + mark}) {
    for (double rate : {1e-3, 1e-2, 1e-1}) {
      detail["grid"].push_back({{"fault", fault},
                                {"encoding", "twos"},
                                {"rate", rate},
                                {"effect", 10 * rate},
                                {"simultaneous_interval", {10 * rate - 0.5, 10 * rate + 0.5}}});
    }
  }
  detail["largest"] = detail["grid"].back();
  return {"1" + mark,
          "holds",
          "points" + mark,
          1.5,
          0.5,
          2.5,
          detail.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

SweptModel SweepOf(int64_t model, const std::string& mark) {
  SweptModel swept;
  swept.sweep.model = model;
  swept.sweep.kind = "bits";
  swept.sweep.encoding = "twos";
  swept.sweep.images = 1000;
  for (const char* layer : {"conv1", "fc1"}) {
    store::SweepPart part{layer + mark + ".weight", 4, 20, 0, {}};
    for (int fault = 0; fault < 80; ++fault)
      part.faults.push_back({static_cast<uint32_t>((fault % 4) * (fault % 4) * 5), 2, 1, -1000, 1});
    swept.parts.push_back(part);
  }
  return swept;
}

}  // namespace

Evidence SampleEvidence(const std::string& mark) {
  Evidence evidence;
  Source source;
  source.name = "sample" + mark;
  source.path = "sample" + mark + ".sqlite";
  source.settings = {{"seed", 1}, {"note", "settings" + mark}};
  source.claims = {ClaimOf(mark)};
  source.runs = {{1, "2026-01-01T00:00:00Z" + mark, "2026-01-01T00:01:00Z" + mark, "study quick" + mark, "{}",
                  "0.1.0" + mark, "machine" + mark}};
  for (int recipe = 0; recipe < 3; ++recipe) {
    for (int64_t seed = 0; seed < 3; ++seed) {
      const auto id = static_cast<int64_t>(evidence.models.size()) + 1;
      evidence.models.push_back(ModelOf(id, recipe, seed, mark));
      source.models.push_back(id);
      evidence.sharpness.push_back(SharpnessOf(evidence.models.back(), recipe, mark, evidence.models.front().label));
      AddTrials(evidence.models.back(), recipe, mark, evidence, source);
    }
  }
  evidence.sources.push_back(source);
  evidence.sweeps.push_back(SweepOf(1, mark));
  nlohmann::json layers = nlohmann::json::array();
  for (const char* layer : {"conv1", "fc1", "all"})
    layers.push_back({{"layer", layer + (layer == std::string("all") ? "" : mark)},
                      {"dense_ns_per_image", 100.0},
                      {"sparse_ns_per_image", 80.0},
                      {"sparse_speedup", 1.25},
                      {"skipped_share", 0.6},
                      {"accelerator_speedup", 2.0}});
  nlohmann::json classes = nlohmann::json::array();
  for (int64_t c = 0; c < 3; ++c)
    classes.push_back({{"class", c},
                       {"images", 100},
                       {"recall", 0.9},
                       {"faulty_recall", 0.8 - 0.1 * static_cast<double>(c)},
                       {"taken_for", (c + 1) % 3},
                       {"faulty_taken_for", -1}});
  evidence.classes.emplace_back(
      1, nlohmann::json({{"fault", "flip" + mark}, {"rate", 0.01}, {"trials", 20}, {"classes", classes}}));
  const nlohmann::json squares = {{0, 0, 64, 0.01, 0.2}, {16, 32, 64, 0.001, 0.02}};
  evidence.bank_maps.emplace_back(1, nlohmann::json({{"chip", "chip" + mark},
                                                     {"fault", "flip"},
                                                     {"banks",
                                                      {{{"memory", "memory" + mark},
                                                        {"bank", 0},
                                                        {"rows", 32},
                                                        {"columns", 64},
                                                        {"square_rows", 16},
                                                        {"square_columns", 32},
                                                        {"squares", squares}}}}}));
  evidence.latencies.emplace_back(1, nlohmann::json({{"layers", layers}}));
  return evidence;
}

}  // namespace steadfast::report
