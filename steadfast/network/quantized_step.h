// One fused step of a float graph as a node on integer codes: what training's export and post-training quantization
// share.
#pragma once

#include <optional>
#include <vector>

#include "steadfast/model/quantized_model.h"
#include "steadfast/network/fusion.h"

namespace steadfast::network {

// The constants of a weighted step.
struct StepConstants {
  model::CodeFormat format;
  std::vector<float> scales;                       // of weights: 1, or one an output
  std::vector<int16_t> codes;                      // empty: of a normalization that stands alone
  std::vector<float> bias;                         // empty: none
  std::vector<float> gamma, beta, mean, variance;  // empty: no normalization
};

// Appends steps to a model whose values[0] is the input.
class StepExporter {
 public:
  StepExporter(const FloatGraph& graph, model::QuantizedModel& model);
  // The coding of the output; nothing for real outputs. Steps that keep the coding of their input take that.
  void Add(const FusedStep& step, const std::optional<model::ActivationCoding>& coding,
           const StepConstants* constants = nullptr);
  const model::ActivationCoding& CodingOf(int value) const;  // of a value of the float graph that was added

 private:
  const FloatGraph& graph_;
  model::QuantizedModel& model_;
  std::vector<int> value_of_;  // [value of the float graph]
};

}  // namespace steadfast::network
