#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <map>
#include <memory>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/campaign/loaded_model.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/engine/dense.h"
#include "steadfast/engine/zero_skipping.h"
#include "steadfast/report/text_table.h"

namespace steadfast::cli {
namespace latency_command {

using nlohmann::json;

struct Options {
  std::filesystem::path model, json, store;
  std::string command;
  campaign::DataChoice data;
  engine::ZeroSkippingMachine machine;
  std::string instruction_set = std::string(engine::NameOf(engine::BestInstructionSet()));
};

struct LayerLatency {
  std::string name;
  double dense_ns = 0, sparse_ns = 0, empty_ns = 0;  // per image, measured; below 0: there is no such path
  engine::ZeroSkippingCycles cycles;                 // of all images

  bool has_sparse() const { return sparse_ns >= 0; }
  double skipped_share() const { return static_cast<double>(cycles.skipped) / static_cast<double>(cycles.products); }
  // The share of zeros at which the sparse path would be as fast as the dense one. Its time is taken to be the time for
  // nothing but zeros, plus a part proportional to the products that are left. Above 1: never as fast.
  double break_even() const {
    const double of_products = (sparse_ns - empty_ns) / (1.0 - skipped_share());
    return 1.0 - (dense_ns - empty_ns) / of_products;
  }
};

// Cycles of every operator that multiplies, from the zero patterns of the images.
std::map<std::string, engine::ZeroSkippingCycles> CyclesOf(const model::QuantizedModel& model,
                                                           const engine::PreparedImages& images,
                                                           const engine::ZeroSkippingMachine& machine,
                                                           const Cancellation& cancellation) {
  engine::DenseEngine dense(model);
  dense.KeepAllValues(model);
  std::vector<float> logits(static_cast<size_t>(model.classes() * engine::kBlockImages));
  std::map<std::string, engine::ZeroSkippingCycles> cycles;
  for (int64_t block = 0; block < images.blocks(); ++block) {
    cancellation.ThrowIfRequested();
    dense.RunBlock(images, block, logits);
    for (const auto& node : model.nodes) {
      const int input = engine::StreamedInputOf(node);
      if (input < 0) continue;
      const auto rows = input == 0 ? images.block(block) : dense.CodesOf(input);
      std::vector<uint8_t> codes(rows.size() / engine::kBlockImages);
      for (int64_t image = 0; image < images.images_in(block); ++image) {
        for (size_t e = 0; e < codes.size(); ++e)
          codes[e] = rows[e * engine::kBlockImages + static_cast<size_t>(image)];
        cycles[node.name] += engine::CountCycles(model, node, codes, machine);
      }
    }
  }
  return cycles;
}

// Nanoseconds an image of the dense run as it is run, all layers one after the other: the fastest of a few.
double TimeOfDenseRun(engine::DenseEngine& engine, const engine::PreparedImages& images, int64_t classes,
                      const Cancellation& cancellation) {
  std::vector<float> logits(static_cast<size_t>(classes * engine::kBlockImages));
  double least = 1e300;
  for (int round = 0; round < 3; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t block = 0; block < images.blocks(); ++block) {
      cancellation.ThrowIfRequested();
      engine.RunBlock(images, block, logits);
    }
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    least = std::min(least, elapsed.count());
  }
  return least / static_cast<double>(images.images());
}

std::string BreakEvenText(const LayerLatency& layer) {
  if (layer.name == "all" || !layer.has_sparse()) return "";
  return layer.break_even() <= 1.0 ? fmt::format("{:.1f}", layer.break_even() * 100) : "never";
}

double Ratio(double a, double b) {
  return b > 0 ? a / b : std::nan("");
}

// Null where there is nothing to tell: no sparse path, or no products.
json ToJson(const LayerLatency& layer, int64_t images) {
  const bool has_products = layer.cycles.products > 0, breaks_even = layer.has_sparse() && layer.break_even() <= 1.0;
  const auto of_sparse = [&](double number) { return layer.has_sparse() ? json(number) : json(); };
  const auto of_products = [&](double number) { return has_products ? json(number) : json(); };
  return {{"layer", layer.name},
          {"dense_ns_per_image", layer.dense_ns},
          {"sparse_ns_per_image", of_sparse(layer.sparse_ns)},
          {"products_per_image", static_cast<double>(layer.cycles.products) / static_cast<double>(images)},
          {"skipped_share", of_products(layer.skipped_share())},
          {"sparse_speedup", of_sparse(Ratio(layer.dense_ns, layer.sparse_ns))},
          {"sparse_ns_on_zeros", of_sparse(layer.empty_ns)},
          {"break_even_zero_share", breaks_even ? json(layer.break_even()) : json()},
          {"accelerator_cycles_plain", static_cast<double>(layer.cycles.plain) / static_cast<double>(images)},
          {"accelerator_cycles_skipping", static_cast<double>(layer.cycles.skipping) / static_cast<double>(images)},
          {"accelerator_speedup",
           of_products(Ratio(static_cast<double>(layer.cycles.plain), static_cast<double>(layer.cycles.skipping)))}};
}

void Run(const Options& options, const Cancellation& cancellation) {
  CheckDistinct(
      {{"--json", options.json}, {"--store", options.store}, {"the model " + options.model.string(), options.model}});
  if (options.machine.lanes < 1 || options.machine.filters < 1 || options.machine.brick < 1)
    throw UsageError("--lanes, --filters and --brick must be at least 1");
  const engine::InstructionSet instruction_set = engine::ParseInstructionSet(options.instruction_set);
  const model::ModelFile file = model::ReadModelFile(options.model, options.data.reading);
  const campaign::TestData data = campaign::LoadTestData(file, options.data);
  const auto set = campaign::EvaluationSetOf(file.model, data.images, options.data.input);
  const auto cycles = CyclesOf(file.model, set.images, options.machine, cancellation);
  engine::DenseEngine engine(file.model, instruction_set);
  const double dense_run_ns = TimeOfDenseRun(engine, set.images, file.model.classes(), cancellation);
  std::vector<LayerLatency> layers;
  LayerLatency total{"all", 0, 0, 0, {}};
  double best_ns = 0;
  for (const auto& step : engine.ChoosePaths(set.images)) {
    const auto found = cycles.find(step.name);
    best_ns += step.sparse_ns >= 0 ? std::min(step.dense_ns, step.sparse_ns) : step.dense_ns;
    layers.push_back({step.name, step.dense_ns, step.sparse_ns, step.empty_ns,
                      found == cycles.end() ? engine::ZeroSkippingCycles{} : found->second});
    total.dense_ns += step.dense_ns;
    total.sparse_ns += step.sparse_ns >= 0 ? step.sparse_ns : step.dense_ns;
    total.cycles += layers.back().cycles;
  }
  layers.push_back(total);
  std::vector<float> logits(static_cast<size_t>(file.model.classes() * engine::kBlockImages));
  engine.RunBlock(set.images, 0, logits);
  const engine::DenseEngine::Held held = engine.held();
  const int64_t images = data.images.size();
  report::TextTable table({"layer", ">products", ">skipped %", ">dense ns", ">sparse ns", ">speed-up",
                           ">breaks even at % zeros", ">cycles", ">skipping", ">speed-up"});
  json rows = json::array();
  for (const auto& layer : layers) {
    const auto n = static_cast<double>(images), plain = static_cast<double>(layer.cycles.plain),
               skipping = static_cast<double>(layer.cycles.skipping);
    const auto sparse = [&](const char* format, double x) {
      return layer.has_sparse() ? fmt::format(fmt::runtime(format), x) : std::string();
    };
    const auto product = [&](const char* format, double x) {
      return layer.cycles.products > 0 ? fmt::format(fmt::runtime(format), x) : std::string();
    };
    table.AddRow({layer.name, product("{:.0f}", static_cast<double>(layer.cycles.products) / n),
                  product("{:.1f}", layer.skipped_share() * 100), fmt::format("{:.0f}", layer.dense_ns),
                  sparse("{:.0f}", layer.sparse_ns), sparse("{:.2f}", Ratio(layer.dense_ns, layer.sparse_ns)),
                  BreakEvenText(layer), product("{:.1f}", plain / n), product("{:.1f}", skipping / n),
                  product("{:.2f}", Ratio(plain, skipping))});
    rows.push_back(ToJson(layer, images));
  }
  if (!IsStandardOutput(options.json)) {
    fmt::print("{}: {} images, one thread, {}; per image\n", report::Printable(file.path.stem().string()), images,
               engine::NameOf(instruction_set));
    fmt::print("accelerator: {} lanes, {} filters side by side, bricks of {}\n\n{}\n", options.machine.lanes,
               options.machine.filters, options.machine.brick, table.Text());
    fmt::print("All layers one by one, the faster path for each: {:.0f} ns; the whole network as it is run,\n",
               best_ns);
    fmt::print("dense everywhere: {:.0f} ns\n", dense_run_ns);
    fmt::print("A thread holds {} KiB of values and {} KiB of packed weights.\n", held.values >> 10,
               held.weights >> 10);
  }
  const json document = {
      {"schema", 1},
      {"file", file.path.string()},
      {"sha256", file.sha256.substr(0, file.sha256.find(':'))},
      {"profile", model::NameOf(file.model.profile)},
      {"images", images},
      {"input", campaign::NameOf(options.data.input, file.model, data.images.elements)},
      {"instruction_set", engine::NameOf(instruction_set)},
      {"accelerator",
       {{"lanes", options.machine.lanes}, {"filters", options.machine.filters}, {"brick", options.machine.brick}}},
      {"layers", rows},
      {"best_ns_per_image", best_ns},
      {"dense_ns_per_image", dense_run_ns},
      {"bytes_of_values", held.values},
      {"bytes_of_packed_weights", held.weights}};
  WriteJson(options.json, document);
  if (options.store.empty()) return;
  store::Store store = store::Store::Create(options.store);
  campaign::DataChoice all = options.data;
  all.images = 0;  // times need few images; what a store keeps of a model is on all of them
  const int64_t model =
      campaign::ModelInStore(store, file, campaign::LabelsOf({options.model})[0], all, &cancellation).id;
  const int64_t run = store.BeginRun(options.command, {});
  store.SetLatency(run, model, document);
  store.FinishRun(run);
}

}  // namespace latency_command

