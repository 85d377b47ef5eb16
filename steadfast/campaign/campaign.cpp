#include "steadfast/campaign/campaign.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "steadfast/base/error.h"
#include "steadfast/base/file.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/machine.h"  // AvailableCores
#include "steadfast/base/parallel.h"
#include "steadfast/base/text.h"
#include "steadfast/campaign/store_sink.h"
#include "steadfast/campaign/trial.h"
#include "steadfast/memory/fault_sampler.h"  // kSamplerVersion
#include "steadfast/model/onnx_file.h"
#include "steadfast/statistics/mean_sequence.h"

namespace steadfast::campaign {
namespace {

using nlohmann::json;
using store::TrialRow;

constexpr double kConfidenceUntil = 0.95;

std::vector<std::string> NamesOf(const std::vector<memory::Encoding>& encodings) {
  std::vector<std::string> names;
  for (auto encoding : encodings) names.emplace_back(memory::NameOf(encoding));
  return names;
}

void Check(const CampaignSettings& settings) {
  if (settings.models.empty()) throw UsageError("no model given");
  if (settings.chip) {
    const auto encoding = memory::EncodingOf(*settings.chip);
    if (encoding && settings.encodings != std::vector{*encoding})
      throw UsageError(
          fmt::format("encoding: chip {} stores codes as {}", settings.chip->name, memory::NameOf(*encoding)));
  }
  if (!settings.fault_list.empty()) {
    if (settings.until) throw UsageError("a fault list has the trials that it names: it goes without --until");
    return;
  }
  if (settings.faults.empty() || settings.rates.empty() || settings.encodings.empty())
    throw UsageError("no fault, rate or encoding given");
  if (settings.trials < 1) throw UsageError(fmt::format("trials: {}, expected at least 1", settings.trials));
  if (settings.until && settings.trials < 2) throw UsageError("trials: at least 2 are needed with --until");
  for (double rate : settings.rates) {
    if (!(rate >= 0 && rate <= 1)) throw UsageError(fmt::format("rate: {}, expected 0 to 1", rate));
  }
  const auto once = [](std::vector<std::string> names, const char* what) {
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) throw UsageError(fmt::format("{}: {} is given twice", what, *twice));
  };
  std::vector<std::string> faults, rates;
  for (const auto& fault : settings.faults) faults.push_back(memory::NameOf(fault));
  for (double rate : settings.rates) rates.push_back(FormatShortest(rate));
  once(faults, "fault");
  once(rates, "rate");
  once(NamesOf(settings.encodings), "encoding");
}

// A list as an object, so that differences name its elements and growth is seen key by key.
json AsObject(const std::vector<std::string>& elements) {
  json object = json::object();
  for (const auto& element : elements) object[element] = true;
  return object;
}

// A list may name whatever words can hold, wherever random faults would lie.
memory::Where WhereListsLie(bool chip, int word_bits, const memory::Where& where) {
  return memory::ParseWhere(!chip && word_bits < 32 ? memory::NameOf(where) + ",activations" : "all,activations");
}

class Campaign {
 public:
  // Loads and checks everything; touches no store.
  explicit Campaign(const CampaignSettings& settings,
                    const std::function<void(const CampaignProgress&)>& on_progress = {},
                    const Cancellation* cancellation = nullptr)
      : settings_(settings), on_progress_(on_progress), cancellation_(cancellation) {
    Check(settings);
    LoadModels();
    LoadFaultList();
    for (const auto& file : files_) {
      for (auto encoding : settings_.encodings) {
        const memory::MemoryImage image = ImageOf(file, encoding);
        for (const auto& fault : settings_.faults) {
          if (!IsOfLists()) memory::CheckFaultModel(image, fault);
        }
      }
    }
  }
  std::vector<std::string> DifferencesFrom(const std::filesystem::path& path) const {
    const json there = store::Store::OpenForReading(path).settings(), here = SettingsJson();
    if (there.is_null() || OnlyGrows(there, here)) return {};
    return store::Differences(there, here);
  }

