#include "steadfast/network/find.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/dequantized.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/network/fusion.h"
#include "steadfast/recipe/recipe.h"  // Matches

namespace steadfast::network {

void CheckLayers(const FloatGraph& graph, const std::vector<std::string>& layers) {
  std::vector<std::string> names;
  for (const FusedStep& step : Fuse(graph)) {
    if (step.range != OutputRange::kAsInput) names.push_back(step.name);
  }
  for (const std::string& layer : layers) {
    const auto is_meant = [&](const std::string& name) { return recipe::Matches(layer, name); };
    if (std::any_of(names.begin(), names.end(), is_meant)) continue;
    throw UsageError(fmt::format("layer_bits: {} has no layer '{}'; its layers are {}{}", graph.name, layer,
                                 fmt::join(names, ", "), DidYouMean(layer, names)));
  }
}

void CheckNetwork(const std::string& text, const std::vector<std::string>& layers) {
  if (!IsBuiltIn(text) && std::filesystem::is_regular_file(text)) return;
  if (text.ends_with(".onnx")) throw UsageError(fmt::format("network: there is no file {}", text));
  ValueShape input{1, 32, 32};
  for (const BuiltIn& known : BuiltIns()) {
    if (known.name == text.substr(0, text.find(':'))) input = known.input;
  }
  CheckLayers(MakeBuiltIn(text, input, 10), layers);
}

FoundNetwork FindNetwork(const std::string& text, const std::string& sha256, const ValueShape& input, int classes) {
  CheckNetwork(text, {});
  if (IsBuiltIn(text)) return {MakeBuiltIn(text, input, classes), false, ""};
  const std::filesystem::path path(text);
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  FoundNetwork found{
      IsFloatOnnx(bytes) ? FloatGraphOf(bytes, text, path.parent_path()) : GraphOf(model::FromOnnx(bytes, text)), true,
      HashOfFile(path)};
  if (!sha256.empty() && sha256 != found.sha256)
    throw InputError(fmt::format("{}: has changed: its SHA-256 is {}, expected {}", text, found.sha256, sha256));
  const ValueShape& takes = found.graph.values[0].shape;
  const bool fits = takes.flat ? takes.channels == input.elements() : takes == input;
  if (!fits)
    throw UsageError(fmt::format("{}: takes inputs of {} x {} x {}, and these images are {} x {} x {}", text,
                                 takes.channels, takes.height, takes.width, input.channels, input.height, input.width));
  if (found.graph.classes() != classes)
    throw UsageError(
        fmt::format("{}: tells {} classes apart, and these images have {}", text, found.graph.classes(), classes));
  return found;
}

std::string ShortName(const std::string& text) {
  return IsBuiltIn(text) ? text : std::filesystem::path(text).stem().string();
}

std::map<std::string, std::string> MetadataOf(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = ReadFile(path, uint64_t{1} << 31);
  return IsFloatOnnx(bytes) ? FloatGraphOf(bytes, path.string(), path.parent_path()).metadata
                            : model::FromOnnx(bytes, path.string()).metadata;
}

}  // namespace steadfast::network
