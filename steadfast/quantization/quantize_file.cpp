#include "steadfast/quantization/quantize_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"
#include "steadfast/base/version.h"
#include "steadfast/engine/evaluator.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/find.h"
#include "steadfast/network/float_run.h"
#include "steadfast/network/input_folding.h"

namespace steadfast::quantization {

using nlohmann::json;

namespace {

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

}  // namespace

Reached QuantizeFile(const FileSettings& settings, const std::function<void(const std::string&)>& on_step,
                     const Cancellation& cancellation) {
  if (!settings.force && std::filesystem::exists(settings.output))
    throw UsageError(
        fmt::format("{} is there; name another file, or overwrite it with --force", settings.output.string()));
  on_step("reading " + settings.dataset);
  const data::ImageSet train = data::LoadDataset(settings.dataset, settings.location, data::Split::kTrain);
  const data::ImageSet test = data::LoadDataset(settings.dataset, settings.location, data::Split::kTest);
  data::CheckSplits(train, test, settings.dataset);
  network::FoundNetwork found = network::FindNetwork(
      settings.network, "", {train.shape.channels, train.shape.height, train.shape.width}, train.classes);
  const auto is_drawn_later = [](const network::FloatParameter& parameter) { return parameter.values.empty(); };
  if (!found.is_file || std::any_of(found.graph.parameters.begin(), found.graph.parameters.end(), is_drawn_later))
    throw UsageError(
        fmt::format("{}: is a network without trained values; train it first: steadfast train {} "
                    "--quantizer float --dataset {} -o {}-float.onnx",
                    settings.network, settings.network, settings.dataset, settings.network));
  network::InputNormalization normalization = network::NormalizationOf(found.graph);
  if (!settings.mean.empty()) normalization.mean = settings.mean;
  if (!settings.deviation.empty()) normalization.deviation = settings.deviation;
  const network::ByteScale scale = network::ByteScaleOf(found.graph, normalization);
  Reached reached;
  reached.padding_difference = network::FoldInput(found.graph, normalization, scale);
  reached.images = std::min(settings.float_images, test.size());
  on_step(fmt::format("the float network on {} test images", reached.images));
  reached.float_right = RightOf(found.graph, test, reached.images, scale, settings.settings.threads, cancellation);
  on_step(fmt::format("calibrating on {} training images", settings.calibration_images));
  model::QuantizedModel& model = reached.model;
  model = network::Quantize(found.graph, SomeImages(train, settings.calibration_images), scale, settings.settings,
                            &cancellation);
  model.name = std::filesystem::path(settings.network).stem().string();
  cancellation.ThrowIfRequested();
  on_step("the quantized network on all test images");
  const engine::EvaluationSet set = engine::MakeEvaluationSet(model, test.images, test.labels);
  const engine::Golden golden = engine::RunGolden(model, set, settings.settings.threads, &cancellation);
  reached.accuracy = golden.scores.accuracy();
  for (int64_t i = 0; i < reached.images; ++i)
    reached.right_of_the_same += golden.predictions[static_cast<size_t>(i)] == test.labels[static_cast<size_t>(i)];
  const json report = ToJson(settings, reached);
  model.metadata["steadfast.format"] = "1";
  model.metadata["steadfast.version"] = Version();
  model.metadata["steadfast.dataset"] =
      json({{"name", settings.dataset}, {"test_sha256", data::HashOf(test)}, {"train_sha256", data::HashOf(train)}})
          .dump();
  json kept = report;
  kept["network_sha256"] = found.sha256;
  kept.erase("model");
  model.metadata["steadfast.quantization"] = kept.dump();
  model.metadata["steadfast.accuracy"] = json({{"test", reached.accuracy}}).dump();
  model::WriteModel(model, settings.output);
  return reached;
}

json ToJson(const FileSettings& settings, const Reached& reached) {
  return {
      {"model", settings.output.string()},
      {"network", settings.network},
      {"weight_bits", settings.settings.weight_bits},
      {"activation_bits", settings.settings.activation_bits},
      {"calibration", network::NameOf(settings.settings.calibration)},
      {"per_channel", settings.settings.per_channel},
      {"images", reached.images},
      {"float_accuracy", static_cast<double>(reached.float_right) / static_cast<double>(reached.images)},
      {"accuracy_on_the_same", static_cast<double>(reached.right_of_the_same) / static_cast<double>(reached.images)},
      {"test_accuracy", reached.accuracy},
      {"padding_difference", reached.padding_difference},
      {"memory_bits", model::MemoryBits(reached.model)}};
}

}  // namespace steadfast::quantization
