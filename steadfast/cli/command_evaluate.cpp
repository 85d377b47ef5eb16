#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <optional>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/parallel.h"
#include "steadfast/base/progress.h"
#include "steadfast/campaign/loaded_model.h"
#include "steadfast/campaign/trial.h"
#include "steadfast/cli/commands.h"
#include "steadfast/cli/common.h"
#include "steadfast/engine/class_scores.h"
#include "steadfast/engine/dense.h"
#include "steadfast/memory/fault_law.h"
#include "steadfast/report/text_table.h"
#include "steadfast/store/store.h"

namespace steadfast::cli {
namespace evaluate_command {

using engine::ClassScores;
using nlohmann::json;

struct Options {
  std::filesystem::path model, csv, json, store;
  std::string command;
  campaign::DataChoice data;
  std::string fault, encoding = "twos";
  MemoryOptions memory;
  double rate = 1e-2;
  int64_t trials = 20;
  uint64_t seed = 1;
  int threads = 0;
};

ClassScores ScoresOf(engine::DenseEngine& engine, const engine::EvaluationSet& set, int64_t classes) {
  ClassScores scores(classes);
  scores.Add(engine.Run(set.images), set.labels);
  return scores;
}

std::string WhereOf(const Options& options) {
  return memory::NameOf(MemoriesOf(options.memory, {memory::ParseFaultModel(options.fault)}).where);
}

// All trials together: the faults that `inject` meets at this rate and seed.
ClassScores UnderFaults(const Options& options, const model::QuantizedModel& model, const engine::EvaluationSet& set,
                        const Cancellation& cancellation) {
  const memory::FaultModel fault = memory::ParseFaultModel(options.fault);
  const Memories memories = MemoriesOf(options.memory, {fault});
  const memory::Encoding encoding = memory::ParseEncoding(memories.EncodingsOr(options.encoding));
  const memory::MemoryImage image =
      memory::ImageOn(memories.chip, model, {encoding, memories.word_bits}, memories.where);
  memory::CheckFaultModel(image, fault);
  const campaign::FaultSources sources{{fault}};
  campaign::TrialContext context;
  context.seed = options.seed;
  const auto keys = campaign::PlanTrials({fault}, {encoding}, {options.rate}, options.trials);
  const int threads = static_cast<int>(
      std::min<int64_t>(options.threads > 0 ? options.threads : AvailableCores(), static_cast<int64_t>(keys.size())));
  struct Worker {
    engine::DenseEngine engine;
    ClassScores scores;
  };
  std::vector<Worker> workers;
  const engine::DenseEngine first(model);
  for (int w = 0; w < threads; ++w) workers.push_back({engine::DenseEngine(first), ClassScores(model.classes())});
  ProgressLine line;
  std::atomic<int64_t> done = 0;
  ParallelFor(
      threads, static_cast<int64_t>(keys.size()),
      [&](int w, int64_t trial) {
        Worker& worker = workers[static_cast<size_t>(w)];
        const campaign::Effect effect =
            campaign::EffectOfTrial(context, keys[static_cast<size_t>(trial)], image, sources, model);
        model::QuantizedModel broken = model;
        Apply(effect.change, broken);
        worker.engine.SetParameters(broken);
        worker.engine.SetValueFaults(std::make_shared<const model::ValueFaults>(effect.values));
        worker.engine.SetImageFaults(effect.of_images, broken);
        worker.scores += ScoresOf(worker.engine, set, model.classes());
        const int64_t finished = ++done;
        if (w == 0) line.Update(fmt::format("{}/{} trials", finished, keys.size()));
      },
      &cancellation);
  line.Finish();
  ClassScores all(model.classes());
  for (const Worker& worker : workers) all += worker.scores;
  return all;
}

// The class, other than itself, that images of a class are most often taken for; nothing where none is.
std::optional<int64_t> MostOftenTakenFor(const ClassScores& scores, int64_t label) {
  std::optional<int64_t> most;
  for (int64_t p = 0; p < scores.classes(); ++p) {
    if (p != label && scores.count(label, p) > (most ? scores.count(label, *most) : 0)) most = p;
  }
  return most;
}

json ToJson(const ClassScores& scores) {
  json classes = json::array(), confusion = json::array();
  for (int64_t c = 0; c < scores.classes(); ++c) {
    classes.push_back({{"class", c},
                       {"images", scores.images_of(c)},
                       {"recall", scores.recall(c)},
                       {"precision", scores.precision(c)},
                       {"f1", scores.f1(c)}});
    json row = json::array();
    for (int64_t p = 0; p < scores.classes(); ++p) row.push_back(scores.count(c, p));
    confusion.push_back(std::move(row));
  }
  return {{"images", scores.images()},
          {"accuracy", scores.accuracy()},
          {"top_five", scores.top_five()},
          {"macro_f1", scores.macro_f1()},
          {"classes", classes},
          {"confusion", confusion}};
}

std::string SummaryOf(const ClassScores& scores) {
  return fmt::format("accuracy {} %, top five {} %, macro F1 {:.4f}", report::Percent(scores.accuracy()),
                     report::Percent(scores.top_five()), scores.macro_f1());
}

std::string TextOf(const ClassScores& clean, const ClassScores* broken) {
  std::vector<std::string> headers = {">class",        ">images", ">recall, %",
                                      ">precision, %", ">F1",     ">most often taken for"};
  if (broken != nullptr) headers.insert(headers.end(), {">recall under faults, %", ">minus clean", ">then taken for"});
  report::TextTable table(headers);
  std::vector<int64_t> order(static_cast<size_t>(clean.classes()));
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto drop = [&](int64_t c) { return broken->recall(c) - clean.recall(c); };
  // Which classes break first.
  if (broken != nullptr)
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return drop(a) < drop(b); });
  const auto name = [](std::optional<int64_t> c) { return c ? std::to_string(*c) : std::string("-"); };
  for (const int64_t c : order) {
    if (clean.images_of(c) == 0) continue;
    std::vector<std::string> cells = {std::to_string(c),
                                      std::to_string(clean.images_of(c)),
                                      report::Percent(clean.recall(c)),
                                      report::Percent(clean.precision(c)),
                                      fmt::format("{:.4f}", clean.f1(c)),
                                      name(MostOftenTakenFor(clean, c))};
    if (broken != nullptr) {
      cells.push_back(report::Percent(broken->recall(c)));
      cells.push_back(fmt::format("{:+.2f}", 100 * drop(c)));
      cells.push_back(name(MostOftenTakenFor(*broken, c)));
    }
    table.AddRow(cells);
  }
  return table.Text();
}

