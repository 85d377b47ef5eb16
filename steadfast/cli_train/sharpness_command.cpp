#include "steadfast/cli_train/sharpness_command.h"

#include <fmt/format.h>

#include "steadfast/analysis/sharpness.h"
#include "steadfast/base/error.h"
#include "steadfast/cli_train/train_command.h"  // Emit
#include "steadfast/data/dataset.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/train/trainer.h"  // UseThreads
#include "steadfast/train/training_data.h"

namespace steadfast::cli_train {
namespace {

using nlohmann::json;

std::string Word(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

// The training images the model was made with, in their fixed order.
train::TrainingData LoadTrainingData(const model::QuantizedModel& model, const SharpnessCommand& command,
                                     const std::string& dataset) {
  const json named = model::MetadataJson(model, "steadfast.dataset");
  if (dataset.empty())
    throw UsageError(fmt::format("{}: names no dataset; say which with --dataset NAME", command.model.string()));
  auto data = train::MakeTrainingData(data::LoadDataset(dataset, {command.data, EmitReading}, data::Split::kTrain));
  const std::string expected = Word(named, "train_sha256");
  if (command.dataset.empty() && !expected.empty() && expected != data.hash) {
    throw InputError(
        fmt::format("{}: was trained on {} images of hash {}…, and those found have {}…; name the right ones with "
                    "--data, or choose "
                    "these with --dataset {}",
                    command.model.string(), dataset, expected.substr(0, 12), data.hash.substr(0, 12), dataset));
  }
  campaign::CheckFits(command.input, model, command.model.string());
  data.images.images = campaign::CodesOfImages(model, data.images.images, command.input);
  const model::ValueShape& input = model.values[0].shape;
  if (input.elements() != data.images.shape.pixels() || model.classes() < data.images.classes) {
    throw InputError(fmt::format("{}: takes {} values and knows {} classes; images of {} have {} and {}",
                                 command.model.string(), input.elements(), model.classes(), dataset,
                                 data.images.shape.pixels(), data.images.classes));
  }
  return data;
}

analysis::SharpnessResult Measure(const SharpnessCommand& command, const analysis::SharpnessInput& input,
                                  const Cancellation& cancellation) {
  const auto on_progress = [](double share, const std::string& text) {
    Emit({{"event", "progress"}, {"share", share}, {"text", text}});
  };
  try {
    return analysis::MeasureSharpness(input, command.settings, on_progress, &cancellation);
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    throw Error(fmt::format("{}: LibTorch cannot compute this network: {}", command.model.string(),
                            message.substr(0, message.find('\n'))));
  }
}

}  // namespace

void RunSharpness(const SharpnessCommand& command, const Cancellation& cancellation) {
  // One thread: the same numbers on any machine's number of cores, and networks are measured side by side.
  train::UseThreads(1);
  const model::QuantizedModel model = model::ReadModel(command.model);
  Emit({{"event", "stage"}, {"text", "reading training images"}});
  const std::string dataset =
      command.dataset.empty() ? Word(model::MetadataJson(model, "steadfast.dataset"), "name") : command.dataset;
  const train::TrainingData data = LoadTrainingData(model, command, dataset);
  analysis::SharpnessInput input{model, data.images, data.split.training, {}};
  for (const auto& path : command.lines) {
    model::ModelFile file = model::ReadModelFile(path);
    input.lines.push_back({model::NameWithHash(file), std::move(file.model)});
  }
  const analysis::SharpnessResult result = Measure(command, input, cancellation);
  Emit({{"event", "done"}, {"dataset", dataset}, {"data_sha256", data.hash}, {"result", analysis::ToJson(result)}});
}

}  // namespace steadfast::cli_train
