#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/progress.h"
#include "steadfast/base/version.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/find.h"
#include "steadfast/network/float_run.h"
#include "steadfast/network/input_folding.h"
#include "steadfast/network/post_training.h"

namespace steadfast::cli {
namespace quantize_command {

using nlohmann::json;

struct Options {
  std::string network, dataset, calibration = "minmax";
  data::DataLocation location;
  std::vector<double> mean, deviation;
  int64_t calibration_images = 512, float_images = 1000;
  bool per_tensor = false, force = false;
  network::PostTrainingSettings settings;
  std::filesystem::path output, json;
};

// Images, the first so many of a fixed pseudo-random order.
std::vector<uint8_t> SomeImages(const data::ImageSet& set, int64_t count) {
  std::vector<uint8_t> bytes;
  const auto order = data::Permutation(set.size(), 0, 0);
  for (int64_t i = 0; i < std::min(count, set.size()); ++i) {
    const auto image = set.image(order[static_cast<size_t>(i)]);
    bytes.insert(bytes.end(), image.begin(), image.end());
  }
  return bytes;
}

// How many of the first `images` a float network gets right.
int64_t RightOf(const network::FloatGraph& graph, const data::ImageSet& test, int64_t images, network::ByteScale scale,
                int threads, const Cancellation& cancellation) {
  const auto bytes = std::span(test.images).subspan(0, static_cast<size_t>(images * test.shape.pixels()));
  const std::vector<float> logits = network::RunFloat(graph, bytes, scale, threads, {}, &cancellation);
  const int64_t classes = graph.classes();
  int64_t right = 0;
  for (int64_t i = 0; i < images; ++i) {
    const auto first = logits.begin() + i * classes;
    right += std::max_element(first, first + classes) - first == test.labels[static_cast<size_t>(i)];
  }
  return right;
}

struct Outcome {
  int64_t images, float_right, right_of_the_same;  // of those that the float network ran on
  double accuracy;                                 // of all test images
  double padding_difference;
};

json ToJson(const Options& options, const model::QuantizedModel& model, const Outcome& outcome) {
  return {
      {"model", options.output.string()},
      {"network", options.network},
      {"weight_bits", options.settings.weight_bits},
      {"activation_bits", options.settings.activation_bits},
      {"calibration", network::NameOf(options.settings.calibration)},
      {"per_channel", options.settings.per_channel},
      {"images", outcome.images},
      {"float_accuracy", static_cast<double>(outcome.float_right) / static_cast<double>(outcome.images)},
      {"accuracy_on_the_same", static_cast<double>(outcome.right_of_the_same) / static_cast<double>(outcome.images)},
      {"test_accuracy", outcome.accuracy},
      {"padding_difference", outcome.padding_difference},
      {"memory_bits", model::MemoryBits(model)}};
}

void Print(const Options& options, const model::QuantizedModel& model, const Outcome& outcome) {
  const auto percent = [&](int64_t right) {
    return 100 * static_cast<double>(right) / static_cast<double>(outcome.images);
  };
  fmt::print("{}: W{}A{}, {} bits of weight memory\n", options.output.string(), options.settings.weight_bits,
             options.settings.activation_bits, model::MemoryBits(model));
  fmt::print("accuracy on {} test images: float {:.2f} %, quantized {:.2f} %; quantized on all: {:.2f} %\n",
             outcome.images, percent(outcome.float_right), percent(outcome.right_of_the_same), 100 * outcome.accuracy);
  if (outcome.padding_difference > 0.5)
    fmt::print(
        "(padding of the input is up to {:.1f} of 255 from what the network was trained with: one zero point "
        "serves all channels; it is in both accuracies)\n",
        outcome.padding_difference);
}

void Check(const Options& options) {
  if (!options.force && std::filesystem::exists(options.output))
    throw UsageError(
        fmt::format("{} is there; name another file, or overwrite it with --force", options.output.string()));
  CheckDistinct(
      {{"--output", options.output}, {"the network " + options.network, options.network}, {"--json", options.json}});
}

void Run(Options& options, const Cancellation& cancellation) {
  Check(options);
  options.settings.calibration = network::ParseCalibration(options.calibration);
  options.settings.per_channel = !options.per_tensor;
  ProgressLine line;
  line.Update("reading " + options.dataset);
  const data::ImageSet train = data::LoadDataset(options.dataset, options.location, data::Split::kTrain);
  const data::ImageSet test = data::LoadDataset(options.dataset, options.location, data::Split::kTest);
  data::CheckSplits(train, test, options.dataset);
  network::FoundNetwork found = network::FindNetwork(
      options.network, "", {train.shape.channels, train.shape.height, train.shape.width}, train.classes);
  const auto is_drawn_later = [](const network::FloatParameter& parameter) { return parameter.values.empty(); };
  if (!found.is_file || std::any_of(found.graph.parameters.begin(), found.graph.parameters.end(), is_drawn_later))
    throw UsageError(
        fmt::format("{}: is a network without trained values; train it first: steadfast train {} "
                    "--quantizer float --dataset {} -o {}-float.onnx",
                    options.network, options.network, options.dataset, options.network));
  network::InputNormalization normalization = network::NormalizationOf(found.graph);
  if (!options.mean.empty()) normalization.mean = options.mean;
  if (!options.deviation.empty()) normalization.deviation = options.deviation;
  const network::ByteScale scale = network::ByteScaleOf(found.graph, normalization);
  Outcome outcome{};
  outcome.padding_difference = network::FoldInput(found.graph, normalization, scale);
  outcome.images = std::min(options.float_images, test.size());
  line.Update(fmt::format("the float network on {} test images", outcome.images));
  outcome.float_right = RightOf(found.graph, test, outcome.images, scale, options.settings.threads, cancellation);
  line.Update(fmt::format("calibrating on {} training images", options.calibration_images));
  model::QuantizedModel model = network::Quantize(found.graph, SomeImages(train, options.calibration_images), scale,
                                                  options.settings, &cancellation);
  model.name = std::filesystem::path(options.network).stem().string();
  cancellation.ThrowIfRequested();
  line.Update("the quantized network on all test images");
  const engine::EvaluationSet set = engine::MakeEvaluationSet(model, test.images, test.labels);
  const engine::Golden golden = engine::RunGolden(model, set, options.settings.threads, &cancellation);
  outcome.accuracy = golden.scores.accuracy();
  for (int64_t i = 0; i < outcome.images; ++i)
    outcome.right_of_the_same += golden.predictions[static_cast<size_t>(i)] == test.labels[static_cast<size_t>(i)];
  line.Finish();
  const json report = ToJson(options, model, outcome);
  model.metadata["steadfast.format"] = "1";
  model.metadata["steadfast.version"] = Version();
  model.metadata["steadfast.dataset"] =
      json({{"name", options.dataset}, {"test_sha256", data::HashOf(test)}, {"train_sha256", data::HashOf(train)}})
          .dump();
  json kept = report;
  kept["network_sha256"] = found.sha256;
  kept.erase("model");
  model.metadata["steadfast.quantization"] = kept.dump();
  model.metadata["steadfast.accuracy"] = json({{"test", outcome.accuracy}}).dump();
  model::WriteModel(model, options.output);
  WriteJson(options.json, report);
  if (!IsStandardOutput(options.json)) Print(options, model, outcome);
}

}  // namespace quantize_command

void AddQuantizeCommand(CLI::App& app, Chosen& chosen) {
  using namespace quantize_command;
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("quantize", "Quantize a trained float network without training it further, and write it");
  command
      ->add_option("network", options->network, "A float ONNX file, as PyTorch exports it or steadfast train writes it")
      ->required()
      ->type_name("FLOAT.onnx");
  command->add_option("-o,--output", options->output, "The model file to write")->required()->type_name("FILE");
  command->add_option("--dataset", options->dataset, "Dataset by name (see: steadfast data)")->required();
  options->location.on_reading = data::ReadingLine();
  command->add_option("--data", options->location.folder, "Folder of datasets")->type_name("DIR");
  command
      ->add_option(
          "--mean", options->mean,
          "Of the network's input, (byte / 255 - mean) / std: one value or one a channel (default: what a file "
          "of steadfast train says, else 0)")
      ->delimiter(',')
      ->type_name("X,...");
  command
      ->add_option("--std", options->deviation,
                   "What divides the input after --mean is subtracted (default: what the file says, else 1)")
      ->delimiter(',')
      ->type_name("X,...");
  command->add_option("--weight-bits", options->settings.weight_bits, "Bits of a weight code, 2 to 8")
      ->capture_default_str();
  command
      ->add_option("--activation-bits", options->settings.activation_bits,
                   "Bits of an activation code, 2 to 8; means and what only residual additions take have 8")
      ->capture_default_str();
  command->add_flag("--per-tensor", options->per_tensor, "One scale for all weights of a layer, not one an output");
  command->add_flag("--signed", options->settings.signed_activations, "Store activation codes as int8, not uint8");
  command
      ->add_option("--calibration", options->calibration,
                   "What ranges follow from: minmax, percentile, or mse (the least mean squared error, of weights too)")
      ->capture_default_str();
  command->add_option("--percentile", options->settings.percentile, "Of percentile: the share of numbers within")
      ->capture_default_str();
  command->add_option("--calibration-images", options->calibration_images, "Training images to calibrate on")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--float-images", options->float_images,
                   "Test images on which the float network is run too, to compare")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  AddThreadsOption(*command, options->settings.threads);
  command->add_flag("--force", options->force, "Overwrite the output");
  AddJsonOption(*command, options->json, "Write what was reached");
  command->footer(
      "Example: steadfast quantize mynet.onnx --dataset cifar10 --mean 0.4914,0.4822,0.4465 --std 0.247,0.243,0.262 "
      "--weight-bits 8 --activation-bits 8 -o mynet-w8a8.onnx");
  command->callback([options, &chosen] {
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