  CampaignResult Run(const std::filesystem::path& store_path) {
    store_ = std::make_unique<store::Store>(store::Store::Create(store_path));
    ClaimSettings(store_path);
    if (IsOfLists()) store_->AddFaultList(list_name_, list_csv_);
    for (const auto& fault : settings_.faults) {
      for (const auto& [name, csv] : fault.process().tables()) store_->AddFaultList(name, csv);
    }
    keys_ = IsOfLists() ? PlanTrials(lists_[0], list_name_, settings_.encodings)
                        : PlanTrials(settings_.faults, settings_.encodings, settings_.rates, settings_.trials);
    for (const TrialRow& row : store_->Trials()) stored_.emplace(row.id, row);
    run_ = store_->BeginRun(settings_.command, SettingsJson());
    start_ = std::chrono::steady_clock::now();
    CountDone();
    sink_ = std::make_unique<StoreSink>(*store_, run_, [this](int64_t rows) { Report(rows); });
    CampaignResult result{{}, {}, done_, idle_};
    for (size_t m = 0; m < files_.size(); ++m) result.models.push_back(RunModel(m));
    store_->FinishRun(run_);
    CollectTrials(result);
    return result;
  }

 private:
  memory::Where WhereFaultsLie() const {
    return settings_.fault_list.empty()
               ? settings_.where
               : WhereListsLie(settings_.chip.has_value(), settings_.word_bits, settings_.where);
  }
  memory::MemoryImage ImageOf(const model::ModelFile& file, memory::Encoding encoding) const {
    return memory::ImageOn(settings_.chip, file.model, {encoding, settings_.word_bits}, WhereFaultsLie());
  }

  void LoadModels() {
    labels_ = LabelsOf(settings_.models);
    for (const auto& path : settings_.models) {
      files_.push_back(model::ReadModelFile(path, settings_.data.reading));
      TestData data = LoadTestData(files_.back(), settings_.data);
      if (data_.dataset.empty()) {
        data_ = std::move(data);
      } else if (data.sha256 != data_.sha256) {
        throw UsageError(fmt::format(
            "{} is for {}, and {} for {}; evaluate them in separate campaigns, or choose one with --dataset",
            settings_.models[0].string(), data_.dataset, path.string(), data.dataset));
      }
    }
    std::map<std::string, std::string> by_hash;  // trials are named by the model's content
    for (size_t m = 0; m < files_.size(); ++m) {
      const auto [other, added] = by_hash.emplace(files_[m].sha256, settings_.models[m].string());
      if (!added)
        throw UsageError(fmt::format("{} and {} are the same model", other->second, settings_.models[m].string()));
    }
  }

  void LoadFaultList() {
    if (settings_.fault_list.empty()) return;
    list_csv_ = ReadTextFile(settings_.fault_list);
    list_name_ = "list:" + Sha256(list_csv_).substr(0, 12);
    // Of another model, the same place may hold another bit.
    for (const auto& file : files_) {
      ListedFaults listed = FaultsOfList(list_csv_, settings_.fault_list.string(), settings_.chip.has_value(),
                                         ImageOf(file, settings_.encodings[0]));
      if (lists_.empty()) idle_ = listed.idle;
      lists_.push_back(std::move(listed.lists));
    }
  }
  bool IsOfLists() const { return !lists_.empty(); }

  json SettingsJson() const {
    std::vector<std::string> faults, rates;
    for (const auto& fault : settings_.faults) faults.push_back(memory::NameOf(fault));
    for (double rate : settings_.rates) rates.push_back(FormatShortest(rate));
    json models = json::object();
    for (size_t m = 0; m < files_.size(); ++m) models[labels_[m]] = files_[m].sha256;
    json trials = settings_.trials;
    if (IsOfLists()) {
      faults = {list_name_};
      rates = {};
      trials = lists_[0].size();
    }
    json settings = {{"models", models},
                     {"faults", AsObject(faults)},
                     {"rates", AsObject(rates)},
                     {"encodings", AsObject(NamesOf(settings_.encodings))},
                     {"trials", trials},
                     {"seed", settings_.seed},
                     {"word_bits", settings_.word_bits},
                     {"images", data_.images.size()},
                     {"dataset", {{"name", data_.dataset}, {"test_sha256", data_.sha256}}},
                     {"sampler_version", memory::kSamplerVersion},
                     {"arithmetic", store::kArithmetic}};
    // Settings that earlier versions did not have are left out at their defaults, so that earlier stores still match.
    for (size_t m = 0; m < files_.size(); ++m) {
      if (files_[m].model.reading > 1) settings["readings"][labels_[m]] = files_[m].model.reading;
      const std::string input = NameOf(settings_.data.input, files_[m].model, data_.images.elements);
      if (!input.empty()) settings["inputs"][labels_[m]] = input;
    }
    if (!IsOfLists() && !(settings_.where == memory::Where{})) settings["where"] = memory::NameOf(settings_.where);
    if (settings_.chip) settings["chip"] = memory::ToText(*settings_.chip);
    if (settings_.are_weighted) settings["weighted"] = true;
    if (settings_.until) settings["until"] = fmt::format("width<{}", FormatShortest(100 * *settings_.until));
    return settings;
  }

