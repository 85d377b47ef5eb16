#include <fmt/format.h>

#include <cmath>
#include <map>
#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/network/fusion.h"
#include "steadfast/network/input_folding.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace inspect_command {

using nlohmann::json;

struct Options {
  std::filesystem::path model;
  std::filesystem::path json;
};

std::string ShapeText(const model::ValueShape& shape) {
  return shape.flat ? fmt::format("{}", shape.channels)
                    : fmt::format("{} x {} x {}", shape.channels, shape.height, shape.width);
}

// Everything stored, by what it is for.
std::string StoredText(const model::QuantizedModel& model) {
  std::map<std::string, int64_t> bits;
  for (const auto& parameter : model.parameters)
    bits[std::string(model::NameOf(parameter.role))] += parameter.elements() * parameter.format.bits();
  std::vector<std::string> texts;
  for (const auto& [role, count] : bits) texts.push_back(fmt::format("{} {}", role, count));
  return fmt::format("{}", fmt::join(texts, ", "));
}

json ToJson(const model::ModelFile& file) {
  json parameters = json::array();
  for (const auto& p : file.model.parameters) {
    parameters.push_back(
        {{"name", p.name}, {"role", model::NameOf(p.role)}, {"shape", p.shape}, {"format", model::NameOf(p.format)}});
  }
  json layers = json::array();
  for (const auto& l : model::Summarize(file.model)) {
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
    const json parsed = model::ParseBoundedJson(value);
    metadata[key] = parsed.is_null() ? json(value) : parsed;
  }
  return {{"file", file.path.string()},
          {"sha256", file.sha256},
          {"name", file.model.name},
          {"reading", file.model.reading},
          {"real_input", file.model.real_input},
          {"parameters", parameters},
          {"layers", layers},
          {"memory_bits", model::MemoryBits(file.model)},
          {"macs", model::Macs(file.model)},
          {"metadata", metadata}};
}

void Print(const model::ModelFile& file) {
  fmt::print("{}: {}\nSHA-256 {}\n", file.path.string(), report::Printable(file.model.name), file.sha256);
  const model::Value& input = file.model.values[0];
  fmt::print("input {}: 8-bit codes, scale {:.6g}, zero point {}\n\n", ShapeText(input.shape), input.coding->scale,
             input.coding->zero_point);
  report::TextTable table({"layer", "kind", "output", "weights", ">W bits", ">W scale", ">A bits", ">A scale", ">MACs",
                           ">memory bits", ">zero activations"});
  for (const auto& l : model::Summarize(file.model)) {
    const bool weighted = l.weight_bits > 0;
    const std::string scale = !weighted                    ? ""
                              : l.weight_scale.size() == 1 ? fmt::format("{:.5g}", l.weight_scale[0])
                                                           : fmt::format("{} scales", l.weight_scale.size());
    table.AddRow({l.name, l.kind, ShapeText(l.output), fmt::format("{}", fmt::join(l.weight_shape, " x ")),
                  weighted ? fmt::format("{}", l.weight_bits) : "", scale,
                  l.activation_bits > 0 ? fmt::format("{}", l.activation_bits) : "real",
                  l.activation_bits > 0 ? fmt::format("{:.5g}", l.activation_scale) : "",
                  weighted ? fmt::format("{}", l.macs) : "", weighted ? fmt::format("{}", l.memory_bits) : "",
                  l.zero_share ? fmt::format("{:.1f} %", 100 * *l.zero_share) : ""});
  }
  fmt::print("{}\n{} bits of weight memory, {} multiply-accumulates an image\n", table.Text(),
             model::MemoryBits(file.model), model::Macs(file.model));
  fmt::print("stored bits by role: {}\n", StoredText(file.model));
  if (file.model.real_input) fmt::print("takes real numbers; bytes enter as pixel/255 where nothing else is said\n");
  if (file.model.reading > 1)
    fmt::print("reading {}: earlier versions read this file wrongly (docs/formats.md)\n", file.model.reading);
  for (const auto& [key, value] : file.model.metadata) {
    fmt::print("{}: {}\n", report::Printable(key),
               value.size() > 300 ? report::Printable(value.substr(0, 300)) + "… (--json - shows all)"
                                  : report::Printable(value));
  }
}

