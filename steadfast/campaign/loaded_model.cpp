#include "steadfast/campaign/loaded_model.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/machine.h"  // AvailableCores
#include "steadfast/memory/memory_image.h"
#include "steadfast/model/inspect.h"

namespace steadfast::campaign {
namespace {

using nlohmann::json;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return fmt::format("{}", fmt::join(shape, "x"));
}

template <typename T>
T ValueOr(const json& object, const char* key, T otherwise) {
  if (!object.is_object() || !object.contains(key)) return otherwise;
  try {
    return object.at(key).get<T>();
  } catch (const json::exception&) {
    return otherwise;
  }
}

// The width of all weight codes, or 0 where tensors differ.
int64_t CommonWeightBits(const model::QuantizedModel& model) {
  std::set<int> widths;
  for (int weight : model::WeightsOf(model)) widths.insert(model.parameter(weight).format.bits());
  return widths.size() == 1 ? *widths.begin() : 0;
}

// The same of the codes that weighted layers give.
int64_t CommonActivationBits(const model::QuantizedModel& model) {
  std::set<int> widths;
  for (const model::Node& node : model.nodes) {
    const auto& coding = model.value(node.output).coding;
    if (model::WeightOf(node) && coding) widths.insert(coding->bits);
  }
  return widths.size() == 1 ? *widths.begin() : 0;
}

// The number behind "saq:0.1" or "l1:1e-4"; 0 for "none".
double StrengthOf(const std::string& text) {
  const size_t colon = text.find(':');
  return colon == std::string::npos ? 0.0 : std::strtod(text.c_str() + colon + 1, nullptr);
}

std::vector<store::LayerRow> LayersOf(const model::QuantizedModel& model) {
  std::vector<store::LayerRow> rows;
  for (const auto& layer : model::Summarize(model)) {
    const model::ValueShape& out = layer.output;
    rows.push_back({layer.name, layer.kind,
                    out.flat ? ShapeText({out.channels}) : ShapeText({out.channels, out.height, out.width}),
                    ShapeText(layer.weight_shape), layer.weight_bits, layer.activation_bits, layer.macs,
                    layer.memory_bits, layer.zero_share});
  }
  return rows;
}

std::vector<store::EpochRow> EpochsOf(const model::QuantizedModel& model) {
  std::vector<store::EpochRow> rows;
  const json training = model::MetadataJson(model, "steadfast.training");
  if (!training.is_object() || !training.contains("epochs") || !training["epochs"].is_array()) return rows;
  for (const auto& epoch : training["epochs"]) {
    rows.push_back({ValueOr<int64_t>(epoch, "epoch", 0), ValueOr(epoch, "loss", 0.0),
                    ValueOr(epoch, "validation_loss", 0.0), ValueOr(epoch, "validation_accuracy", 0.0),
                    ValueOr(epoch, "learning_rate", 0.0)});
  }
  return rows;
}

// Images with other rows and columns, but the same number of bytes, would otherwise be misread.
void CheckShape(const model::ModelFile& file, const data::ImageSet& images, const std::string& dataset) {
  const model::ValueShape& takes = file.model.value(0).shape;
  const data::ImageShape& has = images.shape;
  const bool fits = takes.flat
                        ? takes.elements() == has.pixels()
                        : takes.channels == has.channels && takes.height == has.height && takes.width == has.width;
  const bool is_planes = has.channels > 1 && has.height * has.width > 1;
  if (fits && takes.flat && is_planes && IsOfTflite(file.model.profile))
    throw InputError(
        fmt::format("{}: takes a vector, in which a TFLite file has the channels of a pixel side by side, and images "
                    "of {} lie here "
                    "plane after plane: give them as vectors in the file's order (--dataset npy)",
                    file.path.string(), dataset));
  if (fits) return;
  throw InputError(fmt::format(
      "{}: takes images of {}, and those of {} are {} (channels x rows x columns); choose others with --dataset",
      file.path.string(),
      takes.flat ? ShapeText({takes.channels}) : ShapeText({takes.channels, takes.height, takes.width}), dataset,
      ShapeText({has.channels, has.height, has.width})));
}

// A file by its name alone; where a study's recipes start from float networks ("resnet8-float-seed0.onnx"), what these
// are.
std::string NetworkOf(const std::string& named) {
  if (!named.ends_with(".onnx")) return named;
  const std::string stem = std::filesystem::path(named).stem().string();
  const size_t start = stem.rfind("-float-seed");
  if (start == std::string::npos || stem.find_first_not_of("0123456789", start + 11) != std::string::npos)
    return stem + ".onnx";
  return stem.substr(0, start);
}

}  // namespace

engine::EvaluationSet EvaluationSetOf(const model::QuantizedModel& model, const data::ImageSet& images,
                                      const InputScaling& input) {
  return engine::MakeEvaluationSet(model, CodesOfImages(model, images, input), images.labels);
}

void CheckImages(const model::ModelFile& file, const data::ImageSet& images, const std::string& dataset,
                 const InputScaling& input) {
  CheckShape(file, images, dataset);
  CheckFits(input, file.model, file.path.string(), images.elements, dataset);
}

