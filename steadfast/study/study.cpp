#include "steadfast/study/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/machine.h"
#include "steadfast/base/parallel.h"
#include "steadfast/base/progress.h"
#include "steadfast/base/text.h"
#include "steadfast/campaign/campaign.h"
#include "steadfast/campaign/sweep.h"
#include "steadfast/data/dataset.h"
#include "steadfast/model/inspect.h"
#include "steadfast/model/onnx_file.h"
#include "steadfast/network/built_in.h"
#include "steadfast/network/find.h"
#include "steadfast/network/float_onnx.h"
#include "steadfast/report/campaign_report.h"
#include "steadfast/report/evidence.h"
#include "steadfast/report/page.h"
#include "steadfast/report/sharpness_report.h"
#include "steadfast/report/text_table.h"
#include "steadfast/report/tie.h"
#include "steadfast/statistics/summary.h"
#include "steadfast/study/sharpness_run.h"
#include "steadfast/study/train_program.h"

namespace steadfast::study {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct TrainStep {
  recipe::Recipe recipe;
  fs::path model;
  std::string label;
};

recipe::Recipe RecipeAt(const NamedRecipe& named, const Width& width, uint64_t seed) {
  recipe::Recipe recipe = named.recipe;
  if (recipe.quantizer != recipe::Quantizer::kFloat) {
    recipe.weight_bits = width.weight_bits;
    recipe.activation_bits = width.activation_bits;
  }
  recipe.seed = seed;
  recipe.threads = 1;  // so that models do not depend on the machine's load
  recipe::Validate(recipe);
  return recipe;
}

// For file names: a file's stem, and "mobilenetv2-0.5".
std::string NetworkName(const recipe::Recipe& recipe) {
  std::string name = network::ShortName(recipe.network);
  std::replace(name.begin(), name.end(), ':', '-');
  return name;
}

std::string WidthName(const Width& width) {
  return fmt::format("w{}a{}", width.weight_bits, width.activation_bits);
}

class StudyRunner {
 public:
  StudyRunner(const Study& study, const StudyOptions& options) : study_(study), options_(options) {
    output_ = options.output.empty() ? study.output : options.output;
    data_ = options.data.empty() ? study.data : options.data;
    jobs_ = options.jobs > 0 ? options.jobs : AvailableCores();
  }

  void Run() {
    CheckNames();
    for (const Part& part : study_.parts) {
      if (study_.parts.size() > 1) fmt::print(stderr, "Part {}\n", part.name);
      Train(part);
      if (part.select)
        Select(part);
      else if (!part.inject)
        ShowAccuracy(part);
      for (const Width& width : part.widths) {
        if (part.inject) Inject(part, width);
        if (part.sharpness) Sharpness(part, width);
        if (part.sweep) {
          for (const auto& recipe : part.sweep->recipes) Sweep(part, width, recipe);
        }
      }
      std::fflush(stdout);  // a part's results are worth seeing before the next part is done
    }
    Report();
  }

 private:
  // ---- training ----

  std::vector<TrainStep> StepsOf(const Part& part, const Width& width) const {
    std::vector<TrainStep> steps;
    for (const NamedRecipe& named : part.recipes) {
      for (uint64_t seed : part.seeds) {
        recipe::Recipe recipe = RecipeAt(named, width, seed);
        const std::string name = ModelFileName(recipe, named.name);
        if (part.start) {
          const TrainStep start = StartOf(part, seed);
          recipe.network = start.model.string();
          recipe.start = recipe::HashOf(start.recipe);
        } else {
          NameContent(recipe);
        }
        steps.push_back({recipe, output_ / "models" / name, fs::path(name).stem().string()});
      }
    }
    return steps;
  }

  // The float network that a seed's recipes start from.
  TrainStep StartOf(const Part& part, uint64_t seed) const {
    recipe::Recipe recipe = *part.start;
    recipe.seed = seed;
    recipe.threads = 1;
    NameContent(recipe);
    const std::string name = fmt::format("{}-float-seed{}.onnx", NetworkName(recipe), seed);
    return {recipe, output_ / "models" / name, fs::path(name).stem().string()};
  }
  static void NameContent(recipe::Recipe& recipe) {
    if (!network::IsBuiltIn(recipe.network)) recipe.network_sha256 = network::HashOfFile(recipe.network);
  }

