#include "steadfast/statistics/tolerance.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/special_functions/beta.hpp>
#include <cmath>

#include "steadfast/base/error.h"
#include "steadfast/statistics/mean_sequence.h"  // Bets
#include "steadfast/statistics/summary.h"        // Mean

namespace steadfast::statistics {
namespace {

constexpr int64_t kFirstLook = 64;
constexpr int kBisections = 40;

// The logarithm of the wealth after betting against a mean of m: the largest on the way, which Ville's inequality
// bounds. The same values are bet on alike, whether or not others follow.
double LogWealth(std::span<const double> values, double m, double log_of_inverse_error) {
  Bets bets(log_of_inverse_error);
  double wealth = 0, most = 0;
  for (const double x : values) {
    wealth += std::log1p(bets.Bet(m) * (x - m));
    most = std::max(most, wealth);
    bets.See(x);
  }
  return most;
}

class Search {
 public:
  Search(const ToleranceSettings& settings,
         const std::function<std::vector<double>(double strength, int64_t chips)>& accuracies)
      : settings_(settings), accuracies_(accuracies) {
    const auto check = [](const char* what, double share) {
      if (!(share > 0 && share < 1)) throw UsageError(fmt::format("{}: {}, expected above 0 and below 1", what, share));
    };
    check("floor", settings.floor);
    check("confidence", settings.confidence);
    if (settings.yield) check("yield", *settings.yield);
    if (settings.strengths.empty()) throw UsageError("no strength of faults to try");
    tolerance_.confidence_each =
        1 - (1 - settings.confidence) / static_cast<double>(MostSteps(settings.strengths.size()));
    if (!settings.yield) {
      if (settings.chips < 2) throw UsageError("chips: at least 2 are needed");
      return;
    }
    const int64_t needed = TrialsNeeded(*settings.yield, tolerance_.confidence_each);
    if (settings.chips < needed)
      throw UsageError(fmt::format(
          "chips: {}, and to show that {:g} % of chips hold with {:g} % confidence, divided among the {} strengths "
          "that "
          "may be tried, takes at least {} ({} at one strength alone)",
          settings.chips, 100 * *settings.yield, 100 * settings.confidence, MostSteps(settings.strengths.size()),
          needed, TrialsNeeded(*settings.yield, settings.confidence)));
    while (ShareLowerBound(settings.chips - allowed_ - 1, settings.chips, tolerance_.confidence_each) >=
           *settings.yield)
      ++allowed_;
  }

  Tolerance Run() {
    size_t low = 0, high = settings_.strengths.size();  // all below low hold, none from high on
    while (low < high) {
      const size_t middle = (low + high) / 2;
      const ToleranceStep step = Try(settings_.strengths[middle]);
      tolerance_.steps.push_back(step);
      if (step.holds)
        low = middle + 1;
      else
        high = middle;
    }
    if (low > 0) tolerance_.strength = settings_.strengths[low - 1];
    return std::move(tolerance_);
  }

 private:
  ToleranceStep Try(double strength) {
    for (int64_t chips = std::min(kFirstLook, settings_.chips);; chips = std::min(2 * chips, settings_.chips)) {
      const std::vector<double> all = accuracies_(strength, chips);
      ToleranceStep step{.strength = strength, .chips = chips};
      step.below = std::count_if(all.begin(), all.end(), [&](double a) { return a < settings_.floor; });
      step.mean = Mean(all);
      const bool is_last = chips == settings_.chips;
      if (settings_.yield) {
        // Too many failures stay too many; few enough of fewer chips would not do.
        step.bound = ShareLowerBound(chips - step.below, chips, tolerance_.confidence_each);
        step.holds = is_last && step.below <= allowed_;
        if (is_last || step.below > allowed_) return step;
        continue;
      }
      step.bound = MeanLowerBound(all, tolerance_.confidence_each);
      step.holds = step.bound >= settings_.floor;
      std::vector<double> lost;
      for (const double a : all) lost.push_back(1 - a);
      const bool is_hopeless = 1 - MeanLowerBound(lost, tolerance_.confidence_each) < settings_.floor;
      if (step.holds || is_hopeless || is_last) return step;
    }
  }

  const ToleranceSettings& settings_;
  const std::function<std::vector<double>(double strength, int64_t chips)>& accuracies_;
  int64_t allowed_ = 0;  // chips below the floor
  Tolerance tolerance_;
};

}  // namespace

double ShareLowerBound(int64_t successes, int64_t trials, double confidence) {
  if (successes <= 0) return 0;
  return boost::math::ibeta_inv(static_cast<double>(successes), static_cast<double>(trials - successes + 1),
                                1 - confidence);
}

int64_t TrialsNeeded(double share, double confidence, int64_t failures) {
  int64_t low = failures, high = failures + 1;  // low does not do
  while (ShareLowerBound(high - failures, high, confidence) < share) {
    low = high;
    high *= 2;
    if (high > int64_t{1} << 40) throw UsageError(fmt::format("a share of {} takes too many trials to show", share));
  }
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (ShareLowerBound(middle - failures, middle, confidence) < share ? low : high) = middle;
  }
  return high;
}

double MeanLowerBound(std::span<const double> values, double confidence) {
  if (values.empty()) return 0;
  const double enough = -std::log(1 - confidence);
  double low = 0, high = 1;  // a mean of low is ruled out, or low is 0
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2;
    (LogWealth(values, middle, enough) >= enough ? low : high) = middle;
  }
  return low;
}

int64_t MostSteps(size_t strengths) {
  int64_t steps = 0;
  for (size_t left = strengths; left > 0; left /= 2) ++steps;
  return steps;
}

Tolerance FindTolerance(const ToleranceSettings& settings,
                        const std::function<std::vector<double>(double strength, int64_t chips)>& accuracies) {
  return Search(settings, accuracies).Run();
}

}  // namespace steadfast::statistics
