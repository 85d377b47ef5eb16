#include "steadfast/model/inspect.h"

namespace steadfast::model {

nlohmann::json ParseBoundedJson(const std::string& text) {
  constexpr int kDeepest = 32;  // copying and printing recurse
  bool too_deep = false;
  const auto keep = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep |= depth > kDeepest;
    return !too_deep;
  };
  auto json = nlohmann::json::parse(text, keep, /*allow_exceptions=*/false);
  if (too_deep || json.is_discarded()) return {};
  return json;
}

nlohmann::json MetadataJson(const QuantizedModel& model, const std::string& key) {
  const auto found = model.metadata.find(key);
  if (found == model.metadata.end()) return {};
  return ParseBoundedJson(found->second);
}

std::vector<LayerSummary> Summarize(const QuantizedModel& model) {
  const nlohmann::json sparsity = MetadataJson(model, "steadfast.sparsity");
  std::vector<LayerSummary> layers;
  for (const Node& node : model.nodes) {
    const Value& output = model.values[static_cast<size_t>(node.output)];
    LayerSummary layer;
    layer.name = node.name;
    layer.kind = KindOf(node);
    layer.output = output.shape;
    if (output.coding) {
      layer.activation_bits = output.coding->bits;
      layer.activation_scale = output.coding->scale;
      layer.zero_below = output.coding->zero_below;
    }
    if (const auto index = WeightOf(node)) {
      const Parameter& weight = model.parameter(*index);
      const Parameter& scales = model.parameter(weight.scale);
      if (weight.is_fixed) {
        layer.kind = "Normalization";
        layers.push_back(std::move(layer));
        continue;
      }
      layer.weight_shape = weight.shape;
      layer.weight_bits = weight.format.bits();
      for (int64_t i = 0; i < scales.elements(); ++i)
        layer.weight_scale.push_back(scales.real(i) / static_cast<float>(weight.format.codes.levels.multiplier));
      layer.memory_bits = weight.elements() * weight.format.bits();
      layer.macs = ProductsPerOutput(model, node) * output.shape.elements();
      if (sparsity.is_object() && sparsity.contains("layers") && sparsity["layers"].is_object()) {
        const auto share = sparsity["layers"].find(output.name);
        if (share != sparsity["layers"].end() && share->is_number()) layer.zero_share = share->get<double>();
      }
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

int64_t MemoryBits(const QuantizedModel& model) {
  int64_t bits = 0;
  for (int weight : WeightsOf(model))
    bits += model.parameter(weight).elements() * model.parameter(weight).format.bits();
  return bits;
}

int64_t Macs(const QuantizedModel& model) {
  int64_t macs = 0;
  for (const auto& layer : Summarize(model)) macs += layer.macs;
  return macs;
}

nlohmann::json InspectionOf(const ModelFile& file) {
  using nlohmann::json;
  json parameters = json::array();
  for (const auto& p : file.model.parameters) {
    parameters.push_back(
        {{"name", p.name}, {"role", NameOf(p.role)}, {"shape", p.shape}, {"format", NameOf(p.format)}});
  }
  json layers = json::array();
  for (const auto& l : Summarize(file.model)) {
    layers.push_back({{"name", l.name},
                      {"kind", l.kind},
                      {"output_shape", {l.output.channels, l.output.height, l.output.width}},
                      {"weight_shape", l.weight_shape},
                      {"weight_bits", l.weight_bits},
                      {"weight_scale", l.weight_scale},
                      {"activation_bits", l.activation_bits},
                      {"activation_scale", l.activation_scale},
                      {"zero_below", l.zero_below},
                      {"macs", l.macs},
                      {"memory_bits", l.memory_bits},
                      {"zero_share", l.zero_share ? json(*l.zero_share) : json()}});
  }
  json metadata = json::object();
  for (const auto& [key, value] : file.model.metadata) {
    const json parsed = ParseBoundedJson(value);
    metadata[key] = parsed.is_null() ? json(value) : parsed;
  }
  return {{"file", file.path.string()},
          {"sha256", file.sha256.substr(0, file.sha256.find(':'))},
          {"name", file.model.name},
          {"format", file.model.format},
          {"profile", NameOf(file.model.profile)},
          {"notes", file.model.notes},
          {"reading", file.model.reading},
          {"real_input", file.model.real_input},
          {"parameters", parameters},
          {"layers", layers},
          {"memory_bits", MemoryBits(file.model)},
          {"macs", Macs(file.model)},
          {"metadata", metadata}};
}

}  // namespace steadfast::model