  // Parts may share models: recipes with the same name must have the same settings.
  void CheckNames() const {
    std::map<fs::path, std::string> hashes;
    for (const Part& part : study_.parts) {
      std::vector<TrainStep> starts;
      for (const uint64_t seed : part.seeds) {
        if (part.start) starts.push_back(StartOf(part, seed));
      }
      for (const TrainStep& start : starts) {
        const auto [found, added] = hashes.emplace(start.model, recipe::HashOf(start.recipe));
        if (!added && found->second != recipe::HashOf(start.recipe))
          throw InputError("two parts of the study start from different float trainings of one network");
      }
      for (const Width& width : part.widths) {
        for (const TrainStep& step : StepsOf(part, width)) {
          const auto [found, added] = hashes.emplace(step.model, recipe::HashOf(step.recipe));
          if (!added && found->second != recipe::HashOf(step.recipe)) {
            throw InputError(
                fmt::format("two parts of the study name a recipe '{}' with different settings; give one another name",
                            step.recipe.name));
          }
        }
      }
    }
  }

  void Train(const Part& part) {
    std::vector<TrainStep> starts, steps;
    for (const uint64_t seed : part.seeds) {
      if (part.start) starts.push_back(StartOf(part, seed));
    }
    for (const Width& width : part.widths) {
      for (const TrainStep& step : StepsOf(part, width)) steps.push_back(step);
    }
    if (!starts.empty()) Train(starts, "float networks to start from");
    Train(steps, "networks");
  }

  // One seed after the other, so that what is stopped early has whole seeds.
  void Train(const std::vector<TrainStep>& steps, const char* what) {
    std::vector<TrainStep> missing;
    std::set<fs::path> seen;  // a float recipe is the same at every width
    for (const TrainStep& step : steps) {
      if (seen.insert(step.model).second && !IsFresh(step)) missing.push_back(step);
    }
    std::stable_sort(missing.begin(), missing.end(),
                     [](const TrainStep& a, const TrainStep& b) { return a.recipe.seed < b.recipe.seed; });
    if (missing.empty()) {
      fmt::print(stderr, "All {} {} are trained.\n", seen.size(), what);
      return;
    }
    fmt::print(stderr, "Training {} of {} {}, {} side by side on one thread each\n", missing.size(), seen.size(), what,
               std::min<size_t>(static_cast<size_t>(jobs_), missing.size()));
    for (const TrainStep& step : missing) TrainHash(step.recipe.dataset);  // read before threads ask for it
    TrainMissing(missing);
  }

  // What the dataset's training images hash to, read once.
  const std::string& TrainHash(const std::string& dataset) {
    auto found = train_hashes_.find(dataset);
    if (found == train_hashes_.end()) {
      found = train_hashes_
                  .emplace(dataset,
                           data::HashOf(data::LoadDataset(dataset, {data_, data::ReadingLine()}, data::Split::kTrain)))
                  .first;
    }
    return found->second;
  }

  // Whether the model is there and of these settings; a stale one is moved aside.
  bool IsFresh(const TrainStep& step) {
    const fs::path checkpoint = step.model.string() + ".checkpoint";
    if (!fs::exists(step.model)) return false;
    std::string why;
    try {
      const auto metadata = network::MetadataOf(step.model);
      const auto parsed = [&](const char* key) {
        const auto found = metadata.find(key);
        return found == metadata.end() ? json() : model::ParseBoundedJson(found->second);
      };
      const auto hash = metadata.find("steadfast.recipe_sha256");
      const json dataset = parsed("steadfast.dataset"), made_by = parsed("steadfast.recipe");
      if (!made_by.is_object() || made_by.value("name", "") != step.recipe.name)
        why = "it was made under another recipe name";
      else if (hash == metadata.end() || hash->second != recipe::HashOf(step.recipe))
        why = "its settings have changed";
      else if (!dataset.is_object() || dataset.value("train_sha256", "") != TrainHash(step.recipe.dataset))
        why = "its data has changed";
    } catch (const InputError& error) {
      why = error.what();
    }
    if (why.empty()) return true;
    MoveAside(step.model, why);
    if (fs::exists(checkpoint)) MoveAside(checkpoint, why);
    return false;
  }