// A float network: its nodes, and what quantization makes of them.
struct FloatFile {
  std::filesystem::path path;
  std::string sha256;
  network::FloatGraph graph;
  std::map<int, std::string> ends;  // [node]: the step that ends with it
  std::string refusal;              // why it has no form on integer codes; empty: it has one
};

FloatFile ReadFloat(const std::filesystem::path& path, const std::vector<uint8_t>& bytes) {
  FloatFile file{path, Sha256(bytes), network::FloatGraphOf(bytes, path.string(), path.parent_path()), {}, ""};
  try {
    network::FloatGraph folded = file.graph;
    network::FoldInput(folded, network::NormalizationOf(folded), {1, 0});
    for (const network::FusedStep& step : network::Fuse(folded)) {
      for (size_t n = 0; n < file.graph.nodes.size(); ++n) {
        if (file.graph.nodes[n].output == step.output) file.ends[static_cast<int>(n)] = step.name;
      }
    }
  } catch (const InputError& error) {
    file.refusal = error.what();
  }
  return file;
}

json ToJson(const FloatFile& file) {
  json nodes = json::array();
  for (const network::FloatNode& node : file.graph.nodes) {
    const int weight = network::WeightOf(node);
    const auto& shape = file.graph.value(node.output).shape;
    nodes.push_back({{"name", node.name},
                     {"kind", network::KindOf(node)},
                     {"output_shape", {shape.channels, shape.height, shape.width}},
                     {"weight_shape", weight < 0 ? json() : json(file.graph.parameter(weight).shape)}});
  }
  return {{"file", file.path.string()},
          {"sha256", file.sha256},
          {"is_float", true},
          {"nodes", nodes},
          {"parameters", network::ParameterCount(file.graph)},
          {"macs", network::MacsOf(file.graph)},
          {"refused", file.refusal.empty() ? json() : json(file.refusal)},
          {"metadata", file.graph.metadata}};
}

void Print(const FloatFile& file) {
  fmt::print("{}: a float network\nSHA-256 {}\ninput {}\n\n", file.path.string(), file.sha256,
             ShapeText(file.graph.values[0].shape));
  report::TextTable table({"node", "kind", "output", "weights", "quantized as"});
  for (size_t n = 0; n < file.graph.nodes.size(); ++n) {
    const network::FloatNode& node = file.graph.nodes[n];
    const int weight = network::WeightOf(node);
    const auto end = file.ends.find(static_cast<int>(n));
    table.AddRow({node.name, network::KindOf(node), ShapeText(file.graph.value(node.output).shape),
                  weight < 0 ? "" : fmt::format("{}", fmt::join(file.graph.parameter(weight).shape, " x ")),
                  end == file.ends.end() ? "" : end->second});
  }
  fmt::print("{}\n{} parameters, {} multiply-accumulates an image\n", table.Text(), network::ParameterCount(file.graph),
             network::MacsOf(file.graph));
  if (!file.refusal.empty()) fmt::print("cannot be quantized here: {}\n", file.refusal);
  fmt::print("next: steadfast quantize {} --dataset …, or steadfast train {} …\n", file.path.string(),
             file.path.string());
}

}  // namespace inspect_command

void AddInspectCommand(CLI::App& app, Chosen& chosen) {
  using namespace inspect_command;
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "inspect",
      "What a model file holds: layers, widths, scales, memory, metadata; of a float network, what is to become of it");
  command->add_option("model", options->model, "An ONNX model file")->required()->type_name("MODEL");
  AddJsonOption(*command, options->json, "Write all that the file holds");
  command->footer("Example: steadfast inspect model.onnx");
  command->callback([options, &chosen] {
    chosen.run = [options](const Cancellation&) {
      const std::vector<uint8_t> bytes = ReadFile(options->model, uint64_t{1} << 31);
      if (network::IsFloatOnnx(bytes)) {
        const FloatFile file = ReadFloat(options->model, bytes);
        CheckDistinct({{"--json", options->json}, {"the model " + options->model.string(), options->model}});
        WriteJson(options->json, ToJson(file));
        if (!IsStandardOutput(options->json)) Print(file);
        return;
      }
      const model::ModelFile file = model::ReadModelFile(options->model);
      CheckDistinct({{"--json", options->json}, {"the model " + options->model.string(), options->model}});
      WriteJson(options->json, ToJson(file));
      if (!IsStandardOutput(options->json)) Print(file);
    };
  });
}

}  // namespace steadfast::cli