  static constexpr size_t kTrialsAtOnce = 256;  // in pieces: so many are lost when interrupted
  static constexpr int64_t kFirstTrials = 32;   // of a cell whose trials end when its mean is known

  // The keys under which settings may grow.
  static constexpr const char* kGrowing[] = {"models", "faults", "rates", "encodings", "readings", "inputs"};

  // Whether `here` only adds to `there`: more keys in the growing objects, no fewer trials.
  static bool OnlyGrows(const json& there, const json& here) {
    json ours = here, theirs = there;
    for (const char* key : kGrowing) {
      const json of_ours = here.value(key, json::object()), of_theirs = there.value(key, json::object());
      for (const auto& [name, value] : of_theirs.items()) {
        if (of_ours.contains(name) && !Succeeds(key, value, of_ours.at(name))) return false;
      }
      ours.erase(key);
      theirs.erase(key);
    }
    ours.erase("trials");
    theirs.erase("trials");
    return ours == theirs;
  }

  // A newer reading of a model takes the place of an older one; everything else must stay.
  static bool Succeeds(std::string_view key, const json& there, const json& here) {
    return there == here || (key == "readings" && there < here);
  }

  // Whether nothing but readings grows. That needs no --extend: the user does not choose how a file is read.
  static bool OnlyReadingsGrow(const json& there, const json& here) {
    json ours = here, theirs = there;
    ours.erase("readings");
    theirs.erase("readings");
    return OnlyGrows(there, here) && Merged(theirs, ours) == theirs;
  }

  // The store's settings with ours added.
  static json Merged(const json& there, const json& here) {
    json merged = there;
    for (const char* key : kGrowing) {
      if (here.contains(key)) merged[key].update(here.at(key));
    }
    merged["trials"] = std::max(there.at("trials").get<int64_t>(), here.at("trials").get<int64_t>());
    return merged;
  }

  // The settings that the store will have: ours, its own if they include ours, or both merged. Called in the
  // transaction that writes them.
  json Agreed(const std::string& path, const json& there) const {
    const json here = SettingsJson();
    if (there.is_null()) return here;
    const auto differences = store::Differences(there, here);
    if (differences.empty()) return there;
    const bool grows = OnlyGrows(there, here);
    if (grows && Merged(there, here) == there) return there;  // it holds all that is asked for, and more
    if (grows && (settings_.extend || OnlyReadingsGrow(there, here))) return Merged(there, here);
    std::string advice = grows
                             ? "Add --extend to add to it, or name another store."
                             : "Name another store, or move this one aside. (Two files of one name are told apart only "
                               "where they are given in one command.)";
    if (!store_->HasTrials())
      advice +=
          " It holds no trials yet: another program has just begun it, or was stopped at once; in that case it "
          "may be deleted.";
    throw InputError(fmt::format("{}: this store belongs to other settings:\n  {}\n{}", path,
                                 fmt::join(differences, "\n  "), advice));
  }

  void ClaimSettings(const std::filesystem::path& path) {
    store_->ClaimSettings([&](const json& there) {
      json agreed = Agreed(path.string(), there);
      for (size_t m = 0; m < files_.size(); ++m) store_->CheckLabel(labels_[m], files_[m].sha256);
      return agreed;
    });
  }

