// Faults in the buffers that hold values between operators: which bits of which codes read wrongly, for every image or
// for some.
#pragma once

#include <cstdint>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::model {

// What becomes of a code: bits that are not kept become those of `set`, then those of `flip` are inverted.
struct CodeMasks {
  uint8_t keep = 0xff, set = 0, flip = 0;
  uint8_t Of(uint8_t code) const { return static_cast<uint8_t>(((code & keep) | set) ^ flip); }
  bool operator==(const CodeMasks&) const = default;
};

struct ValueFaults {
  struct InEveryImage {
    int64_t element;
    CodeMasks masks;
  };
  struct InOneImage {
    int64_t image, element;  // image: place in the data
    CodeMasks masks;
  };
  struct OfValue {
    std::vector<InEveryImage> in_every_image;  // before those of one image
    std::vector<InOneImage> in_one_image;      // ascending by image
    bool empty() const { return in_every_image.empty() && in_one_image.empty(); }
  };
  std::vector<OfValue> values;  // [value]; those of StoredValues alone have any

  bool empty() const;
};

// The values that lie in a buffer between operators. Not among them: what only moves codes or flattens (it reads the
// same buffer), constants, real numbers, and sums that go on to a max-pool or an addition before anything is stored.
std::vector<int> StoredValues(const QuantizedModel& model);

}  // namespace steadfast::model
