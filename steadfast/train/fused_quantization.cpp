#include "steadfast/train/fused_quantization.h"

namespace steadfast::train {
namespace {

#if defined(__x86_64__)
#define STEADFAST_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define STEADFAST_CLONES
#endif

constexpr int kLanes = 16;
constexpr int64_t kSumBlock = 4096;  // float sums of a lane stay short; blocks are added in double

// Adding and subtracting 1.5 * 2^23 rounds |v| < 2^22 to nearest, ties to even.
constexpr float kRounder = 12582912.0f;

inline __attribute__((always_inline)) float Clip(float v, CodeRange range) {
  const float above = v > range.lowest ? v : range.lowest;
  return above < range.highest ? above : range.highest;
}
inline __attribute__((always_inline)) float Round(float v) {
  return (v + kRounder) - kRounder;
}

template <bool kPenalty>
inline __attribute__((always_inline)) double BackwardBody(const float* x, const float* grad, float* grad_x, int64_t n,
                                                          float step, CodeRange range, float linear, float quadratic) {
  const float inverse = 1.0f / step;
  double total = 0.0;
  for (int64_t block = 0; block < n; block += kSumBlock) {
    const int64_t end = block + kSumBlock < n ? block + kSumBlock : n;
    float lanes[kLanes] = {};
    int64_t i = block;
    const auto one = [&](int64_t at, float& lane) __attribute__((always_inline)) {
      const float v = x[at] * inverse, g = grad[at];
      const float clipped = Clip(v, range);
      const bool inside = v > range.lowest && v < range.highest;
      lane += g * (Round(clipped) - (inside ? v : 0.0f));
      float result = inside ? g : 0.0f;
      if (kPenalty) result += x[at] > 0.0f ? linear + quadratic * x[at] : 0.0f;
      grad_x[at] = result;
    };
    for (; i + kLanes <= end; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) one(i + l, lanes[l]);
    }
    for (; i < end; ++i) one(i, lanes[0]);
    for (float lane : lanes) total += lane;
  }
  return total;
}

}  // namespace

STEADFAST_CLONES void QuantizeForward(const float* x, float* out, int64_t n, float step, CodeRange range) {
  const float inverse = 1.0f / step;
  for (int64_t i = 0; i < n; ++i) out[i] = step * Round(Clip(x[i] * inverse, range));
}

STEADFAST_CLONES double QuantizeBackward(const float* x, const float* grad, float* grad_x, int64_t n, float step,
                                         CodeRange range) {
  return BackwardBody<false>(x, grad, grad_x, n, step, range, 0.0f, 0.0f);
}

STEADFAST_CLONES double QuantizeBackwardWithPenalty(const float* x, const float* grad, float* grad_x, int64_t n,
                                                    float step, CodeRange range, float linear, float quadratic) {
  return BackwardBody<true>(x, grad, grad_x, n, step, range, linear, quadratic);
}

STEADFAST_CLONES PositiveSums SumPositive(const float* x, int64_t n) {
  PositiveSums sums;
  for (int64_t block = 0; block < n; block += kSumBlock) {
    const int64_t end = block + kSumBlock < n ? block + kSumBlock : n;
    float lanes[kLanes] = {}, squares[kLanes] = {};
    int64_t i = block;
    for (; i + kLanes <= end; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) {
        const float v = x[i + l] > 0.0f ? x[i + l] : 0.0f;
        lanes[l] += v;
        squares[l] += v * v;
      }
    }
    for (; i < end; ++i) {
      const float v = x[i] > 0.0f ? x[i] : 0.0f;
      lanes[0] += v;
      squares[0] += v * v;
    }
    for (int l = 0; l < kLanes; ++l) {
      sums.sum += lanes[l];
      sums.squares += squares[l];
    }
  }
  return sums;
}

void LookUp(const uint8_t* bytes, float* out, int64_t n, const float table[256]) {
  for (int64_t i = 0; i < n; ++i) out[i] = table[bytes[i]];
}

}  // namespace steadfast::train
