// Decisions, margins and losses of the 64 images of a block. Internal to the engine.
#pragma once

#include <array>
#include <cstdint>

#include "steadfast/base/elementary.h"  // PortableLog
#include "steadfast/engine/kernels.h"
#include "steadfast/engine/scores.h"  // RoundedScore

namespace steadfast::engine {

struct BlockScores {
  std::array<uint16_t, kBlockImages> predictions;
  std::array<int64_t, kBlockImages> margins;  // in units of 2^-20
  std::array<int64_t, kBlockImages> losses;   // the same; only where asked for

  // logits: [classes][64]; labels: [64]
  BlockScores(const Kernels& kernels, const float* logits, int classes, const uint16_t* labels, bool with_losses) {
    kernels.score(logits, classes, labels, predictions.data(), margins.data());
    if (!with_losses) return;
    double exponentials[kBlockImages], largest[kBlockImages];
    kernels.exponentials(logits, classes, exponentials, largest);
    float zeros[kBlockImages] = {};  // NaN where a logit is not finite
    for (int64_t at = 0; at < classes * kBlockImages; at += kBlockImages) {
      for (size_t i = 0; i < kBlockImages; ++i) zeros[i] += logits[at + static_cast<int64_t>(i)] * 0.0f;
    }
    for (size_t i = 0; i < kBlockImages; ++i) {
      if (zeros[i] != 0.0f) {
        losses[i] = RoundedScore(kLargestScore);
        continue;
      }
      const double of_label = logits[labels[i] * kBlockImages + static_cast<int64_t>(i)];
      losses[i] = RoundedScore(PortableLog(exponentials[i]) + (largest[i] - of_label));
    }
  }
};

}  // namespace steadfast::engine
