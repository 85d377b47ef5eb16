#include <fmt/format.h>

#include <cmath>
#include <map>
#include <memory>
#include <optional>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/memory/memory_image.h"
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
  std::string chip;
  model::Reading reading;
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

// Which of a memory's banks an array reaches, and how many of its bits lie in each.
std::map<int64_t, int64_t> BitsByBank(const memory::MemoryImage& image, int array) {
  std::map<int64_t, int64_t> bits;
  for (int64_t cell = 0; cell < image.arrays()[static_cast<size_t>(array)].cells(); ++cell)
    ++bits[image.PhysicalOf({array, cell}).bank];
  return bits;
}

// The map of a chip: what lies in which memory, by role, layer and bank.
struct ChipMap {
  memory::MemoryImage image;
  std::vector<std::map<int64_t, int64_t>> banks;  // [array]: bits in each bank
  std::vector<std::string> elsewhere;             // parameters that no memory holds
};

ChipMap MapOf(const model::QuantizedModel& model, const std::string& chip) {
  ChipMap map{memory::MemoryImage(model, memory::ReadChip(chip), memory::Encoding::kTwosComplement,
                                  memory::ParseWhere("all,activations")),
              {},
              {}};
  std::vector<bool> held(model.parameters.size());
  for (int a = 0; a < static_cast<int>(map.image.arrays().size()); ++a) {
    map.banks.push_back(BitsByBank(map.image, a));
    const int parameter = map.image.arrays()[static_cast<size_t>(a)].parameter;
    if (parameter >= 0) held[static_cast<size_t>(parameter)] = true;
  }
  for (size_t p = 0; p < held.size(); ++p) {
    if (!held[p] && !model.parameters[p].is_fixed) map.elsewhere.push_back(model.parameters[p].name);
  }
  return map;
}

// Bits of a memory by a key of its arrays.
template <typename Key>
std::map<std::string, int64_t> BitsBy(const ChipMap& map, int memory, Key key) {
  std::map<std::string, int64_t> bits;
  for (const memory::MemoryArray& array : map.image.arrays()) {
    if (array.memory == memory) bits[key(array)] += array.cells();
  }
  return bits;
}

std::string RoleOf(const memory::MemoryArray& array) {
  return array.parameter < 0 ? "activation" : std::string(model::NameOf(array.role));
}

json ToJson(const ChipMap& map) {
  json memories = json::array();
  for (int m = 0; m < static_cast<int>(map.image.chip().memories.size()); ++m) {
    const memory::Memory& memory = map.image.chip().memories[static_cast<size_t>(m)];
    json arrays = json::array();
    std::map<int64_t, int64_t> of_bank;
    for (size_t a = 0; a < map.banks.size(); ++a) {
      const memory::MemoryArray& array = map.image.arrays()[a];
      if (array.memory != m) continue;
      json banks = json::array();
      for (const auto& [bank, bits] : map.banks[a]) {
        banks.push_back({{"bank", bank}, {"bits", bits}});
        of_bank[bank] += bits;
      }
      arrays.push_back({{"parameter", array.name},
                        {"role", RoleOf(array)},
                        {"format", model::NameOf(array.format)},
                        {"elements", array.elements()},
                        {"bits", array.cells()},
                        {"first_word", array.first_word},
                        {"banks", banks}});
    }
    json banks = json::array();
    for (const auto& [bank, bits] : of_bank) banks.push_back({{"bank", bank}, {"bits", bits}});
    memories.push_back({{"memory", memory.name},
                        {"word_bits", memory.word_bits},
                        {"cell_bits", memory.cell_bits},
                        {"rows", memory.rows_per_bank},
                        {"columns", memory.columns()},
                        {"words", map.image.WordsOfMemory(m)},
                        {"bits_by_role", BitsBy(map, m, RoleOf)},
                        {"banks", banks},
                        {"parameters", arrays}});
  }
  return {{"chip", map.image.chip().name}, {"memories", memories}, {"in_no_memory", map.elsewhere}};
}

void Print(const ChipMap& map) {
  fmt::print("\nchip {}\n", report::Printable(map.image.chip().name));
  for (int m = 0; m < static_cast<int>(map.image.chip().memories.size()); ++m) {
    const memory::Memory& memory = map.image.chip().memories[static_cast<size_t>(m)];
    const int64_t words = map.image.WordsOfMemory(m), banks = map.image.BanksOf(m);
    fmt::print("\n{}: {} banks of {} rows x {} columns; {} of {} words of {} bits hold something\n",
               report::Printable(memory.name), banks, memory.rows_per_bank, memory.columns(), words,
               banks * memory.words_per_bank(), memory.word_bits);
    report::TextTable table({"parameter", "role", "format", ">elements", ">bits", ">first word", "bits in banks"});
    for (size_t a = 0; a < map.banks.size(); ++a) {
      const memory::MemoryArray& array = map.image.arrays()[a];
      if (array.memory != m) continue;
      std::string in_banks;
      constexpr size_t kShown = 4;
      size_t shown = 0;
      for (const auto& [bank, bits] : map.banks[a]) {
        if (shown++ == kShown) break;
        in_banks += fmt::format("{}{}: {}", in_banks.empty() ? "" : ", ", bank, bits);
      }
      if (map.banks[a].size() > kShown)
        in_banks += fmt::format(", … {} banks to {}", map.banks[a].size(), map.banks[a].rbegin()->first);
      table.AddRow({report::Printable(array.name), RoleOf(array), model::NameOf(array.format),
                    std::to_string(array.elements()), std::to_string(array.cells()), std::to_string(array.first_word),
                    in_banks});
    }
    fmt::print("{}by role:", table.Text());
    for (const auto& [role, bits] : BitsBy(map, m, RoleOf)) fmt::print(" {} {} bits;", role, bits);
    fmt::print("\n");
  }
  if (!map.elsewhere.empty())
    fmt::print("\nin no memory of this chip, so it cannot fail: {}\n",
               report::Printable(fmt::format("{}", fmt::join(map.elsewhere, ", "))));
}

