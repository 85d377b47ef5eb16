// A campaign: many trials on one or more models, resumable, whose numbers depend on the settings alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/base/cancellation.h"
#include "steadfast/campaign/loaded_model.h"  // DataChoice
#include "steadfast/memory/fault_list.h"      // FaultLists
#include "steadfast/memory/fault_model.h"     // FaultModel
#include "steadfast/memory/memory_image.h"    // Encoding
#include "steadfast/store/store.h"

namespace steadfast::campaign {

struct CampaignSettings {
  std::vector<std::filesystem::path> models;
  std::vector<memory::FaultModel> faults = {memory::FaultModel()};
  std::vector<double> rates = {1e-3, 1e-2};  // faults per bit
  std::vector<memory::Encoding> encodings = {memory::Encoding::kTwosComplement};
  int64_t trials = 100;         // of each cell: a fault kind, encoding and rate; with `until`: at most
  std::optional<double> until;  // a cell's trials end when its mean accuracy is known so well: ParseUntil
  uint64_t seed = 1;
  int word_bits = 32;
  memory::Where where;               // which parameters can fail; of a fault list: those that it names
  std::optional<memory::Chip> chip;  // where they lie; without: on a plain one, of words of word_bits
  DataChoice data;
  std::filesystem::path fault_list;         // CSV; instead of faults, rates and trials
  int threads = 0;                          // 0: all cores. Changes no number.
  int64_t memory_bytes = int64_t{2} << 30;  // for what is kept of the fault-free run. Changes no number.
  bool are_weighted = false;                // trials of rare faults: no report takes them as they are
  bool extend = false;                      // add to a store of fewer models, faults, rates, encodings or trials
  std::string command;                      // for the record
};

// "width<0.5": until the 95 % confidence sequence of a cell's mean accuracy is narrower than 0.5 points. Gives the
// width as a share of 1. Throws UsageError.
double ParseUntil(const std::string& text);
inline constexpr int64_t kMostTrialsUntil = 10'000;  // where nothing else is said

struct CampaignProgress {
  std::string model;
  int64_t done;  // trials safe in the store, of this and earlier runs
  int64_t total;
  double trials_per_second;  // of this run
  double seconds_left;
  int64_t cells_done = 0, cells = 0;  // with `until`: whose means are known well enough
};

struct CampaignResult {
  std::vector<store::ModelRow> models;  // in the order given
  std::vector<store::TrialRow> trials;  // in the order of models, faults, encodings, rates and trial numbers
  int64_t resumed;                      // how many were already in the store
  int64_t idle = 0;  // of a fault list: faults on cells of the chip that hold nothing of the first model
};

// Runs the trials that the store lacks; creates the store if it does not exist. Throws InputError, naming each
// difference, if the store belongs to other settings or another model file; InterruptedError when cancelled (all
// finished trials are kept). With `until`, trials are looked at in the order of their numbers, in groups that depend on
// nothing else, so that their number is the same for any number of threads.
CampaignResult RunCampaign(const CampaignSettings& settings, const std::filesystem::path& store,
                           const std::function<void(const CampaignProgress&)>& on_progress = {},
                           const Cancellation* cancellation = nullptr);

// Empty if the store (which must exist) has these settings, or only more or fewer of the same models, faults, rates,
// encodings and trials; otherwise the differences, in words.
std::string WhyStoreDoesNotFit(const CampaignSettings& settings, const std::filesystem::path& store);

// The memory in which a fault list's cells are looked up: everything that lies there, whatever can fail; without a chip
// and with words of less than 32 bits, what `where` names.
memory::MemoryImage ImageOfLists(const std::optional<memory::Chip>& chip, const model::QuantizedModel& model,
                                 memory::MemoryLayout layout, const memory::Where& where);
struct ListedFaults {
  memory::FaultLists lists;
  int64_t idle = 0;  // faults on cells that hold nothing of the model
};
// The faults of a list. Throws InputError where it lists none, and UsageError where it names places and no chip is
// given. `name` stands in errors.
ListedFaults FaultsOfList(const std::string& text, const std::string& name, bool has_chip,
                          const memory::MemoryImage& image);

// The memory that a model lies in.
memory::MemoryImage ImageOf(const CampaignSettings& settings, const model::QuantizedModel& model,
                            memory::Encoding encoding);

// The faults of the trials of a campaign on a model, for export.
memory::FaultLists FaultListsOf(const CampaignSettings& settings, const memory::MemoryImage& image,
                                const memory::FaultModel& fault, double rate);

// Runs the trial of a row again. `model`: where the file is now; empty: where the store says.
struct Replay {
  store::TrialRow stored, again;
  std::string model;
};
Replay ReplayTrial(const std::filesystem::path& store, const std::string& id, const std::filesystem::path& model,
                   const DataChoice& data);

}  // namespace steadfast::campaign
