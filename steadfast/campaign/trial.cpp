#include "steadfast/campaign/trial.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "steadfast/base/error.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"

namespace steadfast::campaign {
namespace {

std::string IdOf(const TrialContext& context, const TrialKey& key, int word_bits) {
  std::string text = fmt::format("trial/{}/{}/{}/{}/{}/{}/{}/{}/{}/{}", memory::kSamplerVersion, context.model_sha256,
                                 context.data_sha256, context.images, context.seed, word_bits, key.fault,
                                 memory::NameOf(key.encoding), FormatShortest(key.rate), key.trial);
  // Defaults are left out of the text, so that trials keep the ids that earlier versions gave them.
  if (context.reading > 1) text += fmt::format("/reading {}", context.reading);
  if (!context.input.empty()) text += fmt::format("/input {}", context.input);
  if (context.where != "weights") text += fmt::format("/where {}", context.where);
  return Sha256(text).substr(0, 16);
}

constexpr int kHashedWordBits = 32;

}  // namespace

std::string TrialId(const TrialContext& context, const TrialKey& key) {
  return IdOf(context, key, kHashedWordBits);
}

std::optional<std::string> EarlierTrialId(const TrialContext& context, const TrialKey& key) {
  if (context.word_bits == kHashedWordBits) return std::nullopt;
  return IdOf(context, key, context.word_bits);
}

nlohmann::json ConditionOf(const TrialContext& context) {
  nlohmann::json condition = {{"seed", context.seed},
                              {"word_bits", context.word_bits},
                              {"images", context.images},
                              {"data_sha256", context.data_sha256},
                              {"sampler_version", memory::kSamplerVersion},
                              {"arithmetic", store::kArithmetic}};
  if (context.reading > 1) condition["reading"] = context.reading;
  if (!context.input.empty()) condition["input"] = context.input;
  if (context.where != "weights") condition["where"] = context.where;
  return condition;
}

std::vector<TrialKey> PlanTrials(const std::vector<memory::FaultModel>& faults,
                                 const std::vector<memory::Encoding>& encodings, const std::vector<double>& rates,
                                 int64_t trials) {
  std::vector<TrialKey> keys;
  for (const auto& fault : faults) {
    for (auto encoding : encodings) {
      for (double rate : rates) {
        for (int64_t trial = 0; trial < trials; ++trial) keys.push_back({memory::NameOf(fault), encoding, rate, trial});
      }
    }
  }
  return keys;
}

std::vector<TrialKey> PlanTrials(const memory::FaultLists& lists, const std::string& name,
                                 const std::vector<memory::Encoding>& encodings) {
  std::vector<TrialKey> keys;
  for (auto encoding : encodings) {
    for (const auto& [trial, map] : lists) keys.push_back({name, encoding, 0.0, static_cast<int64_t>(trial)});
  }
  return keys;
}

memory::FaultMap FaultsOf(const TrialContext& context, const TrialKey& key, const memory::MemoryImage& image,
                          const memory::FaultLists* lists) {
  if (lists == nullptr) {
    return memory::SampleFaults(KeyOfSeed(context.seed), static_cast<uint64_t>(key.trial), image.sampled_arrays(),
                                key.rate, memory::ParseFaultModel(key.fault));
  }
  const auto found = lists->find(static_cast<uint64_t>(key.trial));
  if (found == lists->end()) throw InputError(fmt::format("the fault list has no trial {}", key.trial));
  return found->second;
}

Outcome Evaluate(const memory::FaultMap& faults, const memory::MemoryImage& image, engine::Evaluator& evaluator,
                 const engine::Golden& golden, const Cancellation* cancellation) {
  const model::ModelChange change = memory::EffectOf(faults, image);
  // If no stored element changed, no result can have changed: the golden scores are the answer.
  return {static_cast<int64_t>(faults.faults.size()), static_cast<int64_t>(change.changes.size()),
          change.empty() ? golden.scores : evaluator.Evaluate(change, golden, cancellation)};
}

store::TrialRow RowOf(const TrialContext& context, const TrialKey& key, const Outcome& outcome) {
  const engine::Scores& scores = outcome.scores;
  return {.id = TrialId(context, key),
          .model = 0,
          .fault = key.fault,
          .encoding = std::string(memory::NameOf(key.encoding)),
          .rate = key.rate,
          .trial = key.trial,
          .faulty_bits = outcome.faulty_bits,
          .changed_codes = outcome.changed_codes,
          .images = scores.images,
          .correct = scores.correct,
          .changed = scores.changed,
          .broken = scores.broken,
          .repaired = scores.repaired,
          .margin_sum = scores.margin_sum,
          .loss_sum = scores.loss_sum};
}

}  // namespace steadfast::campaign
