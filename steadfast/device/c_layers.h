// The layers of a network as C: constants that describe each, and the calls that run them in turn. Internal to the
// room.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "steadfast/model/quantized_model.h"

namespace steadfast::device {

struct CLayers {
  std::string constants, calls;
  std::set<std::string> operators;  // files of runtime/ that are called, without .c
  int64_t constant_bytes = 0;       // where pointers have 32 bits
  int64_t most_products = 0;        // of an output
};

// The name of the codes that a Constant gives, of the node of this number.
std::string NameOfCodes(size_t node);

// values: [value] the C expression of where its codes lie. Parameters are `parameterN`, real results `output`, weights
// of an output `levels`. Throws UsageError for an operator that has no C, InputError for constants that have none.
CLayers LayersAsC(const model::QuantizedModel& model, const std::vector<std::string>& values);

}  // namespace steadfast::device
