#include "steadfast/study/sharpness_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "steadfast/base/error.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/parallel.h"
#include "steadfast/base/text.h"
#include "steadfast/data/dataset.h"
#include "steadfast/model/inspect.h"  // MetadataJson
#include "steadfast/model/onnx_file.h"
#include "steadfast/study/train_program.h"

namespace steadfast::study {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using store::SharpnessRow;

// Increase this when the meaning of a measure changes, so that rows in stores no longer count as answers.
constexpr int kMeasures = 1;

double Number(const json& value) {
  return value.is_number() ? value.get<double>() : std::nan("");
}

void ReadResult(const json& result, SharpnessRow& row) {
  row.images = result.at("images").get<int64_t>();
  row.loss = Number(result.at("loss"));
  row.accuracy = Number(result.at("accuracy"));
  for (const json& m : result.at("measures"))
    row.values.push_back({m.at(0), m.at(1), Number(m.at(2)), Number(m.at(3)), Number(m.at(4))});
  for (const json& n : result.at("density")) row.density.push_back({n.at(0), Number(n.at(1)), Number(n.at(2))});
  for (const json& p : result.at("surfaces"))
    row.points.push_back({p.at(0), Number(p.at(1)), Number(p.at(2)), Number(p.at(3)), Number(p.at(4))});
}

class SharpnessRunner {
 public:
  SharpnessRunner(const SharpnessRunSettings& settings, const fs::path& store_path,
                  const std::function<void(const SharpnessProgress&)>& on_progress, const Cancellation* cancellation)
      : settings_(settings), on_progress_(on_progress), cancellation_(cancellation) {
    for (const fs::path& path : settings.models) files_.push_back(model::ReadModelFile(path));
    CheckLines();
    if (!store_path.empty()) store_.emplace(store::Store::Create(store_path));
  }

  SharpnessRun Run() {
    DescribeModels();
    result_.rows.resize(files_.size());
    TakeFromStores();
    std::vector<size_t> missing;
    for (size_t m = 0; m < files_.size(); ++m) {
      if (!result_.rows[m]) missing.push_back(m);
    }
    if (!missing.empty()) Measure(missing);
    if (run_) store_->FinishRun(*run_);
    SharpnessRun run{std::move(result_.models), {}, files_.size() - missing.size()};
    for (auto& row : result_.rows) run.rows.push_back(std::move(*row));
    return run;
  }

 private:
  void CheckLines() const {
    for (const auto& [from, to] : settings_.lines) {
      if (IndexOf(from) < 0 || IndexOf(to) < 0)
        throw UsageError(fmt::format("--line {} {}: both must be among the models given", from.string(), to.string()));
    }
  }
  int IndexOf(const fs::path& path) const {
    for (size_t m = 0; m < files_.size(); ++m) {
      if (fs::weakly_canonical(files_[m].path) == fs::weakly_canonical(path)) return static_cast<int>(m);
    }
    return -1;
  }
  std::vector<size_t> LinesOf(size_t m) const {
    std::vector<size_t> others;
    for (const auto& [from, to] : settings_.lines) {
      if (IndexOf(from) == static_cast<int>(m)) others.push_back(static_cast<size_t>(IndexOf(to)));
    }
    return others;
  }

  // What a store keeps of each model. A model that the store has already needs no run on the test images.
  void DescribeModels() {
    const auto labels = campaign::LabelsOf(settings_.models);
    const campaign::DataChoice data{settings_.dataset, {settings_.data}, 0, settings_.input, settings_.on_note};
    for (size_t m = 0; m < files_.size(); ++m) {
      result_.models.push_back(store_ ? campaign::ModelInStore(*store_, files_[m], labels[m], data, cancellation_)
                                      : campaign::EvaluateAndDescribeModel(files_[m], labels[m], data, cancellation_));
    }
  }

  // A hash of all that decides the numbers besides the model and the lines: the settings, and the training images as
  // they are found now.
  std::string Key(size_t m) {
    std::string text = fmt::format("{}/{}/{}", kMeasures, recipe::HashOf(settings_.settings), DataHash(m));
    const model::QuantizedModel& model = files_[m].model;
    if (model.reading > 1) text += fmt::format("/reading {}", model.reading);
    if (model.real_input) text += fmt::format("/input {}", campaign::NameOf(settings_.input, model));
    return Sha256(text).substr(0, 16);
  }

  // A line is to a network, not to whatever goes by its name.
  std::string SurfaceOf(size_t other) const { return "line:" + model::NameWithHash(files_[other]); }

  const std::string& DataHash(size_t m) {
    std::string dataset = settings_.dataset;
    if (const json named = model::MetadataJson(files_[m].model, "steadfast.dataset");
        dataset.empty() && named.is_object())
      dataset = named.value("name", "");
    if (dataset.empty())
      throw UsageError(fmt::format("{}: names no dataset; say which with --dataset NAME", files_[m].path.string()));
    std::string& hash = data_hashes_[dataset];
    if (hash.empty())
      hash = data::HashOf(data::LoadDataset(dataset, {settings_.data, data::ReadingLine()}, data::Split::kTrain));
    return hash;
  }

  // Whether a row holds what is wanted of model m: these settings on these images, and its lines.
  bool Answers(const SharpnessRow& row, size_t m) {
    if (row.key != Key(m)) return false;
    const auto lines = LinesOf(m);
    return std::all_of(lines.begin(), lines.end(), [&](size_t other) {
      const std::string surface = SurfaceOf(other);
      return settings_.settings.surface_points == 0 ||
             std::any_of(row.points.begin(), row.points.end(), [&](const auto& p) { return p.surface == surface; });
    });
  }