// One row a cell of the confusion matrix that holds any image.
std::string ToCsv(const ClassScores& clean, const ClassScores* broken) {
  std::string csv = "memory,label,prediction,count\n";
  const auto add = [&](const char* memory, const ClassScores& scores) {
    for (int64_t label = 0; label < scores.classes(); ++label) {
      for (int64_t p = 0; p < scores.classes(); ++p) {
        if (scores.count(label, p) > 0) csv += fmt::format("{},{},{},{}\n", memory, label, p, scores.count(label, p));
      }
    }
  };
  add("whole", clean);
  if (broken != nullptr) add("faulty", *broken);
  return csv;
}

// For reports.
void Keep(const Options& options, const model::ModelFile& file, data::Elements elements, const ClassScores& clean,
          const ClassScores& broken, const Cancellation& cancellation) {
  json classes = json::array();
  for (int64_t c = 0; c < clean.classes(); ++c) {
    if (clean.images_of(c) == 0) continue;
    classes.push_back({{"class", c},
                       {"images", clean.images_of(c)},
                       {"recall", clean.recall(c)},
                       {"faulty_recall", broken.recall(c)},
                       {"taken_for", MostOftenTakenFor(clean, c).value_or(-1)},
                       {"faulty_taken_for", MostOftenTakenFor(broken, c).value_or(-1)}});
  }
  store::Store store = store::Store::Create(options.store);
  const int64_t model =
      campaign::ModelInStore(store, file, campaign::LabelsOf({options.model})[0], options.data, &cancellation).id;
  const int64_t run = store.BeginRun(options.command, {});
  store.SetClasses(run, model,
                   {{"fault", options.fault},
                    {"rate", options.rate},
                    {"trials", options.trials},
                    {"encoding", options.encoding},
                    {"seed", options.seed},
                    {"where", WhereOf(options)},
                    {"images", options.data.images},
                    {"input", campaign::NameOf(options.data.input, file.model, elements)},
                    {"classes", classes}});
  store.FinishRun(run);
}

