#include "steadfast/campaign/trial.h"

#include <gtest/gtest.h>

#include <map>

#include "steadfast/base/philox.h"
#include "steadfast/engine/reference.h"
#include "steadfast/model/random_model.h"

namespace steadfast::campaign {
namespace {

// Upset reads meet what stuck cells have made of the memory, image by image: against plain loops over patterns.
TEST(TransientTrial, EachImageIsWhatItsOwnParametersGive) {
  for (const std::string where : {"weights", "all"}) {
    const model::QuantizedModel model = model::RandomLeNet5(3, 4, 31);
    const memory::MemoryImage image(model, {memory::Encoding::kGray, 32}, memory::ParseWhere(where));
    const memory::FaultModel fault = memory::ParseFaultModel("0.5*sa1+0.5*transient:flip");
    TrialContext context;
    context.seed = 5;
    const FaultSources sources{{fault}};
    const TrialKey key{memory::NameOf(fault), memory::Encoding::kGray, where == "all" ? 2e-4 : 4e-3, 3, false, true};
    const Effect effect = EffectOfTrial(context, key, image, sources, model);
    ASSERT_TRUE(effect.of_images);

    constexpr int64_t kImages = 70;
    const auto bytes = model::RandomImages(model, kImages, 6);
    const std::vector<uint16_t> labels(static_cast<size_t>(kImages), 3);
    const engine::EvaluationSet set = engine::MakeEvaluationSet(model, bytes, labels);
    const engine::Golden golden = engine::RunGolden(model, set, 1);
    engine::Evaluator evaluator(model, set);
    const Outcome outcome = Evaluate(effect, evaluator, golden, nullptr);

    const memory::FaultMap stuck = FaultsOf(context, key, image, sources);
    EXPECT_FALSE(stuck.faults.empty());
    const auto elements = bytes.size() / static_cast<size_t>(kImages);
    int64_t margin = 0, faulty_bits = static_cast<int64_t>(stuck.faults.size()), images = 0;
    memory::SampleFaultsOfImages(
        KeyOfSeed(5), 3, image, key.rate, fault, {0, kImages}, [&](int64_t number, const memory::FaultMap& upset) {
          std::map<std::pair<int, int64_t>, uint32_t> patterns;
          for (const auto* map : {&stuck, &upset}) {
            for (const memory::Fault& one : map->faults) {
              const memory::MemoryArray& array = image.arrays()[static_cast<size_t>(one.bit.array)];
              const int64_t element = one.bit.cell / array.bits();
              const auto found =
                  patterns.try_emplace({one.bit.array, element}, array.patterns[static_cast<size_t>(element)]).first;
              found->second =
                  memory::ApplyFault(found->second, static_cast<int>(one.bit.cell % array.bits()), one.kind);
            }
          }
          model::ModelChange change;
          for (const auto& [at, pattern] : patterns) {
            const memory::MemoryArray& array = image.arrays()[static_cast<size_t>(at.first)];
            const auto stored = [&](uint32_t bits) {
              if (array.format.kind != model::StorageFormat::Kind::kCodes) return bits;
              return array.format.codes.pattern(memory::Decode(array.format.codes, array.encoding, bits));
            };
            const uint32_t before = stored(array.patterns[static_cast<size_t>(at.second)]), now = stored(pattern);
            if (before != now) change.changes.push_back({array.parameter, at.second, before, now});
          }
          faulty_bits += static_cast<int64_t>(upset.faults.size());
          model::QuantizedModel changed = model;
          Apply(change, changed);
          const auto first = bytes.begin() + number * static_cast<int64_t>(elements);
          margin += engine::MarginOf(
              engine::RunReference(changed, std::vector<uint8_t>(first, first + static_cast<int64_t>(elements))), 3);
          ++images;
        });
    EXPECT_EQ(images, kImages);
    EXPECT_EQ(outcome.scores.margin_sum, margin) << where;
    EXPECT_EQ(outcome.faulty_bits, faulty_bits);
    EXPECT_GT(outcome.changed_codes, 0);
    EXPECT_NE(outcome.scores.margin_sum, golden.scores.margin_sum);
  }
}

}  // namespace
}  // namespace steadfast::campaign