  TrialContext ContextOf(size_t m) const {
    const model::QuantizedModel& model = files_[m].model;
    return {.model_sha256 = files_[m].sha256,
            .data_sha256 = data_.sha256,
            .seed = settings_.seed,
            .word_bits = settings_.word_bits,
            .images = data_.images.size(),
            .reading = model.reading,
            .input = NameOf(settings_.data.input, model, data_.images.elements),
            .where = IsOfLists() ? "weights" : memory::NameOf(settings_.where),
            .chip = settings_.chip ? memory::ToText(*settings_.chip) : ""};
  }

  void CountDone() {
    total_ = static_cast<int64_t>(files_.size() * keys_.size());
    for (size_t m = 0; m < files_.size(); ++m) {
      const TrialContext context = ContextOf(m);
      for (const TrialKey& key : keys_) done_ += Stored(context, key) != nullptr;
    }
    resumed_ = done_;
  }

  // The row of a trial that the store had, or null.
  const TrialRow* Stored(const TrialContext& context, const TrialKey& key) const {
    auto found = stored_.find(TrialId(context, key));
    if (found == stored_.end()) {
      const auto earlier = EarlierTrialId(context, key);
      if (earlier) found = stored_.find(*earlier);
    }
    return found == stored_.end() ? nullptr : &found->second;
  }

  store::ModelRow RunModel(size_t m) {
    const model::QuantizedModel& model = files_[m].model;
    const engine::EvaluationSet set = EvaluationSetOf(model, data_.images, settings_.data.input);
    const engine::Golden golden = engine::RunGolden(model, set, settings_.threads, cancellation_);
    store::ModelRow row = DescribeModel(files_[m], labels_[m], golden, settings_.word_bits);
    row.id = store_->AddModel(row);
    label_ = labels_[m];
    const TrialContext context = ContextOf(m);
    const int64_t condition = store_->AddCondition(ConditionOf(context));
    std::map<memory::Encoding, memory::MemoryImage> images;
    for (auto encoding : settings_.encodings) images.emplace(encoding, ImageOf(files_[m], encoding));
    const int threads = settings_.threads > 0 ? settings_.threads : AvailableCores();
    const FaultSources sources{settings_.faults, IsOfLists() ? &lists_[m] : nullptr};
    const auto effect_of = [&](const TrialKey& key) {
      return EffectOfTrial(context, key, images.at(key.encoding), sources, model);
    };
    const auto take = [&](const TrialKey& key, const Outcome& outcome) {
      TrialRow trial = RowOf(context, key, outcome);
      trial.model = row.id;
      trial.condition = condition;
      sink_->Take(std::move(trial));
    };
    std::shared_ptr<engine::GoldenRun> golden_run;
    bool is_first = true;
    std::unique_ptr<const engine::Evaluator> prototype;  // whose packed weights the threads' share
    std::vector<std::shared_ptr<engine::Evaluator>> evaluators(static_cast<size_t>(threads));  // [thread]
    const auto run_trials = [&](const std::vector<TrialKey>& missing) {
      if (missing.empty()) return;
      if (is_first) golden_run = GoldenRunFor(model, missing, effect_of, set);
      const bool fits =
          golden_run == nullptr || golden_run->plan.bytes_per_block() * set.images.blocks() <= settings_.memory_bytes;
      std::vector<TrialKey> at_once, in_pieces;  // all images at once; a piece of the images after the other
      for (const TrialKey& key : missing)
        (fits || key.is_transient || !IsWorthIt(golden_run->plan, model, effect_of(key)) ? at_once : in_pieces)
            .push_back(key);
      if (is_first && fits && golden_run != nullptr)
        golden_run->blocks = engine::RunGoldenBlocks(golden_run->plan, set, threads, cancellation_);
      is_first = false;
      if (prototype == nullptr && !at_once.empty())
        prototype = std::make_unique<engine::Evaluator>(model, set, fits ? golden_run : nullptr);
      const auto work = [&](int worker, int64_t index) {
        auto& evaluator = evaluators[static_cast<size_t>(worker)];
        if (!evaluator) evaluator = std::make_shared<engine::Evaluator>(*prototype);
        const TrialKey& key = at_once[static_cast<size_t>(index)];
        take(key, Evaluate(effect_of(key), *evaluator, golden, cancellation_));
      };
      ParallelFor(threads, static_cast<int64_t>(at_once.size()), work, cancellation_);
      if (!in_pieces.empty()) evaluators.assign(static_cast<size_t>(threads), nullptr);
      for (size_t first = 0; first < in_pieces.size(); first += kTrialsAtOnce) {
        const auto some = std::span(in_pieces).subspan(first, std::min(kTrialsAtOnce, in_pieces.size() - first));
        RunInPieces(model, set, golden, golden_run, evaluators, some, effect_of, take);
      }
      if (!in_pieces.empty()) evaluators.assign(static_cast<size_t>(threads), nullptr);
    };
    try {
      if (settings_.until)
        RunUntil(context, run_trials);
      else
        run_trials(MissingOf(context, keys_));
    } catch (...) {
      sink_->Finish();
      throw;
    }
    sink_->Finish();
    return row;
  }

