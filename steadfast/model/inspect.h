// What a model consists of, layer by layer, for people and for records.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "steadfast/model/onnx_file.h"        // ModelFile
#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::model {

struct LayerSummary {
  std::string name;
  std::string kind;
  ValueShape output;
  std::vector<int64_t> weight_shape;  // empty: no weights
  int weight_bits = 0;                // 0: no weights
  int activation_bits = 0;            // of the output; 0: real numbers
  float activation_scale = 0;
  int zero_below = 0;
  std::vector<float> weight_scale;
  int64_t macs = 0;                  // multiply-accumulates for one image
  int64_t memory_bits = 0;           // of the weight codes
  std::optional<double> zero_share;  // of the output's codes on the test set, where the metadata knows it
};

std::vector<LayerSummary> Summarize(const QuantizedModel& model);

// All that a file holds, as `steadfast inspect --json` writes it.
nlohmann::json InspectionOf(const ModelFile& file);

// Bits of all weight codes: the cells that can fail.
int64_t MemoryBits(const QuantizedModel& model);
int64_t Macs(const QuantizedModel& model);

// Text from a file as JSON; null where it is not JSON, or is nested deeper than anything Steadfast writes.
nlohmann::json ParseBoundedJson(const std::string& text);

// A metadata entry parsed as JSON, or null if it is absent or is not JSON.
nlohmann::json MetadataJson(const QuantizedModel& model, const std::string& key);

}  // namespace steadfast::model
