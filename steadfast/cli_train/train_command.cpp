#include "steadfast/cli_train/train_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <numeric>

#include "steadfast/analysis/one_step_sharpness.h"
#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/version.h"
#include "steadfast/data/dataset.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/find.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/network/input_folding.h"
#include "steadfast/statistics/summary.h"
#include "steadfast/train/trainer.h"

namespace steadfast::cli_train {
namespace {

using nlohmann::json;

// Radii of the one-step sharpness that every model file carries (ours).
constexpr double kRelativeRadii[] = {0.01, 0.02, 0.05};
constexpr double kRadii[] = {0.05, 0.1};
constexpr int64_t kSharpnessImages = 10000;

json SharpnessJson(const analysis::OneStepSharpness& sharpness) {
  json at = json::array();
  for (const auto& point : sharpness.at) {
    at.push_back({{"relative_radius", point.relative_radius}, {"radius", point.radius}, {"increase", point.increase}});
  }
  return {{"method", "one-step SAM in the quantized weights"},
          {"images", sharpness.images},
          {"loss", sharpness.loss},
          {"weight_norm", sharpness.weight_norm},
          {"at", at}};
}

json SparsityJson(const model::QuantizedModel& model, const engine::ZeroShares& shares) {
  json layers = json::object();
  for (size_t v = 0; v < shares.values.size(); ++v) {
    if (shares.values[v] >= 0) layers[model.values[v].name] = shares.values[v];
  }
  return {{"weighted", shares.weighted}, {"layers", layers}};
}

std::string MetricsText(const std::vector<train::EpochMetrics>& epochs) {
  std::string text;
  for (const auto& epoch : epochs) text += train::ToJson(epoch).dump() + "\n";
  return text;
}

// What the model file says of its training: nothing that differs between an undisturbed and a resumed run.
json TrainingJson(const std::vector<train::EpochMetrics>& epochs) {
  json list = json::array();
  for (const auto& epoch : epochs) {
    json one = train::ToJson(epoch);
    one.erase("seconds");
    list.push_back(one);
  }
  return {{"epochs", list}, {"library", fmt::format("LibTorch {}", TORCH_VERSION)}, {"machine", MachineDescription()}};
}

// Two trainings to one output would share a checkpoint and overwrite each other's result.
class OutputLock {
 public:
  explicit OutputLock(std::filesystem::path path) : path_(std::move(path)) {
    if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path());
    descriptor_ = open(path_.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (descriptor_ < 0) throw IoError(fmt::format("{}: cannot write: {}", path_.string(), std::strerror(errno)));
    // A training that was just told to stop ends within a moment.
    for (int tries = 50; flock(descriptor_, LOCK_EX | LOCK_NB) != 0; --tries) {
      if (tries == 0) {
        close(descriptor_);
        throw IoError(fmt::format("{}: another training is writing this model; wait for it, or name another file",
                                  path_.stem().string()));
      }
      usleep(100000);
    }
  }
  ~OutputLock() {
    unlink(path_.c_str());
    close(descriptor_);
  }
  OutputLock(const OutputLock&) = delete;
  OutputLock& operator=(const OutputLock&) = delete;

 private:
  std::filesystem::path path_;
  int descriptor_;
};

class Run {
 public:
  Run(const TrainCommand& command, const Cancellation& cancellation)
      : command_(command), cancellation_(cancellation), recipe_(command.recipe) {}

  void Execute() {
    const OutputLock lock(Beside(".lock"));
    const data::DataLocation location{command_.data, EmitReading};
    Emit({{"event", "stage"}, {"text", fmt::format("reading {}", recipe_.dataset)}});
    data_ = train::MakeTrainingData(data::LoadDataset(recipe_.dataset, location, data::Split::kTrain),
                                    recipe_.train_images);
    data_.scale = train::ScaleFor(recipe_, {data_.images.shape, data_.images.classes}, data_.scale);
    test_ = data::LoadDataset(recipe_.dataset, location, data::Split::kTest);
    data::CheckSplits(data_.images, test_, recipe_.dataset);
    trained_ = train::Train(recipe_, data_, Options());
    if (recipe_.quantizer == recipe::Quantizer::kFloat)
      FinishFloat();
    else
      FinishQuantized();
  }

