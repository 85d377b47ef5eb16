// What bytes of images become where a network takes real numbers: pixel / 255, or as the user says.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "steadfast/data/dataset.h"  // Elements, ImageSet
#include "steadfast/model/quantized_model.h"

namespace steadfast::campaign {

// A byte becomes byte / 255, or byte * scale where that is given; then (x - mean) / deviation, by channel, where those
// are. All in float32, each operation rounded.
struct InputScaling {
  double scale = 0;                       // 0: 1 / 255, by division
  std::vector<double> means, deviations;  // one a channel, or one for all; empty: 0 and 1
  bool is_default() const { return scale == 0 && means.empty() && deviations.empty(); }
  bool operator==(const InputScaling&) const = default;
};

// "pixel/255", "pixel*0.02", "(pixel/255-[0.485,0.456,0.406])/[0.229,0.224,0.225]"; empty for a model that takes bytes.
// "codes" or "reals" where that is what the data are.
std::string NameOf(const InputScaling& input, const model::QuantizedModel& model,
                   data::Elements elements = data::Elements::kBytes);

// Throws UsageError, naming the option, where the scaling does not fit the model.
void CheckFits(const InputScaling& input, const model::QuantizedModel& model, const std::string& name);

// The same of data: elements that are no bytes need no scaling. Throws InputError where they are codes of int8, and the
// model's input is not. `name` is the model's, `dataset` the data's.
void CheckFits(const InputScaling& input, const model::QuantizedModel& model, const std::string& name,
               data::Elements elements, const std::string& dataset);

// The codes that a model's input makes of images, [n, elements]: of real numbers, those that QuantizeLinear gives.
std::vector<uint8_t> CodesOfImages(const model::QuantizedModel& model, const data::ImageSet& images,
                                   const InputScaling& input);

// The codes of images [n, elements]: the bytes themselves for a model that takes them.
std::vector<uint8_t> CodesOfImages(const model::QuantizedModel& model, std::span<const uint8_t> images,
                                   const InputScaling& input);

}  // namespace steadfast::campaign
