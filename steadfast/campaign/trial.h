// One trial: a pure function of model, data, fault specification, seed and trial number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "steadfast/engine/evaluator.h"      // Evaluator, Golden
#include "steadfast/memory/fault_list.h"     // FaultLists
#include "steadfast/memory/fault_sampler.h"  // FaultModel
#include "steadfast/memory/memory_image.h"   // MemoryImage
#include "steadfast/store/store.h"           // TrialRow

namespace steadfast::campaign {

// What makes a trial, beside the model.
struct TrialKey {
  std::string fault;  // a fault model's name, or "list:HASH"
  memory::Encoding encoding = memory::Encoding::kTwosComplement;
  double rate = 0;  // 0 for fault lists
  int64_t trial = 0;
};

// What all trials of a store share.
struct TrialContext {
  std::string model_sha256;
  std::string data_sha256;
  uint64_t seed = 0;
  int word_bits = 32;
  int64_t images = 0;
};

// 16 hexadecimal digits of the SHA-256 of all that decides the trial's numbers.
std::string TrialId(const TrialContext& context, const TrialKey& key);

// The faults of a trial: sampled, or from the list.
memory::FaultMap FaultsOf(const TrialContext& context, const TrialKey& key, const memory::MemoryImage& image,
                          const memory::FaultLists* lists);

// Runs a trial. TrialRow::model is left 0.
store::TrialRow RunTrial(const TrialContext& context, const TrialKey& key, const memory::MemoryImage& image,
                         const memory::FaultLists* lists, engine::Evaluator& evaluator, const engine::Golden& golden,
                         const Cancellation* cancellation);

}  // namespace steadfast::campaign
