// A confidence sequence of a mean: an interval that may be looked at after every value, and used to stop.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "steadfast/statistics/summary.h"  // Interval

namespace steadfast::statistics {

// What to bet on a mean above m before each of so many values in [0, 1]: the plug-in of Waudby-Smith and Ramdas
// (Estimating means of bounded random variables by betting, 2024, section 4) from the mean and the variance of the
// values so far, with a factor that shrinks as values come. Bets depend on earlier values alone, so that they may be
// looked at after any number of values.
class Bets {
 public:
  explicit Bets(double log_of_inverse_error) : enough_(log_of_inverse_error) {}
  // Before the next value, for a mean of m. A value of 0 takes 95 % of the wealth at most.
  double Bet(double m) const;
  void See(double value);

 private:
  double enough_, sum_ = 0.5, squares_ = 0.01, count_ = 1;  // as if one value of a half had come before all (ours: of
                                                            // variance 0.01; the paper has a quarter)
};

// The interval in which the mean of independent values in [0, 1] lies, whatever their law, with `confidence`, all the
// time: the error of all looks together. Both ends are found on a grid of means, rounded outwards, by wealth that
// Ville's inequality bounds.
class MeanSequence {
 public:
  static constexpr int kGrid = 4000;
  explicit MeanSequence(double confidence, int grid = kGrid);  // confidence in (0, 1)

  void Add(double value);  // in [0, 1]
  Interval interval() const { return {share(below_.passed), 1 - share(above_.passed)}; }
  int64_t count() const { return count_; }

 private:
  // Means up to a share of the grid that were ruled out, in order; the others' wealth.
  struct Side {
    Bets bets;
    std::vector<double> log_wealth;     // [point of the grid]: what betting on a mean above it has made
    std::vector<uint8_t> is_ruled_out;  // [the same]
    int passed = 0;
  };
  double share(int point) const { return static_cast<double>(point) / grid_; }
  void Add(double value, int limit, Side& side) const;

  int grid_;
  double enough_;       // logarithm of what a side's wealth must reach
  Side below_, above_;  // of the values; of 1 less the values
  int64_t count_ = 0;
};

}  // namespace steadfast::statistics
