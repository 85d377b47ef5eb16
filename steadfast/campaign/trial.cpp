#include "steadfast/campaign/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "steadfast/base/error.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"
#include "steadfast/memory/fault_sampler.h"  // kSamplerVersion

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
  if (!context.chip.empty())
    text += fmt::format("/chip {}", context.chip);
  else if (key.sees_chip || context.where.find("bank=") != std::string::npos)
    text += fmt::format("/chip {}", memory::ToText(memory::PlainChip("all,activations", context.word_bits)));
  return Sha256(text).substr(0, 16);
}

constexpr int kHashedWordBits = 32;

const memory::FaultModel& ModelNamed(const FaultSources& sources, const std::string& name) {
  const auto model = std::find_if(sources.models.begin(), sources.models.end(),
                                  [&](const auto& one) { return memory::NameOf(one) == name; });
  if (model == sources.models.end()) throw Error(fmt::format("no fault model is called {}", name));
  return *model;
}

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
  if (!context.chip.empty()) condition["chip"] = context.chip;
  return condition;
}

std::vector<TrialKey> PlanTrials(const std::vector<memory::FaultModel>& faults,
                                 const std::vector<memory::Encoding>& encodings, const std::vector<double>& rates,
                                 int64_t trials) {
  std::vector<TrialKey> keys;
  for (const auto& fault : faults) {
    const std::vector<double> own_rates = fault.process().takes_rate() ? rates : std::vector<double>{0.0};
    for (auto encoding : encodings) {
      for (double rate : own_rates) {
        for (int64_t trial = 0; trial < trials; ++trial)
          keys.push_back({memory::NameOf(fault), encoding, rate, trial, fault.process().sees_chip(),
                          fault.process().is_transient()});
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
                          const FaultSources& sources) {
  if (sources.lists == nullptr) {
    return memory::SampleFaults(KeyOfSeed(context.seed), static_cast<uint64_t>(key.trial), image, key.rate,
                                ModelNamed(sources, key.fault));
  }
  const auto found = sources.lists->find(static_cast<uint64_t>(key.trial));
  if (found == sources.lists->end()) throw InputError(fmt::format("the fault list has no trial {}", key.trial));
  return found->second;
}

Effect EffectOfTrial(const TrialContext& context, const TrialKey& key, const memory::MemoryImage& image,
                     const FaultSources& sources, const model::QuantizedModel& model) {
  const memory::FaultMap map = FaultsOf(context, key, image, sources);
  Effect effect{static_cast<int64_t>(map.faults.size()), memory::EffectOf(map, image), {}, {}};
  effect.values.values.resize(model.values.size());
  memory::AddValueFaults(map, image, std::nullopt, effect.values);
  if (sources.lists != nullptr) return effect;
  const memory::FaultModel& fault = ModelNamed(sources, key.fault);
  if (!fault.process().is_transient()) return effect;
  // Upset reads meet what the other faults have made of the memory.
  const auto struck = map.faults.empty() ? std::shared_ptr<const memory::MemoryImage>(std::shared_ptr<void>(), &image)
                                         : std::make_shared<const memory::MemoryImage>(memory::Struck(image, map));
  effect.of_images = [&fault, struck, key = KeyOfSeed(context.seed), trial = static_cast<uint64_t>(key.trial),
                      rate = key.rate, values = effect.values, counts = effect.counts](int64_t first, int64_t count) {
    model::ImageFaults faults{values, std::vector<model::ModelChange>(static_cast<size_t>(count))};
    memory::SampleFaultsOfImages(key, trial, *struck, rate, fault, {first, count},
                                 [&](int64_t number, const memory::FaultMap& of_image) {
                                   model::ModelChange& change = faults.changes[static_cast<size_t>(number - first)];
                                   change = memory::EffectOf(of_image, *struck);
                                   memory::AddValueFaults(of_image, *struck, number, faults.values);
                                   counts->faulty_bits += static_cast<int64_t>(of_image.faults.size());
                                   counts->changed_codes += static_cast<int64_t>(change.changes.size());
                                 });
    return faults;
  };
  return effect;
}

Outcome Evaluate(const Effect& effect, engine::Evaluator& evaluator, const engine::Golden& golden,
                 const Cancellation* cancellation) {
  const auto changed_codes = static_cast<int64_t>(effect.change.changes.size());
  if (effect.of_images) {
    const engine::Scores scores = evaluator.Evaluate(effect.change, effect.of_images, golden, cancellation);
    return {effect.faulty_bits + effect.counts->faulty_bits, changed_codes + effect.counts->changed_codes, scores};
  }
  // If nothing changed, no result can have changed: the golden scores are the answer.
  return {effect.faulty_bits, changed_codes,
          effect.change.empty() && effect.values.empty()
              ? golden.scores
              : evaluator.Evaluate(effect.change, effect.values, golden, cancellation)};
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
