#include "steadfast/engine/evaluation_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "steadfast/base/error.h"

namespace steadfast::engine {

EvaluationSet MakeEvaluationSet(const model::QuantizedModel& model, std::span<const uint8_t> images,
                                std::span<const uint16_t> labels) {
  const int64_t elements = model.values[0].shape.elements();
  if (static_cast<int64_t>(images.size()) != static_cast<int64_t>(labels.size()) * elements || labels.empty()) {
    throw InputError(fmt::format("the network takes images of {} bytes, and {} bytes for {} images do not fit",
                                 elements, images.size(), labels.size()));
  }
  const int largest = *std::max_element(labels.begin(), labels.end());
  if (largest >= model.classes()) {
    throw InputError(fmt::format("the network knows {} classes, and the data has label {}", model.classes(), largest));
  }
  return {PreparedImages(images, elements), {labels.begin(), labels.end()}};
}

}  // namespace steadfast::engine