 private:
  std::filesystem::path Beside(const char* ending) const { return command_.output.string() + ending; }

  train::TrainingOptions Options() {
    train::TrainingOptions options;
    options.checkpoint = Beside(".checkpoint");
    options.cancellation = &cancellation_;
    options.on_progress = [](const train::TrainingProgress& progress) {
      Emit({{"event", "progress"},
            {"epoch", progress.epoch},
            {"epochs", progress.epochs},
            {"share", progress.share},
            {"loss", progress.loss},
            {"images_per_second", progress.images_per_second},
            {"seconds_left", progress.seconds_left}});
    };
    options.on_start = [](const train::StartingPoint& start) {
      Emit({{"event", "start"},
            {"validation_accuracy", start.accuracy},
            {"validation_loss", start.loss},
            {"padding_difference", start.padding_difference}});
    };
    options.on_epoch = [this](const train::EpochMetrics& metrics) {
      seen_.push_back(metrics);
      WriteFileWhole(Beside(".metrics.jsonl"), MetricsText(seen_));
      json event = train::ToJson(metrics);
      event["event"] = "epoch";
      Emit(event);
    };
    return options;
  }

  train::EvaluationResult TrainingGraphOnTest() {
    std::vector<int64_t> all(static_cast<size_t>(test_.size()));
    std::iota(all.begin(), all.end(), int64_t{0});
    return train::Evaluate(*trained_.network, test_, all, data_.scale);
  }

  // What always answering the most frequent class gets right.
  double MajorityShare() const {
    std::map<uint16_t, int64_t> counts;
    int64_t most = 0;
    for (const uint16_t label : test_.labels) most = std::max(most, ++counts[label]);
    return static_cast<double>(most) / static_cast<double>(test_.size());
  }
  bool AtChance(int64_t correct) const { return !statistics::IsAbove(correct, test_.size(), MajorityShare()); }

  // A file that the network came from by its name alone: nobody else has its folder.
  json RecipeJson() const {
    json recipe = recipe::ToJson(recipe_);
    if (!network::IsBuiltIn(recipe_.network))
      recipe["network"] = std::filesystem::path(recipe_.network).filename().string();
    return recipe;
  }
  json DatasetJson() const {
    return {{"name", recipe_.dataset}, {"test_sha256", data::HashOf(test_)}, {"train_sha256", data_.hash}};
  }

  void FinishFloat() {
    const double accuracy = TrainingGraphOnTest().accuracy;
    network::FloatGraph graph = trained_.network->ToGraph();
    network::SetInput(graph, {data_.scale.scale, data_.scale.zero_point});
    graph.metadata["steadfast.recipe"] = RecipeJson().dump();
    graph.metadata["steadfast.recipe_sha256"] = recipe::HashOf(recipe_);
    graph.metadata["steadfast.dataset"] = DatasetJson().dump();
    const bool at_chance = AtChance(std::lround(accuracy * static_cast<double>(test_.size())));
    json of_file = {{"test", accuracy}, {"validation", trained_.validation_accuracy}};
    if (at_chance) of_file["at_chance"] = true;
    graph.metadata["steadfast.accuracy"] = of_file.dump();
    WriteFileWhole(Beside(".metrics.jsonl"),
                   MetricsText(trained_.epochs) + json({{"test_accuracy", accuracy}}).dump() + "\n");
    WriteFileWhole(command_.output, network::ToFloatOnnx(graph));
    std::filesystem::remove(Beside(".checkpoint"));
    Emit({{"event", "done"},
          {"model", command_.output.string()},
          {"is_float", true},
          {"test_accuracy", accuracy},
          {"at_chance", at_chance},
          {"majority_share", MajorityShare()},
          {"validation_accuracy", trained_.validation_accuracy}});
  }

