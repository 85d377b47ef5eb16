// A model's file with other bits in some of its stored elements, so that any runtime can run what a fault made of it.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "steadfast/model/model_change.h"  // ModelChange

namespace steadfast::model {

// The bytes of an ONNX or TFLite file in which exactly the elements that `change` names hold their new bits: a code
// narrower than its container with its sign extended, all else byte for byte. change: of the model as it is read from
// the file, with these weights narrower than it says (SetStoredBits). Throws InputError, naming file and parameter,
// where an element does not hold the old bits, or (ONNX) the file does not come back byte for byte from being parsed
// and written.
std::vector<uint8_t> WithChange(std::span<const uint8_t> bytes, const std::string& name, const ModelChange& change,
                                const std::map<std::string, int>& stored_bits = {});

}  // namespace steadfast::model