  // Fills result_.rows from the store, and from other stores what they have of the same model files.
  void TakeFromStores() {
    if (!store_) return;
    const auto take = [&](const store::Store& from, bool own) {
      std::map<int64_t, std::string> hashes;
      for (const auto& model : from.Models()) hashes[model.id] = model.sha256;
      for (SharpnessRow& row : from.Sharpness()) {
        for (size_t m = 0; m < files_.size(); ++m) {
          if (hashes[row.model] != files_[m].sha256 || result_.rows[m] || !Answers(row, m)) continue;
          result_.rows[m] = row;
          result_.rows[m]->model = result_.models[m].id;
          if (!own) store_->AddSharpness(RunId(), *result_.rows[m]);
        }
      }
    };
    take(*store_, true);
    for (const fs::path& path : settings_.other_stores) {
      if (fs::exists(path)) take(store::Store::OpenForReading(path), false);
    }
  }

  int64_t RunId() {
    if (store_ && !run_)
      run_ = store_->BeginRun(settings_.command, {{"sharpness", recipe::ToJson(settings_.settings)}});
    return run_.value_or(0);
  }

  void Measure(const std::vector<size_t>& missing) {
    RunId();
    std::vector<double> shares(missing.size(), 0.0);
    std::map<size_t, std::string> running;
    const auto show = [&] {
      if (!on_progress_) return;
      SharpnessProgress progress{files_.size() - missing.size(), files_.size(), 0, {}};
      for (double share : shares) {
        progress.share += share / static_cast<double>(shares.size());
        progress.done += share >= 1.0;
      }
      for (const auto& [index, text] : running) progress.running.push_back(text);
      on_progress_(progress);
    };
    ParallelFor(
        settings_.jobs > 0 ? settings_.jobs : AvailableCores(), static_cast<int64_t>(missing.size()),
        [&](int, int64_t index) {
          const auto i = static_cast<size_t>(index);
          const size_t m = missing[i];
          const json done = RunTrainProgram(
              ArgumentsOf(m),
              [&](const json& event) {
                if (event.value("event", "") != "progress") return;
                const std::lock_guard lock(mutex_);
                shares[i] = std::min(0.999, event.value("share", 0.0));
                running[i] = result_.models[m].label + ": " + event.value("text", "");
                show();
              },
              cancellation_);
          const std::lock_guard lock(mutex_);
          Keep(m, done);
          shares[i] = 1.0;
          running.erase(i);
          show();
        },
        cancellation_);
  }

  std::vector<std::string> ArgumentsOf(size_t m) const {
    std::vector<std::string> arguments = {"sharpness", "--model", files_[m].path.string(), "--settings",
                                          recipe::ToJson(settings_.settings).dump()};
    if (!settings_.dataset.empty()) arguments.insert(arguments.end(), {"--dataset", settings_.dataset});
    if (!settings_.data.empty()) arguments.insert(arguments.end(), {"--data", settings_.data.string()});
    const auto numbers = [&](const char* option, const std::vector<double>& values) {
      std::vector<std::string> texts;
      for (double value : values) texts.push_back(FormatShortest(value));
      if (!texts.empty()) arguments.insert(arguments.end(), {option, fmt::format("{}", fmt::join(texts, ","))});
    };
    if (settings_.input.scale != 0) numbers("--input-scale", {settings_.input.scale});
    numbers("--mean", settings_.input.means);
    numbers("--std", settings_.input.deviations);
    for (size_t other : LinesOf(m)) arguments.insert(arguments.end(), {"--line", files_[other].path.string()});
    return arguments;
  }

  void Keep(size_t m, const json& done) {
    SharpnessRow& row = result_.rows[m].emplace();
    row.model = result_.models[m].id;
    row.key = Key(m);
    row.settings = recipe::ToJson(settings_.settings).dump();
    row.dataset = done.value("dataset", "");
    row.data_sha256 = done.value("data_sha256", "");
    ReadResult(done.at("result"), row);
    if (store_) AddLinesMeasuredBefore(row);
    if (store_) store_->AddSharpness(RunId(), row);
  }

  // The row replaces one with the same key, but keeps that one's lines.
  void AddLinesMeasuredBefore(SharpnessRow& row) const {
    const auto has = [points = row.points](const std::string& surface) {
      return std::any_of(points.begin(), points.end(), [&](const auto& p) { return p.surface == surface; });
    };
    for (const SharpnessRow& before : store_->Sharpness()) {
      if (before.model != row.model || before.key != row.key) continue;
      for (const auto& point : before.points) {
        if (point.surface.starts_with("line:") && !has(point.surface)) row.points.push_back(point);
      }
    }
  }

  const SharpnessRunSettings& settings_;
  const std::function<void(const SharpnessProgress&)>& on_progress_;
  const Cancellation* cancellation_;
  std::vector<model::ModelFile> files_;
  std::optional<store::Store> store_;
  std::map<std::string, std::string> data_hashes_;  // by dataset
  std::mutex mutex_;
  std::optional<int64_t> run_;
  struct {
    std::vector<store::ModelRow> models;
    std::vector<std::optional<SharpnessRow>> rows;
  } result_;
};

}  // namespace

SharpnessRun MeasureSharpness(const SharpnessRunSettings& settings, const fs::path& store,
                              const std::function<void(const SharpnessProgress&)>& on_progress,
                              const Cancellation* cancellation) {
  return SharpnessRunner(settings, store, on_progress, cancellation).Run();
}

}  // namespace steadfast::study
