// Faults that images have of their own: reads that are upset while one image is computed, and not while the next is.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "steadfast/model/model_change.h"
#include "steadfast/model/value_faults.h"

namespace steadfast::model {

// Of a run of images.
struct ImageFaults {
  ValueFaults values;                // of buffers: of these images and, before them, of every image
  std::vector<ModelChange> changes;  // [image of the run]: of what the parameters are for all images; none: of no image
  bool changes_parameters() const {
    for (const ModelChange& change : changes) {
      if (!change.empty()) return true;
    }
    return false;
  }
};

// Those of images [first, first + count): always the same.
using ImageFaultSource = std::function<ImageFaults(int64_t first, int64_t count)>;

}  // namespace steadfast::model
