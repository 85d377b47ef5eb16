// What a network's logits are worth: decisions, margins and losses, as integers that can be added in any order.
//
// A per-image margin (correct class's logit minus the largest other) or cross-entropy loss (own exp and log) is rounded
// to a multiple of 2^-20 and summed in 64-bit integers.
//
// Broken parameters can make logits that are not finite. A logit that is NaN is smaller than every other; a margin that
// is NaN counts as the smallest, -4096; if any logit is not finite, the loss counts as the largest, 4096.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "steadfast/base/score_unit.h"  // kScoreUnit

namespace steadfast::engine {

// Margins and losses are clipped to +-this, which keeps a sum over 10^9 images inside 64 bits.
inline constexpr double kLargestScore = 4096.0;

struct Scores {
  int64_t images = 0;
  int64_t correct = 0;
  int64_t changed = 0;     // predictions that differ from the golden ones
  int64_t broken = 0;      // right in the golden run, wrong now
  int64_t repaired = 0;    // wrong in the golden run, right now
  int64_t margin_sum = 0;  // in units of 2^-20
  int64_t loss_sum = 0;    // in units of 2^-20

  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(images); }
  double mean_margin() const { return static_cast<double>(margin_sum) * kScoreUnit / static_cast<double>(images); }
  double mean_loss() const { return static_cast<double>(loss_sum) * kScoreUnit / static_cast<double>(images); }
  Scores& operator+=(const Scores& other);
  bool operator==(const Scores&) const = default;
};

// The index of the largest logit, the lowest where several are.
int ArgMax(std::span<const float> logits);

// A margin or loss as a number of units, clipped and rounded to the nearest.
int64_t RoundedScore(double score);

int64_t MarginOf(std::span<const float> logits, int label);  // in units of 2^-20
int64_t LossOf(std::span<const float> logits, int label);    // in units of 2^-20

// logits: [n, classes]; labels: [n]; golden: [n] predictions of the fault-free network, or empty (nothing counts as
// changed). predictions, where given, receives [n].
Scores ScoreOf(std::span<const float> logits, int64_t classes, std::span<const uint16_t> labels,
               std::span<const uint16_t> golden, std::span<uint16_t> predictions = {});

}  // namespace steadfast::engine
