#include "steadfast/engine/scores.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "steadfast/base/elementary.h"  // PortableExp, PortableLog

namespace steadfast::engine {
Scores& Scores::operator+=(const Scores& other) {
  images += other.images;
  correct += other.correct;
  changed += other.changed;
  broken += other.broken;
  repaired += other.repaired;
  margin_sum += other.margin_sum;
  loss_sum += other.loss_sum;
  return *this;
}

int ArgMax(std::span<const float> logits) {
  float best = -std::numeric_limits<float>::infinity();
  size_t index = 0;
  for (size_t c = 0; c < logits.size(); ++c) {
    if (logits[c] > best) {
      best = logits[c];
      index = c;
    }
  }
  return static_cast<int>(index);
}

int64_t RoundedScore(double score) {
  return std::llrint(std::clamp(score, -kLargestScore, kLargestScore) / kScoreUnit);
}

int64_t MarginOf(std::span<const float> logits, int label) {
  float other = -std::numeric_limits<float>::infinity();
  for (size_t c = 0; c < logits.size(); ++c) {
    if (static_cast<int>(c) != label && logits[c] > other) other = logits[c];
  }
  const double margin = double{logits[static_cast<size_t>(label)]} - double{other};
  return RoundedScore(std::isnan(margin) ? -kLargestScore : margin);
}

int64_t LossOf(std::span<const float> logits, int label) {
  if (!std::all_of(logits.begin(), logits.end(), [](float logit) { return std::isfinite(logit); }))
    return RoundedScore(kLargestScore);
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (float logit : logits) sum += PortableExp(double{logit} - largest);
  return RoundedScore(PortableLog(sum) + (largest - double{logits[static_cast<size_t>(label)]}));
}

Scores ScoreOf(std::span<const float> logits, int64_t classes, std::span<const uint16_t> labels,
               std::span<const uint16_t> golden, std::span<uint16_t> predictions) {
  Scores scores;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto image = logits.subspan(i * static_cast<size_t>(classes), static_cast<size_t>(classes));
    const int prediction = ArgMax(image);
    const bool correct = prediction == labels[i];
    ++scores.images;
    scores.correct += correct;
    scores.margin_sum += MarginOf(image, labels[i]);
    scores.loss_sum += LossOf(image, labels[i]);
    if (!predictions.empty()) predictions[i] = static_cast<uint16_t>(prediction);
    if (golden.empty()) continue;
    const bool was_correct = golden[i] == labels[i];
    scores.changed += prediction != golden[i];
    scores.broken += was_correct && !correct;
    scores.repaired += !was_correct && correct;
  }
  return scores;
}

}  // namespace steadfast::engine
