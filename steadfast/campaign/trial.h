// One trial: a pure function of model, data, fault specification, seed and trial number. Faults go in, scores come out;
// RowOf makes a store's row from both, and store_sink.h writes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/engine/evaluator.h"     // Evaluator, Golden
#include "steadfast/memory/fault_list.h"    // FaultLists
#include "steadfast/memory/fault_model.h"   // FaultModel
#include "steadfast/memory/memory_image.h"  // MemoryImage
#include "steadfast/model/image_faults.h"   // ImageFaultSource
#include "steadfast/store/store.h"          // TrialRow

namespace steadfast::campaign {

// What makes a trial, beside the model.
struct TrialKey {
  std::string fault;  // a fault model's name, or "list:HASH"
  memory::Encoding encoding = memory::Encoding::kTwosComplement;
  double rate = 0;  // 0 for fault lists, and for models that take none
  int64_t trial = 0;
  bool sees_chip = false;     // whether its faults depend on where things lie
  bool is_transient = false;  // whether images have faults of their own
};

// What all trials of one model in a campaign share.
struct TrialContext {
  std::string model_sha256;
  std::string data_sha256;
  uint64_t seed = 0;
  int word_bits = 32;
  int64_t images = 0;
  int64_t reading = 1;            // of the model file
  std::string input;              // what bytes become, of a model that takes real numbers; else empty
  std::string where = "weights";  // which parameters can fail
  std::string chip;               // as text (memory::ToText); empty: a plain one
};

// 16 hexadecimal digits of the SHA-256 of all that decides the trial's numbers.
std::string TrialId(const TrialContext& context, const TrialKey& key);
// Its id in stores of earlier versions, which hashed the width of memory words though no fault depends on it; nothing
// if that id is the same.
std::optional<std::string> EarlierTrialId(const TrialContext& context, const TrialKey& key);
// What the context adds to a trial's own columns in a store (store::Store::AddCondition).
nlohmann::json ConditionOf(const TrialContext& context);

// What a campaign tries on each model, in order: every fault model in every encoding at every rate, trial by trial; or
// the trials of a fault list of this name.
std::vector<TrialKey> PlanTrials(const std::vector<memory::FaultModel>& faults,
                                 const std::vector<memory::Encoding>& encodings, const std::vector<double>& rates,
                                 int64_t trials);
std::vector<TrialKey> PlanTrials(const memory::FaultLists& lists, const std::string& name,
                                 const std::vector<memory::Encoding>& encodings);

// Where a campaign's faults come from: models by their names, or lists.
struct FaultSources {
  std::vector<memory::FaultModel> models;
  const memory::FaultLists* lists = nullptr;
};
// The faults of a trial.
memory::FaultMap FaultsOf(const TrialContext& context, const TrialKey& key, const memory::MemoryImage& image,
                          const FaultSources& sources);

// What a trial's faults come to.
struct Effect {
  int64_t faulty_bits = 0;  // cells that were faulty for all images
  model::ModelChange change;
  model::ValueFaults values;
  // The faults that images have of their own, and `values`, where the model is transient. What it gave is counted.
  model::ImageFaultSource of_images;
  struct Counts {
    std::atomic<int64_t> faulty_bits = 0, changed_codes = 0;  // of all images together
  };
  std::shared_ptr<Counts> counts = std::make_shared<Counts>();
};
// `image` and `sources` must outlive the effect.
Effect EffectOfTrial(const TrialContext& context, const TrialKey& key, const memory::MemoryImage& image,
                     const FaultSources& sources, const model::QuantizedModel& model);

// What faults do.
struct Outcome {
  int64_t faulty_bits = 0;    // cells that were faulty; of transient faults, in all images together
  int64_t changed_codes = 0;  // elements of parameters that really changed; the same
  engine::Scores scores;
};
Outcome Evaluate(const Effect& effect, engine::Evaluator& evaluator, const engine::Golden& golden,
                 const Cancellation* cancellation);

// A store's row of a trial. TrialRow::model and ::condition are left 0.
store::TrialRow RowOf(const TrialContext& context, const TrialKey& key, const Outcome& outcome);

}  // namespace steadfast::campaign