  void MoveAside(const fs::path& path, const std::string& why) const {
    const fs::path folder = output_ / "stale";
    fs::create_directories(folder);
    fs::path to;
    for (int n = 1; to.empty() || fs::exists(to); ++n)
      to = folder / fmt::format("{}.{}{}", path.stem().string(), n, path.extension().string());
    fs::rename(path, to);
    for (const char* companion : {".metrics.jsonl", "-wal", "-shm"}) {
      if (fs::exists(path.string() + companion)) fs::rename(path.string() + companion, to.string() + companion);
    }
    fmt::print(stderr, "{} is stale ({}); moved to {}\n", path.string(), why, to.string());
  }

  void TrainMissing(const std::vector<TrainStep>& missing) {
    ProgressLine line;
    const TimeLeft clock;
    std::mutex mutex;
    std::vector<double> shares(missing.size(), 0.0);
    std::map<size_t, std::string> running;
    std::vector<double> costs;  // sharpness-aware steps take two passes
    double total_cost = 0.0;
    for (const TrainStep& step : missing) {
      costs.push_back(step.recipe.epochs * (step.recipe.sharpness == recipe::Sharpness::kNone ? 1.0 : 2.0));
      total_cost += costs.back();
    }
    const auto show = [&] {
      double done_cost = 0.0;
      size_t done = 0;
      for (size_t i = 0; i < shares.size(); ++i) {
        done_cost += costs[i] * shares[i];
        done += shares[i] >= 1.0;
      }
      const double share = done_cost / total_cost;
      std::string text = fmt::format("training: {}/{} done, {:.0f} %, {} left", done, missing.size(), 100 * share,
                                     FormatDuration(clock.Remaining(share)));
      for (const auto& [index, state] : running) text += " | " + state;
      line.Update(text);
    };
    ParallelFor(
        jobs_, static_cast<int64_t>(missing.size()),
        [&](int, int64_t index) {
          const auto i = static_cast<size_t>(index);
          const TrainStep& step = missing[i];
          DropForeignCheckpoint(step, mutex);
          const json done = RunTrainProgram(
              ArgumentsOf({step.recipe, step.model, data_}),
              [&](const json& event) {
                const std::lock_guard lock(mutex);
                if (event.value("event", "") == "stage") {  // of some minutes, behind the last epoch
                  running[i] =
                      fmt::format("{} seed {} {}", step.recipe.name, step.recipe.seed, event.value("text", ""));
                  show();
                }
                if (event.value("event", "") == "progress") {
                  shares[i] = std::min(0.999, event.value("share", 0.0));
                  running[i] = fmt::format("{} seed {} epoch {}/{} loss {:.3f}", step.recipe.name, step.recipe.seed,
                                           event.value("epoch", 0), event.value("epochs", 0), event.value("loss", 0.0));
                  show();
                }
              },
              options_.cancellation);
          fs::remove(step.model.string() + ".checkpoint-of");
          const std::lock_guard lock(mutex);
          shares[i] = 1.0;
          running.erase(i);
          const std::string zeros = done.value("is_float", false) ? ""
                                                                  : fmt::format(", zero activations {:.1f} %",
                                                                                100 * done.value("zero_share", 0.0));
          line.Print(fmt::format("  {}: test accuracy {:.2f} %{}{}", step.label, 100 * done.value("test_accuracy", 0.0),
                                 zeros, done.value("at_chance", false) ? "; at chance level: it learned nothing" : ""));
          show();
        },
        options_.cancellation);
  }

  // A checkpoint of other settings would be refused by the training program: it is stale.
  void DropForeignCheckpoint(const TrainStep& step, std::mutex& mutex) const {
    const fs::path checkpoint = step.model.string() + ".checkpoint", note = step.model.string() + ".checkpoint-of";
    const std::string key = recipe::HashOf(step.recipe) + train_hashes_.at(step.recipe.dataset);
    if (fs::exists(checkpoint) && (!fs::exists(note) || ReadTextFile(note) != key)) {
      const std::lock_guard lock(mutex);
      MoveAside(checkpoint, "its settings or data have changed");
    }
    WriteFileWhole(note, key);
  }

