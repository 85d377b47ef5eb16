// The kernels as plain loops, to be compiled for an instruction set by each file that has one. Internal to the kernels.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "steadfast/base/elementary.h"  // PortableExp and its constants
#include "steadfast/engine/kernels.h"
#include "steadfast/engine/scores.h"  // kLargestScore

namespace steadfast::engine {
namespace {

#define STEADFAST_INLINE inline __attribute__((always_inline))

// ---- Portable: plain loops, compiled once for the baseline and once for AVX2 ----

STEADFAST_INLINE void MakeQuadBody(const uint8_t* const rows[4], uint8_t* quad) {
  for (int i = 0; i < kRowBytes; ++i) {
    for (int j = 0; j < 4; ++j) quad[4 * i + j] = rows[j][i];
  }
}

STEADFAST_INLINE void ProductsBody(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,
                                   int outputs, const int32_t* initial, int64_t initial_stride, int32_t* sums) {
  for (int o = 0; o < outputs; ++o) {
    uint32_t lanes[kBlockImages] = {};
    if (initial != nullptr) std::memcpy(lanes, initial + o * initial_stride, sizeof lanes);
    for (int t = 0; t < taps; ++t) {
      const uint8_t* quad = base + offsets[t];
      int8_t w[4];
      std::memcpy(w, &weights[t * outputs + o], 4);
      const int32_t w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
      for (int i = 0; i < kBlockImages; ++i) {
        lanes[i] += static_cast<uint32_t>(quad[4 * i] * w0 + quad[4 * i + 1] * w1 + quad[4 * i + 2] * w2 +
                                          quad[4 * i + 3] * w3);
      }
    }
    std::memcpy(sums + o * kBlockImages, lanes, sizeof lanes);
  }
}

inline void PackByTap(std::span<const uint32_t> weights, int, int, int, std::vector<uint32_t>& packed) {
  packed.insert(packed.end(), weights.begin(), weights.end());
}

STEADFAST_INLINE void MaximumBody(const int32_t* sums, int32_t* into, int count) {
  for (int i = 0; i < count; ++i) into[i] = std::max(into[i], sums[i]);
}

STEADFAST_INLINE void RequantizeBody(const int32_t* sums, int32_t correction, const RequantizeConstants& c,
                                     uint8_t* row) {
  for (int i = 0; i < kBlockImages; ++i) {
    const auto sum = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + static_cast<uint32_t>(correction));
    const float product = static_cast<float>(sum) * c.scale;
    const float value = product + c.offset;
    // Clipping to whole numbers before rounding gives the same as after it. NaN becomes the lowest.
    const float raised = value > c.lowest ? value : c.lowest;
    const float clipped = raised < c.highest ? raised : c.highest;
    const int code = static_cast<int>(std::rint(clipped)) + c.zero_point;
    row[i] = static_cast<uint8_t>(code < c.zero_below ? c.lowest_code() : code);
  }
}

STEADFAST_INLINE void SubtractBody(const int32_t* a, const int32_t* b, int32_t* result) {
  for (int i = 0; i < kBlockImages; ++i)
    result[i] = static_cast<int32_t>(static_cast<uint32_t>(a[i]) - static_cast<uint32_t>(b[i]));
}

STEADFAST_INLINE void AddScaledRowBody(const uint8_t* row, int32_t factor, const int32_t* from, int32_t* into) {
  for (int i = 0; i < kBlockImages; ++i)
    into[i] = static_cast<int32_t>(static_cast<uint32_t>(from[i]) + static_cast<uint32_t>(row[i] * factor));
}

STEADFAST_INLINE void AddColumnsBody(const int32_t* weights, int32_t level, int64_t outputs, int64_t count,
                                     int64_t step, int32_t* into) {
  for (int64_t i = 0; i < count; ++i, weights += outputs, into += step) {
    for (int64_t o = 0; o < outputs; ++o)
      into[o] = static_cast<int32_t>(static_cast<uint32_t>(into[o]) +
                                     static_cast<uint32_t>(static_cast<int16_t>(weights[o]) * level));
  }
}

STEADFAST_INLINE void RealsBody(const int32_t* sums, int32_t correction, float scale, float offset, float* reals) {
  for (int i = 0; i < kBlockImages; ++i) {
    const auto sum = static_cast<int32_t>(static_cast<uint32_t>(sums[i]) + static_cast<uint32_t>(correction));
    const float product = static_cast<float>(sum) * scale;
    reals[i] = product + offset;
  }
}

STEADFAST_INLINE void AddRowsBody(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b,
                                  const OperandConstants& of_b, const QuantizeConstants& c, uint8_t* row) {
  for (int i = 0; i < kRowBytes; ++i) {
    const float x = static_cast<float>(a[i] - of_a.zero_point) * of_a.scale;
    const float y = static_cast<float>(b[i] - of_b.zero_point) * of_b.scale;
    const float rounded = std::rint((x + y) / c.scale);
    const float raised = rounded > -1024.0f ? rounded : -1024.0f;
    const float clipped = raised < 1024.0f ? raised : 1024.0f;
    const int code = std::min(std::max(static_cast<int>(clipped) + c.zero_point, c.lowest), c.highest);
    row[i] = static_cast<uint8_t>(code < c.zero_below ? c.lowest : code);
  }
}

STEADFAST_INLINE uint64_t DifferenceBody(const uint8_t* a, const uint8_t* b) {
  uint64_t lanes = 0;
  if (std::memcmp(a, b, kRowBytes) == 0) return 0;
  for (int i = 0; i < kRowBytes; ++i) lanes |= uint64_t{a[i] != b[i]} << i;
  return lanes;
}

STEADFAST_INLINE uint64_t RequantizeAndCompareBody(const int32_t* sums, int32_t correction,
                                                   const RequantizeConstants& c, const uint8_t* other, uint8_t* row) {
  RequantizeBody(sums, correction, c, row);
  return DifferenceBody(row, other);
}

// requantize_and_compare: that of the set.
template <typename RequantizeAndCompare>
STEADFAST_INLINE void RequantizeOutputsBody(const OutputsToRequantize& outputs, uint64_t* lanes,
                                            const RequantizeAndCompare& requantize_and_compare) {
  RequantizeConstants c = outputs.range;
  for (int o = 0; o < outputs.count; ++o) {
    c.scale = outputs.scales[o];
    c.offset = outputs.offsets[o];
    lanes[o] |= requantize_and_compare(outputs.sums + o * kBlockImages, outputs.corrections[o], c,
                                       outputs.other + o * outputs.step, outputs.rows + o * outputs.step);
  }
}

STEADFAST_INLINE uint64_t ChangedRowBody(const int32_t* const* sums, const uint8_t* const* rows, size_t count,
                                         int32_t factor, int32_t correction, const RequantizeConstants& c,
                                         const uint8_t* other, uint8_t* row) {
  int32_t best[kBlockImages], next[kBlockImages];
  AddScaledRowBody(rows[0], factor, sums[0], best);
  for (size_t i = 1; i < count; ++i) {
    AddScaledRowBody(rows[i], factor, sums[i], next);
    MaximumBody(next, best, static_cast<int>(kBlockImages));
  }
  return RequantizeAndCompareBody(best, correction, c, other, row);
}

STEADFAST_INLINE void AddDistancesBody(const uint8_t* a, const uint8_t* b, int32_t* sums) {
  for (int i = 0; i < kRowBytes; ++i) sums[i] += a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
}

STEADFAST_INLINE void CompressRowBody(const uint8_t* row, uint64_t lanes, uint8_t* to) {
  for (; lanes != 0; lanes &= lanes - 1) *to++ = row[std::countr_zero(lanes)];
}

STEADFAST_INLINE int64_t LookUpBody(const LookUp& look_up, const uint8_t* row, int32_t factor) {
  int32_t sums[kBlockImages];
  AddScaledRowBody(row, factor, look_up.sums, sums);
  uint8_t codes[kRowBytes];
  RequantizeBody(sums, look_up.correction, look_up.constants, codes);
  int64_t total = 0;
  for (int i = 0; i < kBlockImages; ++i) total += look_up.table[codes[i] * kBlockImages + i];
  return total;
}

// The margin, a difference of logits, in units of 2^-20.
STEADFAST_INLINE int64_t MarginUnits(float of_label, float of_other) {
  const double margin = double{of_label} - double{of_other};
  const double raised = margin > -kLargestScore ? margin : -kLargestScore;  // NaN becomes the smallest
  return std::llrint(std::min(raised, kLargestScore) / kScoreUnit);
}

STEADFAST_INLINE void ScoreBody(const float* logits, int classes, const uint16_t* labels, uint16_t* predictions,
                                int64_t* margins) {
  float best[kBlockImages], other[kBlockImages], of_label[kBlockImages];
  int32_t index[kBlockImages];
  for (int i = 0; i < kBlockImages; ++i) {
    best[i] = -std::numeric_limits<float>::infinity();
    index[i] = 0;
    other[i] = -std::numeric_limits<float>::infinity();
    of_label[i] = 0;
  }
  for (int c = 0; c < classes; ++c) {
    const float* row = logits + c * kBlockImages;
    for (int i = 0; i < kBlockImages; ++i) {
      index[i] = row[i] > best[i] ? c : index[i];
      best[i] = row[i] > best[i] ? row[i] : best[i];
      const bool is_label = labels[i] == c;
      of_label[i] = is_label ? row[i] : of_label[i];
      const float candidate = is_label ? other[i] : row[i];
      other[i] = candidate > other[i] ? candidate : other[i];
    }
  }
  for (int i = 0; i < kBlockImages; ++i) {
    predictions[i] = static_cast<uint16_t>(index[i]);
    margins[i] = MarginUnits(of_label[i], other[i]);
  }
}

inline void ExponentialsBody(const float* logits, int classes, double* exponentials, double* largest) {
  for (int i = 0; i < kBlockImages; ++i) {
    double most = logits[i];
    for (int c = 1; c < classes; ++c) most = std::max(most, double{logits[c * kBlockImages + i]});
    double sum = 0.0;
    for (int c = 0; c < classes; ++c) sum += PortableExp(double{logits[c * kBlockImages + i]} - most);
    exponentials[i] = sum;
    largest[i] = most;
  }
}

STEADFAST_INLINE void MaximumRowsBody(const uint8_t* other, uint8_t* row) {
  for (int i = 0; i < kRowBytes; ++i) row[i] = std::max(row[i], other[i]);
}

inline std::array<uint8_t, kBlockImages> NaturalOrder() {
  std::array<uint8_t, kBlockImages> order = {};
  for (int i = 0; i < kBlockImages; ++i) order[static_cast<size_t>(i)] = static_cast<uint8_t>(i);
  return order;
}

#define STEADFAST_PORTABLE_KERNELS(NAME, TARGET)                                                                       \
  struct NAME {                                                                                                        \
    TARGET static void MakeQuad(const uint8_t* const rows[4], uint8_t* quad) { MakeQuadBody(rows, quad); }             \
    TARGET static void Products(const uint8_t* base, const int32_t* offsets, int taps, const uint32_t* weights,        \
                                int outputs, const int32_t* initial, int64_t stride, int32_t* sums) {                  \
      ProductsBody(base, offsets, taps, weights, outputs, initial, stride, sums);                                      \
    }                                                                                                                  \
    TARGET static void Maximum(const int32_t* sums, int32_t* into, int count) { MaximumBody(sums, into, count); }      \
    TARGET static void Subtract(const int32_t* a, const int32_t* b, int32_t* result) { SubtractBody(a, b, result); }   \
    TARGET static void AddScaledRow(const uint8_t* row, int32_t factor, const int32_t* from, int32_t* into) {          \
      AddScaledRowBody(row, factor, from, into);                                                                       \
    }                                                                                                                  \
    TARGET static void AddColumns(const int32_t* weights, int32_t level, int64_t outputs, int64_t count, int64_t step, \
                                  int32_t* into) {                                                                     \
      AddColumnsBody(weights, level, outputs, count, step, into);                                                      \
    }                                                                                                                  \
    TARGET static void Requantize(const int32_t* sums, int32_t correction, const RequantizeConstants& c,               \
                                  uint8_t* row) {                                                                      \
      RequantizeBody(sums, correction, c, row);                                                                        \
    }                                                                                                                  \
    TARGET static uint64_t RequantizeAndCompare(const int32_t* sums, int32_t correction, const RequantizeConstants& c, \
                                                const uint8_t* other, uint8_t* row) {                                  \
      return RequantizeAndCompareBody(sums, correction, c, other, row);                                                \
    }                                                                                                                  \
    TARGET static void RequantizeOutputs(const OutputsToRequantize& outputs, uint64_t* lanes) {                        \
      RequantizeOutputsBody(outputs, lanes, RequantizeAndCompare);                                                     \
    }                                                                                                                  \
    TARGET static uint64_t ChangedRow(const int32_t* const* sums, const uint8_t* const* rows, size_t count,            \
                                      int32_t factor, int32_t correction, const RequantizeConstants& c,                \
                                      const uint8_t* other, uint8_t* row) {                                            \
      return ChangedRowBody(sums, rows, count, factor, correction, c, other, row);                                     \
    }                                                                                                                  \
    TARGET static void Reals(const int32_t* sums, int32_t correction, float scale, float offset, float* reals) {       \
      RealsBody(sums, correction, scale, offset, reals);                                                               \
    }                                                                                                                  \
    TARGET static void MaximumRows(const uint8_t* other, uint8_t* row) { MaximumRowsBody(other, row); }                \
    TARGET static void AddRows(const uint8_t* a, const OperandConstants& of_a, const uint8_t* b,                       \
                               const OperandConstants& of_b, const QuantizeConstants& c, uint8_t* row) {               \
      AddRowsBody(a, of_a, b, of_b, c, row);                                                                           \
    }                                                                                                                  \
    TARGET static uint64_t Difference(const uint8_t* a, const uint8_t* b) { return DifferenceBody(a, b); }             \
    TARGET static void AddDistances(const uint8_t* a, const uint8_t* b, int32_t* sums) {                               \
      AddDistancesBody(a, b, sums);                                                                                    \
    }                                                                                                                  \
    TARGET static void CompressRow(const uint8_t* row, uint64_t lanes, uint8_t* to) {                                  \
      CompressRowBody(row, lanes, to);                                                                                 \
    }                                                                                                                  \
    TARGET static int64_t LookUpSum(const LookUp& look_up, const uint8_t* row, int32_t factor) {                       \
      return LookUpBody(look_up, row, factor);                                                                         \
    }                                                                                                                  \
    TARGET static void Score(const float* logits, int classes, const uint16_t* labels, uint16_t* predictions,          \
                             int64_t* margins) {                                                                       \
      ScoreBody(logits, classes, labels, predictions, margins);                                                        \
    }                                                                                                                  \
  };

inline void NoPreparation() {}

#define STEADFAST_LOOPS(NAME, MAKE_QUAD, PRODUCTS)                                                                 \
  {                                                                                                                \
    NoPreparation, MAKE_QUAD, PRODUCTS, PackByTap, 6, NAME::Maximum, NAME::Subtract, NAME::AddScaledRow,           \
        NAME::AddColumns, NAME::Requantize, NAME::RequantizeAndCompare, NAME::RequantizeOutputs, NAME::ChangedRow, \
        NAME::Reals, NAME::MaximumRows, NAME::AddRows, NAME::Difference, NAME::AddDistances, NAME::CompressRow,    \
        NAME::LookUpSum, NAME::Score, ExponentialsBody, NaturalOrder()                                             \
  }

}  // namespace
}  // namespace steadfast::engine
