#include <fmt/format.h>

#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/memory/memory_image.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/report/text_table.h"
#include "steadfast/statistics/sample_size.h"

namespace steadfast::cli {
namespace samples_command {

using nlohmann::json;

struct Options {
  std::filesystem::path model, json;
  MemoryOptions memory;
  model::Reading reading;
  double margin = 1, confidence = 0.95, share = 50;  // in points and percent where not confidence
};

void Run(const Options& options) {
  CheckDistinct({{"the model", options.model}, {"--json", options.json}});
  const model::ModelFile file = model::ReadModelFile(options.model, options.reading);
  const Memories memories = MemoriesOf(options.memory, {});
  const memory::MemoryImage image =
      memory::ImageOn(memories.chip, file.model, {.word_bits = memories.word_bits}, memories.where);
  for (const memory::MemoryArray& array : image.arrays()) {
    if (!array.filters.empty())
      throw UsageError("--where: samples are of whole parameters; leave out what stands in brackets");
  }
  const auto size = [&](int64_t bits) {
    return statistics::SampleSize(bits, options.margin / 100, options.confidence, options.share / 100);
  };
  report::TextTable table({"parameter", ">bits", ">faults to draw", ">of each bit position", ">all positions"});
  json arrays = json::array();
  int64_t of_arrays = 0, of_positions = 0;
  for (const memory::MemoryArray& array : image.arrays()) {
    const int64_t each = size(array.elements()), all = each * array.bits();
    of_arrays += size(array.cells());
    of_positions += all;
    table.AddRow({array.name, fmt::format("{}", array.cells()), fmt::format("{}", size(array.cells())),
                  fmt::format("{}", each), fmt::format("{}", all)});
    arrays.push_back({{"parameter", array.name},
                      {"bits", array.cells()},
                      {"bits_of_an_element", array.bits()},
                      {"faults", size(array.cells())},
                      {"faults_of_each_bit_position", each}});
  }
  WriteJson(options.json, {{"schema", 1},
                           {"margin", options.margin / 100},
                           {"confidence", options.confidence},
                           {"share", options.share / 100},
                           {"bits", image.cells()},
                           {"faults", size(image.cells())},
                           {"arrays", arrays}});
  if (IsStandardOutput(options.json)) return;
  fmt::print(
      "{}: {} bits that can fail. To estimate which share of single faults has an effect within {:g} points, with "
      "{:g} % confidence:\n\n{}\n",
      report::Printable(options.model.string()), image.cells(), options.margin, 100 * options.confidence, table.Text());
  fmt::print("{} faults for the network as a whole, {} for each parameter, {} for each bit position of each.\n",
             size(image.cells()), of_arrays, of_positions);
  fmt::print(
      "Assumed (Leveugle et al., DATE 2009): each fault is as likely as any other and drawn at most once; it has an "
      "effect or has none;\nshares are about {:g} % (50 is the worst case), not near 0 or 100, where the normal law "
      "does not hold.\n`steadfast sweep --faults N` draws so many, and says what follows with intervals of its "
      "own.\n",
      options.share);
}

}  // namespace samples_command

void AddSamplesCommand(CLI::App& app, Chosen& chosen) {
  using namespace samples_command;
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("samples", "How many single faults to draw: by network, parameter and bit position");
  command->add_option("model", options->model, "Model file (ONNX, TFLite)")->required()->type_name("MODEL");
  command->add_option("--margin", options->margin, "How near the share shall be, in points")->capture_default_str();
  command->add_option("--confidence", options->confidence, "Of each sample by itself")->capture_default_str();
  command->add_option("--share", options->share, "What share of faults is expected to have an effect, in percent")
      ->capture_default_str();
  AddMemoryOptions(*command, options->memory);
  AddReadingOptions(*command, options->reading);
  AddJsonOption(*command, options->json, "Write the numbers");
  command->footer("Example: steadfast samples model.onnx --margin 1 --confidence 0.95");
  command->callback([options, &chosen] { chosen.run = [options](const Cancellation&) { Run(*options); }; });
}

}  // namespace steadfast::cli