  // Of a part that only trains: how accurate its networks are, each recipe at each width beside the part's first recipe
  // at the first width, in pairs of a seed.
  void ShowAccuracy(const Part& part) const {
    report::TextTable table({"recipe", "width", ">test accuracy, %", ">validation accuracy, %", ">minus the first",
                             "95 % interval", ">seeds"});
    std::vector<double> first;
    std::set<fs::path> shown;  // a float recipe has one width
    json rows = json::array();
    for (const Width& width : part.widths) {
      std::map<std::string, std::vector<TrainStep>> by_recipe;
      for (const TrainStep& step : StepsOf(part, width)) by_recipe[step.recipe.name].push_back(step);
      for (const NamedRecipe& named : part.recipes) {
        std::vector<double> test, validation, differences;
        for (const TrainStep& step : by_recipe.at(named.name)) {
          const json accuracy = model::ParseBoundedJson(network::MetadataOf(step.model).at("steadfast.accuracy"));
          test.push_back(100.0 * accuracy.value("test", 0.0));
          validation.push_back(100.0 * accuracy.value("validation", 0.0));
        }
        if (first.empty()) first = test;
        if (!shown.insert(by_recipe.at(named.name).front().model).second) continue;
        for (size_t i = 0; i < test.size(); ++i) differences.push_back(test[i] - first[i]);
        const statistics::Summary difference = statistics::Summarize(differences);
        const bool is_float = named.recipe.quantizer == recipe::Quantizer::kFloat;
        const std::string name = is_float ? "float" : WidthName(width);
        table.AddRow({named.name, name, fmt::format("{:.2f}", statistics::Mean(test)),
                      fmt::format("{:.2f}", statistics::Mean(validation)), fmt::format("{:+.2f}", difference.mean),
                      differences.size() > 1
                          ? fmt::format("{:+.2f} to {:+.2f}", difference.interval.low, difference.interval.high)
                          : "",
                      std::to_string(test.size())});
        rows.push_back({{"recipe", named.name},
                        {"width", name},
                        {"test_accuracy", test},
                        {"validation_accuracy", validation},
                        {"minus_first", differences}});
      }
    }
    fmt::print("\n{}: accuracy without faults, means over seeds\n\n{}", part.name, table.Text());
    WriteFileWhole(output_ / (part.name + ".json"), json({{"schema", 1}, {"recipes", rows}}).dump(2) + "\n");
  }

  // ---- choosing strengths ----

  void Select(const Part& part) {
    for (const Width& width : part.widths) {
      std::map<std::string, std::vector<double>> accuracies, zeros;
      for (const TrainStep& step : StepsOf(part, width)) {
        const model::QuantizedModel model = model::ReadModel(step.model);
        accuracies[step.recipe.name].push_back(
            100.0 * model::MetadataJson(model, "steadfast.accuracy").value("validation", 0.0));
        zeros[step.recipe.name].push_back(100.0 *
                                          model::MetadataJson(model, "steadfast.sparsity").value("weighted", 0.0));
      }
      const double baseline = statistics::Mean(accuracies.at(part.select->baseline));
      report::TextTable table({"recipe", "sparsity", "sharpness", ">validation accuracy, %", ">minus baseline",
                               ">zero activations, %", "within"});
      std::string chosen = part.select->baseline;
      json rows = json::array();
      for (const NamedRecipe& named : part.recipes) {
        const double mean = statistics::Mean(accuracies.at(named.name)), difference = mean - baseline;
        const bool within = difference >= -part.select->within;
        if (within) chosen = named.name;  // recipes come in ascending strength
        table.AddRow({named.name, recipe::SparsityText(named.recipe), recipe::SharpnessText(named.recipe),
                      fmt::format("{:.2f}", mean), fmt::format("{:+.2f}", difference),
                      fmt::format("{:.1f}", statistics::Mean(zeros.at(named.name))), within ? "yes" : "no"});
        rows.push_back({{"recipe", named.name},
                        {"sparsity", recipe::SparsityText(named.recipe)},
                        {"sharpness", recipe::SharpnessText(named.recipe)},
                        {"validation_accuracy", mean},
                        {"seeds", accuracies.at(named.name)},
                        {"zero_activations", statistics::Mean(zeros.at(named.name))},
                        {"within", within}});
      }
      fmt::print("\n{} {}: clean validation accuracy, mean of {} seeds\n\n{}\nChosen, within {} points of {}: {}\n",
                 part.name, WidthName(width), part.seeds.size(), table.Text(), FormatShortest(part.select->within),
                 part.select->baseline, chosen);
      const std::string stem = StemOf(part, width);
      WriteFileWhole(output_ / (stem + ".json"), json({{"schema", 1},
                                                       {"baseline", part.select->baseline},
                                                       {"within", part.select->within},
                                                       {"chosen", chosen},
                                                       {"recipes", rows}})
                                                         .dump(2) +
                                                     "\n");
    }
  }