  void FinishQuantized() {
    Emit({{"event", "stage"}, {"text", "measuring accuracy, sparsity and sharpness"}});
    model::QuantizedModel model = trained_.network->Export(network::ShortName(recipe_.network), data_.scale);
    const engine::EvaluationSet set = engine::MakeEvaluationSet(model, test_.images, test_.labels);
    const engine::Golden golden = engine::RunGolden(model, set, recipe_.threads, &cancellation_);
    const train::EvaluationResult graph = TrainingGraphOnTest();
    int64_t differing = 0;
    for (size_t i = 0; i < graph.predictions.size(); ++i) differing += graph.predictions[i] != golden.predictions[i];
    const engine::ZeroShares shares = engine::MeasureZeroShares(model, test_.images, recipe_.threads);
    const auto sharpness =
        analysis::MeasureOneStepSharpness(*trained_.network, data_, kSharpnessImages, kRelativeRadii, kRadii);

    json accuracy = {{"test", golden.scores.accuracy()},
                     {"validation", trained_.validation_accuracy},
                     {"training_graph_test", graph.accuracy},
                     {"differing_predictions", differing}};
    if (AtChance(golden.scores.correct)) accuracy["at_chance"] = true;
    auto& metadata = model.metadata;
    metadata["steadfast.format"] = "1";
    metadata["steadfast.version"] = Version();
    metadata["steadfast.recipe"] = RecipeJson().dump();
    metadata["steadfast.recipe_sha256"] = recipe::HashOf(recipe_);
    metadata["steadfast.dataset"] = DatasetJson().dump();
    metadata["steadfast.accuracy"] = accuracy.dump();
    metadata["steadfast.sparsity"] = SparsityJson(model, shares).dump();
    metadata["steadfast.sharpness"] = SharpnessJson(sharpness).dump();
    metadata["steadfast.training"] = TrainingJson(trained_.epochs).dump();
    WriteFileWhole(Beside(".metrics.jsonl"), MetricsText(trained_.epochs));
    model::WriteModel(model, command_.output);
    std::filesystem::remove(Beside(".checkpoint"));
    Emit({{"event", "done"},
          {"model", command_.output.string()},
          {"test_accuracy", golden.scores.accuracy()},
          {"at_chance", AtChance(golden.scores.correct)},
          {"majority_share", MajorityShare()},
          {"training_graph_test_accuracy", graph.accuracy},
          {"differing_predictions", differing},
          {"validation_accuracy", trained_.validation_accuracy},
          {"zero_share", shares.weighted},
          {"sharpness", SharpnessJson(sharpness)}});
  }

  const TrainCommand& command_;
  const Cancellation& cancellation_;
  const recipe::Recipe& recipe_;
  train::TrainingData data_;
  data::ImageSet test_;
  train::TrainedNetwork trained_;
  std::vector<train::EpochMetrics> seen_;  // those of a resumed run's past too
};

}  // namespace

void Emit(const json& event) {
  fmt::print("{}\n", event.dump());
  std::fflush(stdout);
}

void EmitReading(const data::ReadingProgress& reading) {
  Emit({{"event", "stage"},
        {"text", data::Describe(reading)},
        {"memory_bytes", reading.bytes},
        {"read", reading.read},
        {"images", reading.images},
        {"is_much", data::IsMuch(reading)}});
}

void RunTrain(const TrainCommand& command, const Cancellation& cancellation) {
  try {
    Run(command, cancellation).Execute();
  } catch (const c10::Error& error) {  // its what() has a page of addresses
    throw Error(std::string("LibTorch: ") + error.what_without_backtrace());
  }
}

}  // namespace steadfast::cli_train
