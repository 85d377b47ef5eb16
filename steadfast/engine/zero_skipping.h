// An analytical model of an accelerator that skips zero activations, after Cnvlutin (Albericio et al., ISCA 2016).
//
// A window's inputs are dealt out to lanes; each cycle a lane multiplies one input that is not zero with the weights of
// many filters at once. Lanes synchronize at the end of a window, so the fullest lane decides: imbalance counts. The
// same machine without skipping takes every input. Inputs are dealt out in turn, in bricks: `brick` neighbouring inputs
// (channel after channel at one window position) go to the same lane. The paper has bricks of 16, which leave most
// lanes idle on small windows. A window of zeros takes one cycle (our choice, as is the dealing in turn).
#pragma once

#include <cstdint>
#include <span>

#include "steadfast/model/quantized_model.h"  // QuantizedModel, Node

namespace steadfast::engine {

struct ZeroSkippingMachine {
  int lanes = 16;
  int filters = 256;  // computed side by side
  int brick = 1;
};

struct ZeroSkippingCycles {
  int64_t plain = 0;                  // cycles of the machine that takes every input
  int64_t skipping = 0;               // cycles of the machine that skips
  int64_t products = 0, skipped = 0;  // multiplications in all, and of zeros (padding is none of them)

  ZeroSkippingCycles& operator+=(const ZeroSkippingCycles& other);
};

// The value whose elements a node's machine takes in turn, and skips where they are zero: the input of a weighted node;
// of a product of two values the second, whose columns are multiplied with the rows of the first as with filters; -1
// where a node multiplies nothing.
int StreamedInputOf(const model::Node& node);

// One node on one image. codes: of its streamed input, [elements]
ZeroSkippingCycles CountCycles(const model::QuantizedModel& model, const model::Node& node,
                               std::span<const uint8_t> codes, const ZeroSkippingMachine& machine);

}  // namespace steadfast::engine