  // ---- breaking ----

  // For the record of runs: the command, and which part of the study it was at.
  std::string CommandOf(const std::string& stem) const {
    return study_.parts.size() == 1 && study_.parts[0].widths.size() == 1
               ? options_.command
               : fmt::format("{} (part {})", options_.command, stem);
  }

  static std::string StemOf(const Part& part, const Width& width) {
    return part.widths.size() > 1 ? part.name + "-" + WidthName(width) : part.name;
  }

  void Inject(const Part& part, const Width& width) {
    const std::string stem = StemOf(part, width);
    campaign::CampaignSettings settings;
    for (const TrainStep& step : StepsOf(part, width)) settings.models.push_back(step.model);
    settings.faults = part.inject->faults;
    settings.rates = part.inject->rates;
    settings.encodings = part.inject->encodings;
    settings.trials = part.inject->trials;
    settings.seed = part.inject->seed;
    settings.word_bits = part.inject->word_bits;
    settings.where = part.inject->where;
    settings.chip = part.inject->chip;
    settings.extend = true;  // more trials, models or rates of the same are added
    settings.data.location = {data_};
    settings.command = CommandOf(stem);
    const fs::path path = output_ / (stem + ".sqlite");
    SetStaleStoreAside(settings, path);
    fmt::print(stderr, "Injecting faults: {} models, {}\n", settings.models.size(), path.string());
    const campaign::CampaignResult result = RunWithProgress(settings, path);
    const report::CampaignReport summary = report::MakeCampaignReport(result.models, result.trials);
    WriteFileWhole(output_ / (stem + ".csv"), report::ToCsv(summary));
    WriteFileWhole(output_ / (stem + "-accuracy.csv"), report::RecipeCsv(result.models, result.trials));
    fmt::print("\n{}: {}", stem, report::RecipeTable(result.models, result.trials));
    if (!part.comparisons.empty()) Compare(part, stem, result);
    if (!part.claims) return;
    const auto claims = paper::JudgeClaims(result.models, result.trials, *part.claims);
    store::Store::OpenForWriting(path).SetClaims(report::ToRows(claims));
    const fs::path claims_path =
        output_ / (study_.parts.size() == 1 && part.widths.size() == 1 ? "claims.json" : stem + "-claims.json");
    WriteFileWhole(claims_path, report::ToJson(claims).dump(2) + "\n");
    fmt::print("\n{}\nVerdicts: {}. Trials: {}\n", report::ToText(claims), claims_path.string(), path.string());
  }

  void Compare(const Part& part, const std::string& stem, const campaign::CampaignResult& result) const {
    std::vector<report::Comparison> comparisons;
    for (const auto& [better, worse] : part.comparisons) {
      comparisons.push_back(report::CompareRecipes(result.models, result.trials, better, worse));
    }
    WriteFileWhole(output_ / (stem + "-comparisons.json"), report::ToJson(comparisons).dump(2) + "\n");
    fmt::print("\n{}", report::ToText(comparisons));
  }

  campaign::CampaignResult RunWithProgress(const campaign::CampaignSettings& settings, const fs::path& path) {
    ProgressLine line;
    return campaign::RunCampaign(
        settings, path,
        [&](const campaign::CampaignProgress& p) {
          line.Update(fmt::format("injecting: {}/{} trials, {:.0f} trials/s, {} left | {}", p.done, p.total,
                                  p.trials_per_second, FormatDuration(p.seconds_left), p.model));
        },
        options_.cancellation);
  }

  // ---- measuring sharpness ----

  void Sharpness(const Part& part, const Width& width) {
    const std::string stem = StemOf(part, width);
    SharpnessRunSettings settings;
    std::map<std::string, fs::path> of_recipe;  // the first seed's
    for (const TrainStep& step : StepsOf(part, width)) {
      settings.models.push_back(step.model);
      of_recipe.emplace(step.recipe.name, step.model);
    }
    settings.settings = part.sharpness->settings;
    for (const auto& [from, to] : part.sharpness->lines)
      settings.lines.emplace_back(of_recipe.at(from), of_recipe.at(to));
    for (const Part& other : study_.parts) {
      for (const Width& w : other.widths) settings.other_stores.push_back(output_ / (StemOf(other, w) + ".sqlite"));
    }
    settings.data = data_;
    settings.jobs = jobs_;
    settings.command = CommandOf(stem);
    const fs::path path = output_ / (stem + ".sqlite");
    fmt::print(stderr, "Measuring sharpness: {} models, {}\n", settings.models.size(), path.string());
    ProgressLine line;
    const TimeLeft time;
    const SharpnessRun run = MeasureSharpness(
        settings, path,
        [&](const SharpnessProgress& p) {
          line.Update(fmt::format("sharpness: {}/{} models, {:.0f} %, {} left | {}", p.done, p.total, p.share * 100,
                                  FormatDuration(time.Remaining(p.share)), fmt::join(p.running, " | ")));
        },
        options_.cancellation);
    WriteFileWhole(output_ / (stem + "-sharpness.csv"), report::SharpnessCsv(run.models, run.rows));
  }

