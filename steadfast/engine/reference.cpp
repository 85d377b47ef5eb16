#include "steadfast/engine/reference.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "steadfast/engine/operators/operator.h"

namespace steadfast::engine {
namespace {

using model::Node;
using model::QuantizedModel;

}  // namespace

float RealOf(int32_t accumulator, const model::Requantization& requantization, int64_t channel) {
  const float product = static_cast<float>(accumulator) * requantization.scale[static_cast<size_t>(channel)];
  return product + requantization.offset[static_cast<size_t>(channel)];
}

uint8_t Requantize(int32_t accumulator, const model::Requantization& requantization, int64_t channel) {
  const float rounded = std::rint(RealOf(accumulator, requantization, channel));
  const float clipped = std::min(std::max(rounded, requantization.lowest), requantization.highest);
  const int code = static_cast<int>(clipped);
  return static_cast<uint8_t>(code < requantization.zero_below ? static_cast<int>(requantization.lowest) : code);
}

std::vector<float> RunReference(const QuantizedModel& model, std::span<const uint8_t> images, Trace* trace) {
  const auto input_elements = static_cast<size_t>(model.values[0].shape.elements());
  const size_t count = images.size() / input_elements;
  std::vector<std::unique_ptr<Operator>> operators;
  for (const Node& node : model.nodes) operators.push_back(MakeOperator(model, node, InstructionSet::kPortable));
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
    for (size_t n = 0; n < operators.size(); ++n) {
      std::vector<std::span<const uint8_t>> inputs;
      for (int input : model.nodes[n].inputs) inputs.emplace_back(codes[static_cast<size_t>(input)]);
      operators[n]->RunScalar(inputs, codes[static_cast<size_t>(model.nodes[n].output)], reals);
    }
    if (trace == nullptr) continue;
    for (size_t v = 0; v < codes.size(); ++v) {
      if (model.values[v].coding) trace->codes[v].insert(trace->codes[v].end(), codes[v].begin(), codes[v].end());
    }
  }
  return logits;
}

}  // namespace steadfast::engine
