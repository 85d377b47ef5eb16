#include "steadfast/campaign/trial.h"

#include <fmt/format.h>

#include "steadfast/base/error.h"
#include "steadfast/base/hash.h"
#include "steadfast/base/text.h"

namespace steadfast::campaign {

std::string TrialId(const TrialContext& context, const TrialKey& key) {
  return Sha256(fmt::format("trial/{}/{}/{}/{}/{}/{}/{}/{}/{}/{}", memory::kSamplerVersion, context.model_sha256,
                            context.data_sha256, context.images, context.seed, context.word_bits, key.fault,
                            memory::NameOf(key.encoding), FormatShortest(key.rate), key.trial))
      .substr(0, 16);
}

memory::FaultMap FaultsOf(const TrialContext& context, const TrialKey& key, const memory::MemoryImage& image,
                          const memory::FaultLists* lists) {
  if (lists == nullptr) {
    const auto cells = image.cells_of_arrays();
    return memory::SampleFaults(KeyOfSeed(context.seed), static_cast<uint64_t>(key.trial), cells, key.rate,
                                memory::ParseFaultModel(key.fault));
  }
  const auto found = lists->find(static_cast<uint64_t>(key.trial));
  if (found == lists->end()) throw InputError(fmt::format("the fault list has no trial {}", key.trial));
  return found->second;
}

store::TrialRow RunTrial(const TrialContext& context, const TrialKey& key, const memory::MemoryImage& image,
                         const memory::FaultLists* lists, engine::Evaluator& evaluator, const engine::Golden& golden,
                         const Cancellation* cancellation) {
  const memory::FaultMap faults = FaultsOf(context, key, image, lists);
  const model::ModelChange change = memory::EffectOf(faults, image);
  // Where no code changed, nothing can have: the golden run is the answer.
  const engine::Scores scores = change.codes.empty() ? golden.scores : evaluator.Evaluate(change, golden, cancellation);
  return {.id = TrialId(context, key),
          .model = 0,
          .fault = key.fault,
          .encoding = std::string(memory::NameOf(key.encoding)),
          .rate = key.rate,
          .trial = key.trial,
          .faulty_bits = static_cast<int64_t>(faults.faults.size()),
          .changed_codes = static_cast<int64_t>(change.codes.size()),
          .images = scores.images,
          .correct = scores.correct,
          .changed = scores.changed,
          .broken = scores.broken,
          .repaired = scores.repaired,
          .margin_sum = scores.margin_sum,
          .loss_sum = scores.loss_sum};
}

}  // namespace steadfast::campaign
