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
#include "steadfast/campaign/trial.h"
#include "steadfast/model/onnx_file.h"

namespace steadfast::campaign {
namespace {

using nlohmann::json;
using store::TrialRow;

constexpr size_t kCommitRows = 64;
constexpr auto kCommitInterval = std::chrono::milliseconds(500);

std::vector<std::string> NamesOf(const std::vector<memory::Encoding>& encodings) {
  std::vector<std::string> names;
  for (auto encoding : encodings) names.emplace_back(memory::NameOf(encoding));
  return names;
}

void Check(const CampaignSettings& settings) {
  if (settings.models.empty()) throw UsageError("no model given");
  if (!settings.fault_list.empty()) return;
  if (settings.faults.empty() || settings.rates.empty() || settings.encodings.empty())
    throw UsageError("no fault, rate or encoding given");
  if (settings.trials < 1) throw UsageError(fmt::format("trials: {}, expected at least 1", settings.trials));
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
      for (auto encoding : settings_.encodings) memory::MemoryImage(file.model, {encoding, settings_.word_bits});
    }
  }
  std::vector<std::string> DifferencesFrom(const std::filesystem::path& path) const {
    const json there = store::Store::OpenForReading(path).settings(), here = SettingsJson();
    if (there.is_null() || OnlyGrows(there, here)) return {};
    return store::Differences(there, here);
  }

  CampaignResult Run(const std::filesystem::path& store_path) {
    store_ = std::make_unique<store::Store>(store::Store::Create(store_path));
    AdoptSettings(store_path);
    if (list_) store_->AddFaultList(list_name_, list_csv_);
    PlanKeys();
    for (const TrialRow& row : store_->Trials()) stored_.emplace(row.id, row);
    run_ = store_->BeginRun(settings_.command, SettingsJson());
    start_ = last_commit_ = std::chrono::steady_clock::now();
    CountDone();
    CampaignResult result{{}, {}, done_};
    for (size_t m = 0; m < files_.size(); ++m) result.models.push_back(RunModel(m));
    store_->FinishRun(run_);
    CollectTrials(result);
    return result;
  }