  std::vector<TrialKey> MissingOf(const TrialContext& context, std::span<const TrialKey> keys) const {
    std::vector<TrialKey> missing;
    for (const TrialKey& key : keys) {
      if (Stored(context, key) == nullptr) missing.push_back(key);
    }
    return missing;
  }

  // Each cell's trials, in the order of their numbers, until its mean is known well enough or there are no more.
  template <typename RunTrials>
  void RunUntil(const TrialContext& context, const RunTrials& run_trials) {
    struct UntilKnown {
      std::span<const TrialKey> keys;
      statistics::MeanSequence sequence;
      int64_t looked_at = 0, next = kFirstTrials;
    };
    std::vector<UntilKnown> cells;
    for (size_t first = 0; first < keys_.size(); first += static_cast<size_t>(settings_.trials))
      cells.push_back({std::span(keys_).subspan(first, static_cast<size_t>(settings_.trials)),
                       statistics::MeanSequence(kConfidenceUntil)});
    cells_ = static_cast<int64_t>(cells.size());
    cells_done_ = 0;
    while (!cells.empty()) {
      std::vector<TrialKey> missing;
      for (UntilKnown& cell : cells) {
        cell.next = std::min(cell.next, settings_.trials);
        const auto some =
            cell.keys.subspan(static_cast<size_t>(cell.looked_at), static_cast<size_t>(cell.next - cell.looked_at));
        for (TrialKey& key : MissingOf(context, some)) missing.push_back(std::move(key));
      }
      run_trials(missing);
      sink_->Finish();
      for (UntilKnown& cell : cells) {
        for (; cell.looked_at < cell.next; ++cell.looked_at)
          cell.sequence.Add(RowOfKey(context, cell.keys[static_cast<size_t>(cell.looked_at)])->accuracy());
        cell.next += std::max<int64_t>(kFirstTrials / 4, cell.next / 8);
      }
      std::erase_if(cells, [&](const UntilKnown& cell) {
        const statistics::Interval interval = cell.sequence.interval();
        return interval.high - interval.low < *settings_.until || cell.looked_at == settings_.trials;
      });
      cells_done_ = cells_ - static_cast<int64_t>(cells.size());
      Report(0);
    }
  }

  // The row of a trial, stored earlier or now; null where it was not run.
  const TrialRow* RowOfKey(const TrialContext& context, const TrialKey& key) const {
    if (const TrialRow* stored = Stored(context, key)) return stored;
    const auto found = sink_->rows().find(TrialId(context, key));
    return found == sink_->rows().end() ? nullptr : &found->second;
  }