void AddLatencyCommand(CLI::App& app, Chosen& chosen) {
  using namespace latency_command;
  auto options = std::make_shared<Options>();
  options->data.images = 1000;
  CLI::App* command = app.add_subcommand("latency", "Measure what skipping zero activations saves, layer by layer");
  command->add_option("model", options->model, "Model file (ONNX, TFLite)")->required()->type_name("MODEL");
  command->add_option("--lanes", options->machine.lanes, "Lanes of the accelerator model")->capture_default_str();
  command->add_option("--filters", options->machine.filters, "Filters that it computes side by side")
      ->capture_default_str();
  command->add_option("--brick", options->machine.brick, "Neighbouring inputs that go to one lane (Cnvlutin: 16)")
      ->capture_default_str();
  command->add_option("--instruction-set", options->instruction_set,
                      "Measure with these instructions: portable, avx2, avx-vnni, avx512, avx512-vnni, amx-int8, neon, "
                      "neon-dotprod (default: the best)");
  AddDataOptions(*command, options->data);
  AddJsonOption(*command, options->json, "Write the table");
  command->add_option("--store", options->store, "SQLite file that keeps the table, for reports")->type_name("FILE");
  command->footer(
      "Times are of this machine, on one thread; cycles are those of a model of a zero-skipping accelerator\n"
      "(Cnvlutin, Albericio et al., ISCA 2016) on the zero patterns of the images.\n"
      "Example: steadfast latency model.onnx --images 1000");
  command->callback([options, &chosen] {
    options->command = chosen.command;
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