  // ---- every bit of one network ----

  // A store holds a network as evaluated on one set of images: a sweep on fewer has a store of its own.
  static std::string SweepStemOf(const Part& part, const Width& width) {
    return StemOf(part, width) + (part.sweep->images > 0 ? "-sweep" : "");
  }

  void Sweep(const Part& part, const Width& width, const std::string& recipe) {
    const std::string stem = SweepStemOf(part, width);
    campaign::SweepSettings settings;
    for (const TrainStep& step : StepsOf(part, width)) {
      if (step.recipe.name == recipe && settings.model.empty()) settings.model = step.model;
    }
    settings.word_bits = part.inject->word_bits;
    settings.data.location = {data_};
    settings.data.images = part.sweep->images;
    settings.sample = part.sweep->sample;
    settings.command = CommandOf(stem);
    ProgressLine line;
    campaign::RunSweep(
        settings, output_ / (stem + ".sqlite"),
        [&](const campaign::SweepProgress& p) {
          line.Update(fmt::format("sweeping {}: {:.0f} %, {}/{} bits | {}", recipe, p.share * 100, p.faults_done,
                                  p.faults, p.tensor));
        },
        options_.cancellation);
  }

  // ---- the page ----

  void Report() const {
    std::vector<fs::path> stores;
    for (const Part& part : study_.parts) {
      if (!part.inject) continue;
      for (const Width& width : part.widths) {
        stores.push_back(output_ / (StemOf(part, width) + ".sqlite"));
        if (part.sweep && part.sweep->images > 0) {
          const std::string stem = SweepStemOf(part, width);
          Report({output_ / (stem + ".sqlite")}, output_ / (stem + ".html"));
        }
      }
    }
    if (!stores.empty()) Report(stores, output_ / "report.html");
  }

  void Report(const std::vector<fs::path>& stores, const fs::path& page) const {
    fmt::print(stderr, "Writing the report\n");
    const report::Evidence evidence = report::Gather(stores);
    const report::Tie tie = report::MakeTie(evidence, 0, options_.cancellation);
    if (!tie.rows.empty()) WriteFileWhole(output_ / "tie.csv", report::TieCsv(tie));
    std::string command = "report";
    for (const fs::path& store : stores) command += " " + store.string();
    const std::string text = report::MakePage(evidence, tie, {command + " -o " + page.string()});
    WriteFileWhole(page, text);
    if (const std::string remark = report::RemarkOnSize(text); !remark.empty()) fmt::print(stderr, "{}\n", remark);
    fmt::print("\nReport, to be opened in a browser: {}\n", page.string());
  }

  // A store is stale if its settings or models differ from these.
  void SetStaleStoreAside(campaign::CampaignSettings settings, const fs::path& path) const {
    if (!fs::exists(path)) return;
    const std::string why = campaign::WhyStoreDoesNotFit(settings, path);
    if (!why.empty()) MoveAside(path, why);
  }

  const Study& study_;
  const StudyOptions& options_;
  fs::path output_, data_;
  int jobs_;
  std::map<std::string, std::string> train_hashes_;
};

}  // namespace

std::string ModelFileName(const recipe::Recipe& recipe, const std::string& name) {
  const std::string width =
      recipe.quantizer == recipe::Quantizer::kFloat ? "float" : WidthName({recipe.weight_bits, recipe.activation_bits});
  return fmt::format("{}-{}-{}-seed{}.onnx", NetworkName(recipe), width, name, recipe.seed);
}

void RunStudy(const Study& study, const StudyOptions& options) {
  StudyRunner(study, options).Run();
}

}  // namespace steadfast::study