void Run(const Options& options, const Cancellation& cancellation) {
  CheckDistinct({{"--json", options.json},
                 {"--csv", options.csv},
                 {"--store", options.store},
                 {"the model " + options.model.string(), options.model}});
  if (!options.store.empty() && options.fault.empty())
    throw UsageError("--store keeps which classes break first: say by which faults, with --fault");
  if (options.trials < 1) throw UsageError("--trials must be at least 1");
  if (!(options.rate >= 0 && options.rate <= 1)) throw UsageError("--rate must be from 0 to 1");
  const model::ModelFile file = model::ReadModelFile(options.model, options.data.reading);
  const campaign::TestData data = campaign::LoadTestData(file, options.data);
  const auto set = campaign::EvaluationSetOf(file.model, data.images, options.data.input);
  constexpr int64_t kMostClasses = 8192;
  if (file.model.classes() > kMostClasses)
    throw UsageError(fmt::format("{} classes, and a confusion matrix of more than {} is not made", file.model.classes(),
                                 kMostClasses));
  engine::DenseEngine engine(file.model);
  const ClassScores clean = ScoresOf(engine, set, file.model.classes());
  std::optional<ClassScores> broken;
  if (!options.fault.empty()) broken = UnderFaults(options, file.model, set, cancellation);
  if (!options.csv.empty()) WriteFileWhole(options.csv, ToCsv(clean, broken ? &*broken : nullptr));
  if (!options.json.empty()) {
    json document = {{"model", options.model.string()}, {"dataset", data.dataset}, {"clean", ToJson(clean)}};
    if (broken) {
      document["faulty"] = ToJson(*broken);
      document["faults"] = {{"fault", options.fault},   {"encoding", options.encoding}, {"rate", options.rate},
                            {"trials", options.trials}, {"seed", options.seed},         {"where", WhereOf(options)}};
    }
    WriteJson(options.json, document);
  }
  if (broken && !options.store.empty()) Keep(options, file, data.images.elements, clean, *broken, cancellation);
  if (IsStandardOutput(options.json)) return;
  fmt::print("{}: {}, {} images\n{}\n", report::Printable(options.model.string()), data.dataset, clean.images(),
             SummaryOf(clean));
  if (broken)
    fmt::print("under {} at {:g}, all of {} trials: {}\n", options.fault, options.rate, options.trials,
               SummaryOf(*broken));
  fmt::print("\n{}", TextOf(clean, broken ? &*broken : nullptr));
}

}  // namespace evaluate_command

void AddEvaluateCommand(CLI::App& app, Chosen& chosen) {
  using namespace evaluate_command;
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "evaluate", "Accuracy, top five, F1 and confusions class by class; which classes faults break first");
  command->add_option("model", options->model, "Model file (ONNX, TFLite)")->required()->type_name("MODEL");
  command->add_option("--fault", options->fault, FaultHelp("Break the memory too (default: not), with one of"));
  command->add_option("--rate", options->rate, "Faults per bit")->capture_default_str();
  command->add_option("--trials", options->trials, "Trials, whose images count together")->capture_default_str();
  AddSeedOption(*command, options->seed, "Seed of the faults, as inject has it");
  command->add_option("--encoding", options->encoding, "How codes are stored: twos, sign, offset, gray")
      ->capture_default_str();
  AddMemoryOptions(*command, options->memory);
  AddDataOptions(*command, options->data);
  AddThreadsOption(*command, options->threads);
  command->add_option("--csv", options->csv, "Write the confusion matrices, one row a cell")->type_name("FILE");
  AddJsonOption(*command, options->json, "Write all");
  command->add_option("--store", options->store, "SQLite file that keeps which classes break first, for reports")
      ->type_name("FILE");
  command->footer("Example: steadfast evaluate model.onnx --fault flip --rate 3e-2 --trials 50");
  command->callback([options, &chosen] {
    options->command = chosen.command;
    chosen.run = [options](const Cancellation& cancellation) { Run(*options, cancellation); };
  });
}

}  // namespace steadfast::cli