 private:
  void LoadModels() {
    labels_ = LabelsOf(settings_.models);
    for (const auto& path : settings_.models) {
      files_.push_back(model::ReadModelFile(path));
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
    const memory::MemoryImage image(files_[0].model, {settings_.encodings[0], settings_.word_bits});
    list_ = memory::FaultListsFromCsv(list_csv_, image, settings_.fault_list.string());
    if (list_->empty()) throw InputError(fmt::format("{}: lists no fault", settings_.fault_list.string()));
    for (size_t m = 1; m < files_.size(); ++m) {  // the list must mean the same for every model
      memory::FaultListsFromCsv(list_csv_,
                                memory::MemoryImage(files_[m].model, {settings_.encodings[0], settings_.word_bits}),
                                settings_.fault_list.string());
    }
  }

  json SettingsJson() const {
    std::vector<std::string> faults, rates;
    for (const auto& fault : settings_.faults) faults.push_back(memory::NameOf(fault));
    for (double rate : settings_.rates) rates.push_back(FormatShortest(rate));
    json models = json::object();
    for (size_t m = 0; m < files_.size(); ++m) models[labels_[m]] = files_[m].sha256;
    json trials = settings_.trials;
    if (list_) {
      faults = {list_name_};
      rates = {};
      trials = list_->size();
    }
    return {{"models", models},
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
  }

  // Whether `here` only adds to `there`: more keys in the growing objects, no fewer trials.
  static bool OnlyGrows(const json& there, const json& here) {
    json grown = there;
    for (const char* key : {"models", "faults", "rates", "encodings"}) grown[key].update(here.at(key));
    for (const auto& [label, hash] : there.at("models").items()) {
      if (here.at("models").contains(label) && here.at("models").at(label) != hash) return false;
    }
    json ours = here;
    for (const char* key : {"models", "faults", "rates", "encodings", "trials"}) {
      ours.erase(key);
      grown.erase(key);
    }
    return ours == grown;
  }

  // The store's settings with ours added.
  static json Merged(const json& there, const json& here) {
    json merged = there;
    for (const char* key : {"models", "faults", "rates", "encodings"}) merged[key].update(here.at(key));
    merged["trials"] = std::max(there.at("trials").get<int64_t>(), here.at("trials").get<int64_t>());
    return merged;
  }

  void AdoptSettings(const std::filesystem::path& path) {
    const json here = SettingsJson(), there = store_->settings();
    if (there.is_null()) {
      store_->SetSettings(here);
      return;
    }
    const auto differences = store::Differences(there, here);
    if (differences.empty()) return;
    const bool grows = OnlyGrows(there, here);
    if (grows && Merged(there, here) == there) return;  // it holds all that is asked for, and more
    if ((grows && settings_.extend) || !store_->HasTrials()) {
      store_->SetSettings(grows ? Merged(there, here) : here);
      return;
    }
    throw InputError(fmt::format(
        "{}: this store belongs to other settings:\n  {}\n{}", path.string(), fmt::join(differences, "\n  "),
        grows ? "Add --extend to add to it, or name another store."
              : "Name another store, or move this one aside. (Two files of one name are told apart only where "
                "they are given in one command.)"));
  }

  void PlanKeys() {
    if (list_) {
      for (auto encoding : settings_.encodings) {
        for (const auto& [trial, map] : *list_)
          keys_.push_back({list_name_, encoding, 0.0, static_cast<int64_t>(trial)});
      }
      return;
    }
    for (const auto& fault : settings_.faults) {
      for (auto encoding : settings_.encodings) {
        for (double rate : settings_.rates) {
          for (int64_t trial = 0; trial < settings_.trials; ++trial)
            keys_.push_back({memory::NameOf(fault), encoding, rate, trial});
        }
      }
    }
  }

  TrialContext ContextOf(size_t m) const {
    return {files_[m].sha256, data_.sha256, settings_.seed, settings_.word_bits, data_.images.size()};
  }

  void CountDone() {
    total_ = static_cast<int64_t>(files_.size() * keys_.size());
    for (size_t m = 0; m < files_.size(); ++m) {
      const TrialContext context = ContextOf(m);
      for (const TrialKey& key : keys_) done_ += stored_.contains(TrialId(context, key));
    }
    resumed_ = done_;
  }

  store::ModelRow RunModel(size_t m) {
    const model::QuantizedModel& model = files_[m].model;
    const engine::EvaluationSet set = engine::MakeEvaluationSet(model, data_.images.images, data_.images.labels);
    const engine::Golden golden = engine::RunGolden(model, set, settings_.threads, cancellation_);
    store::ModelRow row = DescribeModel(files_[m], labels_[m], golden, settings_.word_bits);
    row.id = store_->AddModel(row);
    const TrialContext context = ContextOf(m);
    std::vector<TrialKey> missing;
    for (const TrialKey& key : keys_) {
      if (!stored_.contains(TrialId(context, key))) missing.push_back(key);
    }
    std::map<memory::Encoding, memory::MemoryImage> images;
    for (auto encoding : settings_.encodings)
      images.emplace(encoding, memory::MemoryImage(model, {encoding, settings_.word_bits}));
    const int threads = settings_.threads > 0 ? settings_.threads : AvailableCores();
    const auto golden_run = GoldenRunFor(m, missing, images, set, threads);
    std::vector<std::unique_ptr<engine::Evaluator>> evaluators(static_cast<size_t>(threads));
    const auto work = [&](int worker, int64_t index) {
      auto& evaluator = evaluators[static_cast<size_t>(worker)];
      if (!evaluator) evaluator = std::make_unique<engine::Evaluator>(model, set, golden_run);
      const TrialKey& key = missing[static_cast<size_t>(index)];
      TrialRow trial =
          RunTrial(context, key, images.at(key.encoding), list_ ? &*list_ : nullptr, *evaluator, golden, cancellation_);
      trial.model = row.id;
      Keep(std::move(trial), labels_[m]);
    };
    try {
      ParallelFor(threads, static_cast<int64_t>(missing.size()), work, cancellation_);
    } catch (...) {
      Commit(labels_[m]);
      throw;
    }
    Commit(labels_[m]);
    return row;
  }

  // What differential evaluations start from, where some of the trials are cheaper that way and it fits in memory.
  std::shared_ptr<const engine::GoldenRun> GoldenRunFor(size_t m, const std::vector<TrialKey>& missing,
                                                        const std::map<memory::Encoding, memory::MemoryImage>& images,
                                                        const engine::EvaluationSet& set, int threads) const {
    const model::QuantizedModel& model = files_[m].model;
    if (missing.empty()) return nullptr;
    engine::DifferentialPlan plan(model);
    if (plan.bytes_per_block() * set.images.blocks() > settings_.memory_bytes) return nullptr;
    constexpr size_t kSamples = 64;
    const TrialContext context = ContextOf(m);
    for (size_t i = 0; i < missing.size(); i += std::max<size_t>(1, missing.size() / kSamples)) {
      const TrialKey& key = missing[i];
      const memory::MemoryImage& image = images.at(key.encoding);
      const auto change = memory::EffectOf(FaultsOf(context, key, image, list_ ? &*list_ : nullptr), image);
      if (!change.codes.empty() && engine::StepDeltas(plan, model, change).expected_share(plan) < 1.0)
        return engine::MakeGoldenRun(std::move(plan), set, threads, cancellation_);
    }
    return nullptr;
  }

  void Keep(TrialRow trial, const std::string& label) {
    const std::lock_guard lock(mutex_);
    pending_.push_back(std::move(trial));
    const auto now = std::chrono::steady_clock::now();
    if (pending_.size() >= kCommitRows || now - last_commit_ >= kCommitInterval) CommitLocked(label);
  }

  void Commit(const std::string& label) {
    const std::lock_guard lock(mutex_);
    CommitLocked(label);
  }

  // Only what is in the store is reported as done.
  void CommitLocked(const std::string& label) {
    store_->AddTrials(run_, pending_);
    done_ += static_cast<int64_t>(pending_.size());
    for (TrialRow& row : pending_) stored_.emplace(row.id, std::move(row));
    pending_.clear();
    last_commit_ = std::chrono::steady_clock::now();
    if (!on_progress_) return;
    const double elapsed = std::chrono::duration<double>(last_commit_ - start_).count();
    const double per_second = static_cast<double>(done_ - resumed_) / std::max(elapsed, 1e-9);
    on_progress_(
        {label, done_, total_, per_second, per_second > 0 ? static_cast<double>(total_ - done_) / per_second : 0.0});
  }

  void CollectTrials(CampaignResult& result) const {
    for (size_t m = 0; m < files_.size(); ++m) {
      const TrialContext context = ContextOf(m);
      for (const TrialKey& key : keys_) {
        TrialRow row = stored_.at(TrialId(context, key));
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
  std::optional<memory::FaultLists> list_;
  std::string list_name_, list_csv_;
  std::unique_ptr<store::Store> store_;
  std::vector<TrialKey> keys_;
  std::map<std::string, TrialRow> stored_;
  int64_t run_ = 0, done_ = 0, total_ = 0, resumed_ = 0;
  std::mutex mutex_;
  std::vector<TrialRow> pending_;
  std::chrono::steady_clock::time_point start_, last_commit_;
};

}  // namespace

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

memory::FaultLists FaultListsOf(const CampaignSettings& settings, const memory::FaultModel& fault, double rate) {
  Check(settings);
  const model::ModelFile file = model::ReadModelFile(settings.models[0]);
  const memory::MemoryImage image(file.model, {settings.encodings[0], settings.word_bits});
  const auto cells = image.cells_of_arrays();
  memory::FaultLists lists;
  for (int64_t trial = 0; trial < settings.trials; ++trial) {
    const auto number = static_cast<uint64_t>(trial);
    lists[number] = memory::SampleFaults(KeyOfSeed(settings.seed), number, cells, rate, fault);
  }
  return lists;
}

Replay ReplayTrial(const std::filesystem::path& store_path, const std::string& id,
                   const std::filesystem::path& model_path, const DataChoice& choice) {
  const store::Store store = store::Store::OpenForReading(store_path);
  const auto stored = store.Trial(id);
  if (!stored) throw UsageError(fmt::format("{}: has no trial with id {}", store_path.string(), id));
  const auto models = store.Models();
  const auto row = std::find_if(models.begin(), models.end(), [&](const auto& m) { return m.id == stored->model; });
  if (row == models.end()) throw InputError(fmt::format("{}: trial {} belongs to no model", store_path.string(), id));
  const model::ModelFile file =
      model::ReadModelFile(model_path.empty() ? std::filesystem::path(row->path) : model_path);
  if (file.sha256 != row->sha256) {
    throw InputError(fmt::format("{}: is not the model of trial {}: its hash is {}…, the store's {}…",
                                 file.path.string(), id, file.sha256.substr(0, 12), row->sha256.substr(0, 12)));
  }
  const json settings = store.settings();
  DataChoice data_choice = choice;
  data_choice.images = settings.at("images").get<int64_t>();
  if (data_choice.dataset.empty()) data_choice.dataset = settings.at("dataset").at("name").get<std::string>();
  const TestData data = LoadTestData(file, data_choice);
  if (data.sha256 != settings.at("dataset").at("test_sha256")) {
    throw InputError(fmt::format("the {} images found are not those of the store (another hash)", data.dataset));
  }
  const int word_bits = settings.at("word_bits").get<int>();
  const memory::MemoryImage image(file.model, {memory::ParseEncoding(stored->encoding), word_bits});
  std::optional<memory::FaultLists> lists;
  if (stored->fault.starts_with("list:")) {
    const auto csv = store.FaultList(stored->fault);
    if (!csv) throw InputError(fmt::format("{}: lacks the fault list {}", store_path.string(), stored->fault));
    lists = memory::FaultListsFromCsv(*csv, image, stored->fault);
  }
  const engine::EvaluationSet set = engine::MakeEvaluationSet(file.model, data.images.images, data.images.labels);
  const engine::Golden golden = engine::RunGolden(file.model, set, 0);
  engine::Evaluator evaluator(file.model, set);
  const TrialContext context{file.sha256, data.sha256, settings.at("seed").get<uint64_t>(), word_bits,
                             data.images.size()};
  const TrialKey key{stored->fault, image.layout().encoding, stored->rate, stored->trial};
  TrialRow again = RunTrial(context, key, image, lists ? &*lists : nullptr, evaluator, golden, nullptr);
  again.model = stored->model;
  return {*stored, again, row->label};
}

}  // namespace steadfast::campaign
