#include "steadfast/engine/class_scores.h"

#include <cmath>

#include "steadfast/engine/scores.h"

namespace steadfast::engine {
namespace {

double ShareOf(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

// Whether fewer than five logits come before that of the label.
bool IsAmongFive(std::span<const float> logits, size_t label) {
  const auto value = [&](size_t c) { return std::isnan(logits[c]) ? -INFINITY : logits[c]; };
  int before = 0;
  for (size_t c = 0; c < logits.size(); ++c)
    before += value(c) > value(label) || (value(c) == value(label) && c < label);
  return before < 5;
}

}  // namespace

ClassScores::ClassScores(int64_t classes) : classes_(classes) {
  confusion_.assign(static_cast<size_t>(classes * classes), 0);
}

void ClassScores::Add(std::span<const float> logits, std::span<const uint16_t> labels) {
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto of_image = logits.subspan(i * static_cast<size_t>(classes_), static_cast<size_t>(classes_));
    ++confusion_[static_cast<size_t>(labels[i] * classes_ + ArgMax(of_image))];
    among_five_ += IsAmongFive(of_image, labels[i]);
    ++images_;
  }
}

ClassScores& ClassScores::operator+=(const ClassScores& other) {
  images_ += other.images_;
  among_five_ += other.among_five_;
  for (size_t i = 0; i < confusion_.size(); ++i) confusion_[i] += other.confusion_[i];
  return *this;
}

int64_t ClassScores::images_of(int64_t label) const {
  int64_t images = 0;
  for (int64_t p = 0; p < classes_; ++p) images += count(label, p);
  return images;
}

double ClassScores::accuracy() const {
  int64_t right = 0;
  for (int64_t c = 0; c < classes_; ++c) right += count(c, c);
  return ShareOf(right, images_);
}

double ClassScores::recall(int64_t label) const {
  return ShareOf(count(label, label), images_of(label));
}

double ClassScores::precision(int64_t label) const {
  int64_t decided = 0;
  for (int64_t l = 0; l < classes_; ++l) decided += count(l, label);
  return ShareOf(count(label, label), decided);
}

double ClassScores::f1(int64_t label) const {
  const double r = recall(label), p = precision(label);
  return r + p == 0 ? 0.0 : 2 * r * p / (r + p);
}

double ClassScores::macro_f1() const {
  double sum = 0;
  int64_t classes = 0;
  for (int64_t c = 0; c < classes_; ++c) {
    if (images_of(c) == 0) continue;
    sum += f1(c);
    ++classes;
  }
  return classes == 0 ? 0.0 : sum / static_cast<double>(classes);
}

}  // namespace steadfast::engine
