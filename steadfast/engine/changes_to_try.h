// Random changes of parameters for tests.
#pragma once

#include <iterator>
#include <map>
#include <random>

#include "steadfast/model/model_change.h"

namespace steadfast::engine {

// A float that a fault may make of a stored one: another bit pattern, now and then one that is not an ordinary number.
inline uint32_t BrokenFloat(uint32_t stored, std::mt19937_64& random) {
  constexpr uint32_t kBroken[] = {0x7FC00000u, 0xFFC00001u, 0x7F800000u, 0xFF800000u, 0x00000001u,
                                  0x80000001u, 0x80000000u, 0x00000000u, 0x7F7FFFFFu, 0xFF7FFFFFu};
  if (random() % 3 == 0) return kBroken[random() % std::size(kBroken)];
  return stored ^ 1u << random() % 32;
}

// `count` random elements of random parameters hold other bits. Weights alone, or anything that is stored.
inline model::ModelChange RandomChange(const model::QuantizedModel& model, int count, std::mt19937_64& random,
                                       bool weights_alone = false) {
  const std::vector<int> weights = model::WeightsOf(model);
  std::map<std::pair<int, int64_t>, uint32_t> changes;
  for (int i = 0; i < count; ++i) {
    const bool weight = weights_alone || random() % 2 == 0;
    const int index =
        weight ? weights[random() % weights.size()] : static_cast<int>(random() % model.parameters.size());
    const model::Parameter& parameter = model.parameter(index);
    const auto element = static_cast<int64_t>(random() % parameter.bits.size());
    const uint32_t stored = parameter.bits[static_cast<size_t>(element)];
    const int bits = parameter.format.bits();
    uint32_t now = static_cast<uint32_t>(random()) & (bits == 32 ? ~0u : (1u << bits) - 1);
    if (parameter.format.is_float()) now = BrokenFloat(stored, random);
    if (now != stored) changes[{index, element}] = now;
  }
  model::ModelChange change;
  for (const auto& [at, bits] : changes)
    change.changes.push_back(
        {at.first, at.second, model.parameter(at.first).bits[static_cast<size_t>(at.second)], bits});
  return change;
}

}  // namespace steadfast::engine
