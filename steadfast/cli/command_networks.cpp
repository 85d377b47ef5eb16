#include <fmt/format.h>

#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/network/fusion.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace networks_command {

using nlohmann::json;

struct Options {
  std::string network, input;
  int classes = 0;
  bool force = false;
  std::filesystem::path output, json;
};

// "3x32x32".
network::ValueShape ParseShape(const std::string& text) {
  const auto parts = Split(text, 'x');
  if (parts.size() != 3) throw UsageError(fmt::format("--input: '{}', expected CHANNELSxROWSxCOLUMNS: 3x32x32", text));
  const auto size = [&](size_t i) { return ParseInt(parts[i], "--input", 1, 4096); };
  return {size(0), size(1), size(2)};
}

std::string ShapeText(const network::ValueShape& shape) {
  return fmt::format("{}x{}x{}", shape.channels, shape.height, shape.width);
}

network::FloatGraph Make(const Options& options, const network::BuiltIn& known, const std::string& text) {
  return network::MakeBuiltIn(text, options.input.empty() ? known.input : ParseShape(options.input),
                              options.classes > 0 ? options.classes : known.classes);
}

json ToJson(const network::FloatGraph& graph, const network::BuiltIn& known) {
  return {{"name", graph.name},
          {"description", known.description},
          {"input", ShapeText(graph.values[0].shape)},
          {"classes", graph.classes()},
          {"parameters", network::ParameterCount(graph)},
          {"macs", network::MacsOf(graph)},
          {"layers", network::LayerNames(graph)}};
}

void PrintAll(const std::vector<json>& all) {
  report::TextTable table({"network", "input", ">classes", ">parameters", ">MACs", ""});
  for (const json& one : all) {
    table.AddRow({one["name"], one["input"], one["classes"].dump(), one["parameters"].dump(), one["macs"].dump(),
                  one["description"]});
  }
  fmt::print("{}", table.Text());
}

void Run(const Options& options) {
  const bool one = !options.network.empty();
  if (!one && !options.output.empty())
    throw UsageError("-o: name the network to write: steadfast networks resnet20 -o resnet20.onnx");
  if (one && !network::IsBuiltIn(options.network))
    network::MakeBuiltIn(options.network, {}, 10);  // says which there are
  CheckDistinct({{"--output", options.output},
                 {"--json", IsStandardOutput(options.json) ? std::filesystem::path() : options.json}});
  if (!options.force && std::filesystem::exists(options.output))
    throw UsageError(
        fmt::format("{} is there; name another file, or overwrite it with --force", options.output.string()));
  std::vector<json> all;
  for (const network::BuiltIn& known : network::BuiltIns()) {
    if (one && options.network.substr(0, options.network.find(':')) != known.name) continue;
    const network::FloatGraph graph = Make(options, known, one ? options.network : known.name);
    all.push_back(ToJson(graph, known));
    if (one && !options.output.empty()) WriteFileWhole(options.output, network::ToFloatOnnx(graph));
  }
  WriteJson(options.json, one ? all[0] : json(all));
  if (IsStandardOutput(options.json)) return;
  PrintAll(all);
  if (one) fmt::print("layers: {}\n", fmt::join(all[0]["layers"].get<std::vector<std::string>>(), ", "));
}

}  // namespace networks_command

void AddNetworksCommand(CLI::App& app, Chosen& chosen) {
  using namespace networks_command;
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("networks", "The built-in networks: sizes, layers, and their float graphs");
  command->add_option("network", options->network, "One of them: its layers too");
  command->add_option("-o,--output", options->output, "Write its float graph, without trained values, as ONNX")
      ->type_name("FILE");
  command->add_option("--input", options->input, "For images of another size: CHANNELSxROWSxCOLUMNS");
  command->add_option("--classes", options->classes, "For another number of classes")->check(CLI::Range(2, 65536));
  command->add_flag("--force", options->force, "Overwrite the output");
  AddJsonOption(*command, options->json, "Write the same");
  command->footer("Example: steadfast networks resnet20 -o resnet20.onnx");
  command->callback([options, &chosen] { chosen.run = [options](const Cancellation&) { Run(*options); }; });
}

}  // namespace steadfast::cli