// Names as TFLite's converter makes them, of all that became one operator, by their end.
std::string Shortened(const std::string& name) {
  constexpr size_t kLongest = 48;
  return name.size() <= kLongest ? name : "…" + name.substr(name.size() - kLongest + 1);
}

void Print(const model::ModelFile& file) {
  fmt::print("{}: {}\nSHA-256 {}\n", file.path.string(), report::Printable(file.model.name),
             file.sha256.substr(0, file.sha256.find(':')));
  const model::Value& input = file.model.values[0];
  fmt::print("format {}, arithmetic of {}\n", report::Printable(file.model.format), model::NameOf(file.model.profile));
  fmt::print("input {}: 8-bit codes, scale {:.6g}, zero point {}\n", ShapeText(input.shape), input.coding->scale,
             input.coding->zero_point + input.coding->stored_offset());
  if (!file.model.real_input && input.coding->is_signed) fmt::print("a byte b of an image enters as code b - 128\n");
  fmt::print("\n");
  report::TextTable table({"layer", "kind", "output", "weights", ">W bits", ">W scale", ">A bits", ">A scale", ">MACs",
                           ">memory bits", ">zero activations"});
  for (const auto& l : model::Summarize(file.model)) {
    const bool weighted = l.weight_bits > 0;
    const std::string scale = !weighted                    ? ""
                              : l.weight_scale.size() == 1 ? fmt::format("{:.5g}", l.weight_scale[0])
                                                           : fmt::format("{} scales", l.weight_scale.size());
    table.AddRow({Shortened(l.name), l.kind, ShapeText(l.output), fmt::format("{}", fmt::join(l.weight_shape, " x ")),
                  weighted ? fmt::format("{}", l.weight_bits) : "", scale,
                  l.activation_bits > 0 ? fmt::format("{}", l.activation_bits) : "real",
                  l.activation_bits > 0 ? fmt::format("{:.5g}", l.activation_scale) : "",
                  weighted ? fmt::format("{}", l.macs) : "", weighted ? fmt::format("{}", l.memory_bits) : "",
                  l.zero_share ? fmt::format("{:.1f} %", 100 * *l.zero_share) : ""});
  }
  fmt::print("{}\n{} bits of weight memory, {} multiply-accumulates an image\n", table.Text(),
             model::MemoryBits(file.model), model::Macs(file.model));
  fmt::print("stored bits by role: {}\n", StoredText(file.model));
  if (file.model.needs_input_scaling)
    fmt::print("takes real numbers, and nothing says what bytes are to it: --input-scale, --mean and --std do\n");
  else if (file.model.real_input)
    fmt::print("takes real numbers; bytes enter as pixel/255 where nothing else is said\n");
  for (const std::string& note : file.model.notes) fmt::print("{}\n", report::Printable(note));
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
  command->add_option("model", options->model, "A model file (ONNX, TFLite)")->required()->type_name("MODEL");
  command
      ->add_option(
          "--chip", options->chip,
          "Show what of it lies in which memory and bank of a chip: weights, everything, systolic or a YAML file")
      ->type_name("NAME|FILE");
  AddReadingOptions(*command, options->reading);
  AddJsonOption(*command, options->json, "Write all that the file holds");
  command->footer("Example: steadfast inspect model.onnx");
  command->callback([options, &chosen] {
    chosen.run = [options](const Cancellation&) {
      const std::vector<uint8_t> bytes = ReadFile(options->model, uint64_t{1} << 31);
      if (network::IsFloatOnnx(bytes)) {
        if (!options->chip.empty())
          throw UsageError("--chip: a float network has no stored bits yet; quantize it first");
        const FloatFile file = ReadFloat(options->model, bytes);
        CheckDistinct({{"--json", options->json}, {"the model " + options->model.string(), options->model}});
        WriteJson(options->json, ToJson(file));
        if (!IsStandardOutput(options->json)) Print(file);
        return;
      }
      const model::ModelFile file = model::ReadModelFile(options->model, options->reading);
      CheckDistinct({{"--json", options->json}, {"the model " + options->model.string(), options->model}});
      std::optional<ChipMap> map;
      if (!options->chip.empty()) map = MapOf(file.model, options->chip);
      json document = model::InspectionOf(file);
      if (map) document["chip"] = ToJson(*map);
      WriteJson(options->json, document);
      if (IsStandardOutput(options->json)) return;
      Print(file);
      if (map) Print(*map);
    };
  });
}

}  // namespace steadfast::cli