  // Trials that take what the fault-free run keeps, where that does not fit in memory for all images: for one piece of
  // the images after the other, it is computed and all these trials are evaluated.
  template <typename Take, typename EffectOfKey>
  void RunInPieces(const model::QuantizedModel& model, const engine::EvaluationSet& set, const engine::Golden& golden,
                   const std::shared_ptr<engine::GoldenRun>& run,
                   std::vector<std::shared_ptr<engine::Evaluator>>& evaluators, std::span<const TrialKey> keys,
                   const EffectOfKey& effect_of, const Take& take) {
    struct Trial {
      int64_t faulty_bits;
      model::ModelChange change;
      engine::Tally tally;
    };
    const auto threads = static_cast<int>(evaluators.size());
    std::vector<Trial> trials;
    for (const TrialKey& key : keys) {
      Effect effect = effect_of(key);
      trials.push_back({effect.faulty_bits, std::move(effect.change), {}});
    }
    const engine::Evaluator prototype(model, set, run);
    const int64_t blocks = set.images.blocks();
    const int64_t blocks_at_once = std::max<int64_t>(threads, settings_.memory_bytes / run->plan.bytes_per_block());
    for (int64_t first = 0; first < blocks; first += blocks_at_once) {
      run->blocks.clear();
      run->blocks = engine::RunGoldenBlocks(run->plan, set, first, std::min(blocks_at_once, blocks - first), threads,
                                            cancellation_);
      ParallelFor(
          threads, static_cast<int64_t>(trials.size()),
          [&](int worker, int64_t index) {
            auto& evaluator = evaluators[static_cast<size_t>(worker)];
            if (!evaluator) evaluator = std::make_shared<engine::Evaluator>(prototype);
            Trial& trial = trials[static_cast<size_t>(index)];
            trial.tally += evaluator->EvaluateBlocks(trial.change, golden, cancellation_);
          },
          cancellation_);
      Report(0);
    }
    for (size_t t = 0; t < trials.size(); ++t) {
      take(keys[t], {trials[t].faulty_bits, static_cast<int64_t>(trials[t].change.changes.size()),
                     engine::ScoresOf(trials[t].tally, golden.scores)});
    }
  }

  static bool IsWorthIt(const engine::DifferentialPlan& plan, const model::QuantizedModel& model,
                        const Effect& effect) {
    const model::ModelChange& change = effect.change;
    return !effect.of_images && effect.values.empty() && !change.empty() && !ChangesCodings(model, change) &&
           engine::StepDeltas(plan, model, change).expected_nanoseconds(plan) < plan.nanoseconds_per_block();
  }

  // What differential evaluations start from, its blocks still to be computed; null if no sampled trial is cheaper that
  // way, or even a block on each thread does not fit in memory.
  template <typename EffectOfKey>
  std::shared_ptr<engine::GoldenRun> GoldenRunFor(const model::QuantizedModel& model,
                                                  const std::vector<TrialKey>& missing, const EffectOfKey& effect_of,
                                                  const engine::EvaluationSet& set) const {
    engine::DifferentialPlan plan(model);
    const int threads = settings_.threads > 0 ? settings_.threads : AvailableCores();
    const int64_t least = std::min<int64_t>(threads, set.images.blocks()) * plan.bytes_per_block();
    if (least > settings_.memory_bytes) return nullptr;
    constexpr size_t kSamples = 64;
    for (size_t i = 0; i < missing.size(); i += std::max<size_t>(1, missing.size() / kSamples)) {
      if (!missing[i].is_transient && IsWorthIt(plan, model, effect_of(missing[i])))
        return std::make_shared<engine::GoldenRun>(engine::GoldenRun{std::move(plan), {}});
    }
    return nullptr;
  }

  // Only what is in the store is reported as done.
  void Report(int64_t rows) {
    done_ += rows;
    if (!on_progress_) return;
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    const double per_second = static_cast<double>(done_ - resumed_) / std::max(elapsed, 1e-9);
    on_progress_({label_, done_, total_, per_second,
                  per_second > 0 ? static_cast<double>(total_ - done_) / per_second : 0.0, cells_done_, cells_});
  }

  void CollectTrials(CampaignResult& result) const {
    for (size_t m = 0; m < files_.size(); ++m) {
      const TrialContext context = ContextOf(m);
      for (const TrialKey& key : keys_) {
        const TrialRow* found = RowOfKey(context, key);
        if (found == nullptr) continue;  // not needed: its cell's mean was known well enough
        TrialRow row = *found;
        row.model = result.models[m].id;
        result.trials.push_back(std::move(row));
      }
    }
  }

