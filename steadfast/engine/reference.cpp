#include "steadfast/engine/reference.h"

#include <algorithm>

namespace steadfast::engine {

std::vector<float> RunReference(const model::QuantizedModel& model, std::span<const uint8_t> images, Trace* trace) {
  const auto input_elements = static_cast<size_t>(model.values[0].shape.elements());
  const size_t count = images.size() / input_elements;
  std::vector<model::ScalarRule> rules;
  for (const model::Node& node : model.nodes) rules.push_back(node.operation.definition().scalar_rule(model, node));
  std::vector<std::vector<uint8_t>> codes(model.values.size());
  for (size_t v = 0; v < codes.size(); ++v) codes[v].resize(static_cast<size_t>(model.values[v].shape.elements()));
  std::vector<float> logits(count * static_cast<size_t>(model.classes()));
  if (trace != nullptr) {
    trace->codes.assign(model.values.size(), {});
    for (size_t v = 0; v < codes.size(); ++v) {
      if (model.values[v].coding) trace->codes[v].reserve(count * codes[v].size());
    }
  }
  for (size_t i = 0; i < count; ++i) {
    const auto image = images.subspan(i * input_elements, input_elements);
    std::copy(image.begin(), image.end(), codes[0].begin());
    const auto reals =
        std::span(logits).subspan(i * static_cast<size_t>(model.classes()), static_cast<size_t>(model.classes()));
    for (size_t n = 0; n < rules.size(); ++n) {
      std::vector<std::span<const uint8_t>> inputs;
      for (int input : model.nodes[n].inputs) inputs.emplace_back(codes[static_cast<size_t>(input)]);
      rules[n](inputs, codes[static_cast<size_t>(model.nodes[n].output)], reals);
    }
    if (trace == nullptr) continue;
    for (size_t v = 0; v < codes.size(); ++v) {
      if (model.values[v].coding) trace->codes[v].insert(trace->codes[v].end(), codes[v].begin(), codes[v].end());
    }
  }
  return logits;
}

}  // namespace steadfast::engine
