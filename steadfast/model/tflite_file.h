// TFLite files (FlatBuffers) of 8-bit networks, as TensorFlow's converter writes them.
//
// A file's values are NHWC; a QuantizedModel's are NCHW. Weights stay in the file's own order: element i of a parameter
// is the file's element i. The arithmetic is that of XNNPACK (Profile::kXnnpack), which TFLite runs 8-bit networks with
// by default (docs/runtimes.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "steadfast/model/quantized_model.h"  // QuantizedModel

namespace steadfast::model {

bool IsTflite(std::span<const uint8_t> bytes);

struct TfliteModel {
  QuantizedModel model;
  // [parameter]: where its elements lie in the file, one after the other, little-endian.
  std::vector<uint64_t> offsets;
};

// Parses and validates. `name` stands in errors. Throws InputError, naming tensor or operator, for anything that is not
// an 8-bit network of the operators Steadfast knows. Values, which a file only names, have at most 2^24 elements.
TfliteModel FromTflite(std::span<const uint8_t> bytes, const std::string& name);

}  // namespace steadfast::model