TestData LoadTestData(const model::ModelFile& file, const DataChoice& choice) {
  const json named = model::MetadataJson(file.model, "steadfast.dataset");
  const std::string of_model = ValueOr<std::string>(named, "name", "");
  const std::string dataset = choice.dataset.empty() ? of_model : choice.dataset;
  if (dataset.empty()) {
    throw UsageError(fmt::format("{}: names no dataset; say which with --dataset NAME", file.path.string()));
  }
  data::DataLocation location = choice.location;
  location.takes_bytes_alone = false;
  TestData data{dataset, "", data::LoadDataset(dataset, location, data::Split::kTest)};
  data.sha256 = data::HashOf(data.images);
  const std::string expected = ValueOr<std::string>(named, "test_sha256", "");
  if (choice.dataset.empty() && !expected.empty() && expected != data.sha256) {
    throw InputError(fmt::format(
        "{}: was made with {} images of hash {}…, and those found have {}…; name the right ones with --data, or "
        "choose these with --dataset {}",
        file.path.string(), dataset, expected.substr(0, 12), data.sha256.substr(0, 12), dataset));
  }
  CheckImages(file, data.images, dataset, choice.input);
  const bool are_bytes = data.images.elements == data::Elements::kBytes;
  if (are_bytes && file.model.real_input && choice.input.is_default() && choice.on_note) {
    choice.on_note(
        fmt::format("{} takes real numbers: bytes enter as pixel/255; --input-scale, --mean and --std say otherwise",
                    file.path.string()));
  }
  if (choice.images > 0 && choice.images < data.images.size()) {
    data.images.labels.resize(static_cast<size_t>(choice.images));
    data.images.images.resize(static_cast<size_t>(choice.images * data.images.bytes_per_image()));
  }
  return data;
}

store::ModelRow DescribeModel(const model::ModelFile& file, const std::string& label, const engine::Golden& golden,
                              int word_bits) {
  const model::QuantizedModel& model = file.model;
  const json recipe = model::MetadataJson(model, "steadfast.recipe");
  const json sparsity = model::MetadataJson(model, "steadfast.sparsity");
  store::ModelRow row;
  row.label = label;
  row.sha256 = file.sha256;
  row.path = std::filesystem::absolute(file.path).string();
  row.network = IsOfTflite(model.profile) ? file.path.stem().string()
                                          : NetworkOf(ValueOr<std::string>(recipe, "network", model.name));
  row.recipe = ValueOr<std::string>(recipe, "name", "");
  row.recipe_json = recipe.is_null() ? "{}" : recipe.dump();
  row.seed = ValueOr<int64_t>(recipe, "seed", 0);
  row.rho = StrengthOf(ValueOr<std::string>(recipe, "sharpness", ""));
  row.lambda = StrengthOf(ValueOr<std::string>(recipe, "sparsity", ""));
  row.reading = model.reading;
  // The recipe's widths, unless it has others for some layers.
  const bool is_mixed = recipe.is_object() && recipe.contains("layer_bits") && !recipe["layer_bits"].empty();
  row.weight_bits =
      is_mixed ? CommonWeightBits(model) : ValueOr<int64_t>(recipe, "weight_bits", CommonWeightBits(model));
  row.activation_bits =
      is_mixed ? CommonActivationBits(model) : ValueOr<int64_t>(recipe, "activation_bits", CommonActivationBits(model));
  row.layout = memory::MemoryImage(model, {memory::Encoding::kTwosComplement, word_bits}).LayoutDescription();
  row.memory_bits = model::MemoryBits(model);
  row.macs = model::Macs(model);
  row.images = golden.scores.images;
  row.correct = golden.scores.correct;
  row.margin_sum = golden.scores.margin_sum;
  row.loss_sum = golden.scores.loss_sum;
  if (sparsity.is_object() && sparsity.contains("weighted")) row.zero_share = ValueOr(sparsity, "weighted", 0.0);
  row.sharpness_json = model::MetadataJson(model, "steadfast.sharpness").dump();
  row.accuracy_json = model::MetadataJson(model, "steadfast.accuracy").dump();
  row.layers = LayersOf(model);
  row.epochs = EpochsOf(model);
  return row;
}

store::ModelRow EvaluateAndDescribeModel(const model::ModelFile& file, const std::string& label,
                                         const DataChoice& choice, const Cancellation* cancellation) {
  const TestData data = LoadTestData(file, choice);
  const auto set = EvaluationSetOf(file.model, data.images, choice.input);
  return DescribeModel(file, label, engine::RunGolden(file.model, set, AvailableCores(), cancellation),
                       memory::MemoryLayout{}.word_bits);
}

store::ModelRow ModelInStore(store::Store& store, const model::ModelFile& file, const std::string& label,
                             const DataChoice& choice, const Cancellation* cancellation) {
  for (store::ModelRow& row : store.Models()) {
    if (row.sha256 == file.sha256 && row.reading >= file.model.reading) return std::move(row);
  }
  store::ModelRow row = EvaluateAndDescribeModel(file, label, choice, cancellation);
  row.id = store.AddModel(row);
  return row;
}

std::vector<std::string> LabelsOf(const std::vector<std::filesystem::path>& paths) {
  std::map<std::string, int> stems;
  for (const auto& path : paths) ++stems[path.stem().string()];
  std::vector<std::string> labels;
  for (const auto& path : paths) {
    labels.push_back(stems[path.stem().string()] == 1 ? path.stem().string() : path.string());
  }
  return labels;
}

}  // namespace steadfast::campaign