  const CampaignSettings& settings_;
  std::function<void(const CampaignProgress&)> on_progress_;
  const Cancellation* cancellation_;
  std::vector<std::string> labels_;
  std::vector<model::ModelFile> files_;
  TestData data_;
  std::vector<memory::FaultLists> lists_;  // [model]; empty: faults are random
  std::string list_name_, list_csv_;
  std::unique_ptr<store::Store> store_;
  std::vector<TrialKey> keys_;
  std::map<std::string, TrialRow> stored_;
  int64_t idle_ = 0, run_ = 0, done_ = 0, total_ = 0, resumed_ = 0, cells_ = 0, cells_done_ = 0;
  std::unique_ptr<StoreSink> sink_;
  std::string label_;  // of the model at work
  std::chrono::steady_clock::time_point start_;
};

}  // namespace

double ParseUntil(const std::string& text) {
  constexpr std::string_view kStart = "width<";
  if (!text.starts_with(kStart))
    throw UsageError(fmt::format("--until: '{}', expected width<POINTS, as in 'width<0.5'", text));
  // The confidence sequence is found on a grid of 0.025 points.
  return ParseDouble(text.substr(kStart.size()), "--until: the width in points", 0.1, 100.0) / 100;
}

CampaignResult RunCampaign(const CampaignSettings& settings, const std::filesystem::path& store,
                           const std::function<void(const CampaignProgress&)>& on_progress,
                           const Cancellation* cancellation) {
  return Campaign(settings, on_progress, cancellation).Run(store);
}

std::string WhyStoreDoesNotFit(const CampaignSettings& settings, const std::filesystem::path& store) {
  try {
    return fmt::format("{}", fmt::join(Campaign(settings).DifferencesFrom(store), "; "));
  } catch (const InputError& error) {
    return error.what();
  }
}

memory::MemoryImage ImageOfLists(const std::optional<memory::Chip>& chip, const model::QuantizedModel& model,
                                 memory::MemoryLayout layout, const memory::Where& where) {
  return memory::ImageOn(chip, model, layout, WhereListsLie(chip.has_value(), layout.word_bits, where));
}

ListedFaults FaultsOfList(const std::string& text, const std::string& name, bool has_chip,
                          const memory::MemoryImage& image) {
  if (!has_chip && memory::NamesPlaces(text, name))
    throw UsageError(fmt::format("{}: names cells by words or places: give the --chip that they are of", name));
  ListedFaults listed;
  listed.lists = memory::FaultListsFromText(text, image, name, &listed.idle);
  if (listed.lists.empty()) throw InputError(fmt::format("{}: lists no fault", name));
  return listed;
}

memory::MemoryImage ImageOf(const CampaignSettings& settings, const model::QuantizedModel& model,
                            memory::Encoding encoding) {
  return memory::ImageOn(settings.chip, model, {encoding, settings.word_bits}, settings.where);
}

memory::FaultLists FaultListsOf(const CampaignSettings& settings, const memory::MemoryImage& image,
                                const memory::FaultModel& fault, double rate) {
  Check(settings);
  if (fault.process().is_transient())
    throw UsageError(fmt::format("{}: a fault list holds what is faulty for all images; transient faults have none",
                                 memory::NameOf(fault)));
  memory::FaultLists lists;
  for (int64_t trial = 0; trial < settings.trials; ++trial) {
    const auto number = static_cast<uint64_t>(trial);
    lists[number] = memory::SampleFaults(KeyOfSeed(settings.seed), number, image, rate, fault);
  }
  return lists;
}

namespace {

// The context that decided a stored trial. It is kept with the trial; earlier versions kept it with the store.
TrialContext ContextOfStored(const store::Store& store, const TrialRow& trial, const std::string& model_sha256) {
  const auto conditions = store.Conditions();
  const auto found = conditions.find(trial.condition);
  const json settings = store.settings();
  const json condition = found != conditions.end() ? found->second : settings;
  const json data =
      condition.contains("data_sha256") ? condition.at("data_sha256") : settings.at("dataset").at("test_sha256");
  return {.model_sha256 = model_sha256,
          .data_sha256 = data.get<std::string>(),
          .seed = condition.at("seed").get<uint64_t>(),
          .word_bits = condition.at("word_bits").get<int>(),
          .images = condition.at("images").get<int64_t>(),
          .reading = condition.value("reading", int64_t{1}),
          .input = condition.value("input", ""),
          .where = condition.value("where", "weights"),
          .chip = condition.value("chip", "")};
}

}  // namespace

