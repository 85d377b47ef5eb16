// The inner loops of LSQ (Esser et al., ICLR 2020) on plain arrays: each is one pass where LibTorch would take a chain
// of operations. Step sizes are positive. Rounding is to nearest, ties to even, after clipping.
#pragma once

#include <cstdint>

namespace steadfast::train {

struct CodeRange {
  float lowest;   // -Qn
  float highest;  // Qp
};

// Sums over the positive part of x, for sparsity penalties.
struct PositiveSums {
  double sum = 0.0;      // of max(x, 0)
  double squares = 0.0;  // of max(x, 0)^2
};

// out[i] = step * round(clip(x[i] / step, range)).
void QuantizeForward(const float* x, float* out, int64_t n, float step, CodeRange range);

// Straight-through gradient to x: grad[i] inside the range, 0 outside. Gives the gradient to the step, before LSQ's
// scale: sum of grad[i] * (-x/step + round(x/step)) inside, grad[i] * bound outside.
double QuantizeBackward(const float* x, const float* grad, float* grad_x, int64_t n, float step, CodeRange range);

// The same, and adds to the gradient of x where x > 0: linear + quadratic * x (what a penalty on PositiveSums of x
// needs).
double QuantizeBackwardWithPenalty(const float* x, const float* grad, float* grad_x, int64_t n, float step,
                                   CodeRange range, float linear, float quadratic);

PositiveSums SumPositive(const float* x, int64_t n);

// out[i] = table[bytes[i]]
void LookUp(const uint8_t* bytes, float* out, int64_t n, const float table[256]);

}  // namespace steadfast::train
