// What a network decides, class by class: a confusion matrix, and what follows from it. Integers, so that they can be
// added in any order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace steadfast::engine {

class ClassScores {
 public:
  explicit ClassScores(int64_t classes);

  // logits: [n, classes]; labels: [n]. The decision is ArgMax's. A logit that is NaN is smaller than every other.
  void Add(std::span<const float> logits, std::span<const uint16_t> labels);
  ClassScores& operator+=(const ClassScores& other);

  int64_t classes() const { return classes_; }
  int64_t images() const { return images_; }
  int64_t count(int64_t label, int64_t prediction) const {
    return confusion_[static_cast<size_t>(label * classes_ + prediction)];
  }
  int64_t images_of(int64_t label) const;
  double accuracy() const;
  // Shares of images whose class is among the five largest logits (of equal ones, the lowest classes).
  double top_five() const { return static_cast<double>(among_five_) / static_cast<double>(images_); }

  // Of a class: the share of its images that are recognized, of the decisions for it that are right, and the harmonic
  // mean of the two; 0 where there are none.
  double recall(int64_t label) const;
  double precision(int64_t label) const;
  double f1(int64_t label) const;
  // The mean F1 of the classes that have images.
  double macro_f1() const;

 private:
  int64_t classes_, images_ = 0, among_five_ = 0;
  std::vector<int64_t> confusion_;  // [label][prediction]
};

}  // namespace steadfast::engine