Replay ReplayTrial(const std::filesystem::path& store_path, const std::string& id,
                   const std::filesystem::path& model_path, const DataChoice& choice) {
  const store::Store store = store::Store::OpenForReading(store_path);
  const auto stored = store.Trial(id);
  if (!stored) throw UsageError(fmt::format("{}: has no trial with id {}", store_path.string(), id));
  const auto models = store.Models();
  const auto row = std::find_if(models.begin(), models.end(), [&](const auto& m) { return m.id == stored->model; });
  if (row == models.end()) throw InputError(fmt::format("{}: trial {} belongs to no model", store_path.string(), id));
  const model::ModelFile file = model::ReadModelFile(model_path.empty() ? std::filesystem::path(row->path) : model_path,
                                                     model::ReadingOfHash(row->sha256));
  if (file.sha256 != row->sha256) {
    throw InputError(fmt::format("{}: is not the model of trial {}: its hash is {}…, the store's {}…",
                                 file.path.string(), id, file.sha256.substr(0, 12), row->sha256.substr(0, 12)));
  }
  TrialContext context = ContextOfStored(store, *stored, file.sha256);
  if (context.reading != file.model.reading) {
    throw InputError(fmt::format(
        "{}: trial {} is stale: it was computed with reading {} of {}, and this version uses reading {}, which "
        "corrects what was read wrongly (docs/formats.md); run the campaign again to recompute its trials",
        store_path.string(), id, context.reading, file.path.string(), file.model.reading));
  }
  const auto check_input = [&](data::Elements elements) {
    const std::string input = NameOf(choice.input, file.model, elements);
    if (input != context.input)
      throw UsageError(
          fmt::format("trial {} was computed on images that enter as {}, and these would enter as {}; give the "
                      "same --input-scale, --mean and --std",
                      id, context.input, input));
  };
  if (context.input != "codes" && context.input != "reals") check_input(data::Elements::kBytes);
  DataChoice data_choice = choice;
  data_choice.images = context.images;
  const json settings = store.settings();
  if (data_choice.dataset.empty() && settings.contains("dataset"))
    data_choice.dataset = settings.at("dataset").at("name").get<std::string>();
  const TestData data = LoadTestData(file, data_choice);
  check_input(data.images.elements);
  if (data.sha256 != context.data_sha256) {
    throw InputError(fmt::format("the {} images found are not those of the store (another hash)", data.dataset));
  }
  const bool from_list = stored->fault.starts_with("list:");
  const memory::Where where = memory::ParseWhere(context.where);
  std::optional<memory::Chip> chip;
  if (!context.chip.empty()) chip = memory::ParseChip(context.chip, "the chip of " + store_path.string());
  const memory::Encoding encoding = memory::ParseEncoding(stored->encoding);
  const memory::MemoryImage image =
      memory::ImageOn(chip, file.model, {encoding, context.word_bits},
                      from_list ? WhereListsLie(chip.has_value(), context.word_bits, where) : where);
  const auto kept = [&](const std::string& name) {
    const auto csv = store.FaultList(name);
    if (!csv) throw InputError(fmt::format("{}: lacks the fault list {}", store_path.string(), name));
    return *csv;
  };
  FaultSources sources;
  memory::FaultLists lists;
  if (from_list) {
    lists = memory::FaultListsFromText(kept(stored->fault), image, stored->fault);
    sources.lists = &lists;
  } else {
    sources.models = {memory::ParseFaultModel(stored->fault, [&](const auto& hash) { return kept("table:" + hash); })};
  }
  const engine::EvaluationSet set = EvaluationSetOf(file.model, data.images, choice.input);
  const engine::Golden golden = engine::RunGolden(file.model, set, 0);
  engine::Evaluator evaluator(file.model, set);
  const TrialKey key{stored->fault, encoding, stored->rate, stored->trial,
                     !from_list && sources.models[0].process().sees_chip()};
  const Effect effect = EffectOfTrial(context, key, image, sources, file.model);
  TrialRow again = RowOf(context, key, Evaluate(effect, evaluator, golden, nullptr));
  if (again.id != stored->id && EarlierTrialId(context, key) == stored->id) again.id = stored->id;
  again.model = stored->model;
  again.condition = stored->condition;
  return {*stored, again, row->label};
}

}  // namespace steadfast::campaign
