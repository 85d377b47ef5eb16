#include "steadfast/statistics/bounded_mean.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "steadfast/base/error.h"

namespace steadfast::statistics {
namespace {

// Shares of the wealth that a bet may lose at most, and of the wealth that each is made with: half of it risks all,
// for values that never differ; the rest, halving, for values that do.
constexpr int kBets = 16;
double Risk(int bet) {
  return std::ldexp(1.0, -bet);
}
double ShareOf(int bet) {
  return bet == 0 ? 0.5 : 0.5 / (kBets - 1);
}

// Whether bets on values on one side of a mean have made enough: value v gains risk * (v - mean) * sign / room, which
// is at least -risk.
bool IsRuledOut(std::span<const double> values, double mean, double sign, double room, double enough) {
  constexpr size_t kAtOnce = 16;  // factors before a logarithm is taken
  double all = 0;                 // wealth over what is enough
  for (int bet = 0; bet < kBets; ++bet) {
    const double slope = sign * Risk(bet) / room;
    double log = 0;
    for (size_t first = 0; first < values.size(); first += kAtOnce) {
      double product = 1;
      for (const double value : values.subspan(first, std::min(kAtOnce, values.size() - first)))
        product *= std::max(0.0, 1 + slope * (value - mean));
      log += std::log(product);
    }
    all += ShareOf(bet) * std::exp(log - enough);
  }
  return all >= 1;
}

// Where `is_ruled_out` changes between `out` (where it may hold) and `in` (where it does not), from outside.
template <typename IsRuledOut>
double Edge(double out, double in, const IsRuledOut& is_ruled_out) {
  for (int i = 0; i < 40; ++i) {
    const double middle = out + (in - out) / 2;
    if (middle == out || middle == in) break;
    (is_ruled_out(middle) ? out : in) = middle;
  }
  return out;
}

}  // namespace

Interval BoundedMeanInterval(std::span<const double> values, double least, double most, double confidence) {
  if (!(confidence > 0 && confidence < 1))
    throw UsageError(fmt::format("confidence: {}, expected above 0 and below 1", confidence));
  double mean = 0;
  for (const double value : values) {
    if (!(value >= least && value <= most))
      throw UsageError(fmt::format("a value of {} is not within {} and {}", value, least, most));
    mean += value / static_cast<double>(values.size());
  }
  if (values.empty() || least == most) return {least, most};
  mean = std::clamp(mean, least, most);
  const double enough = std::log(2 / (1 - confidence));
  return {Edge(least, mean, [&](double m) { return IsRuledOut(values, m, 1, m - least, enough); }),
          Edge(most, mean, [&](double m) { return IsRuledOut(values, m, -1, most - m, enough); })};
}

Estimate MeanOfStrata(std::span<const DrawnStratum> strata, double least, double most, double confidence) {
  double all = 0, open = 0, drawn = 0, known = 0;  // open: units of strata that were not drawn whole
  for (const DrawnStratum& stratum : strata) {
    const auto size = static_cast<double>(stratum.size), count = static_cast<double>(stratum.values.size());
    all += size;
    if (count >= size) {
      known += std::accumulate(stratum.values.begin(), stratum.values.end(), 0.0);
      continue;
    }
    open += size;
    drawn += count;
  }
  Estimate estimate{known / all, {known / all, known / all}};
  if (open == 0) return estimate;
  std::vector<double> values;
  double largest = 0;  // factor
  for (const DrawnStratum& stratum : strata) {
    const auto size = static_cast<double>(stratum.size), count = static_cast<double>(stratum.values.size());
    if (count >= size) continue;
    const double factor = drawn * (size / open) / count;
    largest = std::max(largest, factor);
    for (const double value : stratum.values) values.push_back(factor * value);
  }
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / drawn;
  const Interval interval =
      BoundedMeanInterval(values, std::min(0.0, largest * least), std::max(0.0, largest * most), confidence);
  const auto of_all = [&](double of_open) { return (known + open * of_open) / all; };
  estimate.mean = of_all(mean);
  estimate.interval = {of_all(std::max(interval.low, least)), of_all(std::min(interval.high, most))};
  return estimate;
}

double EffectiveSampleSize(std::span<const double> weights) {
  double sum = 0, squares = 0;
  for (const double weight : weights) {
    sum += weight;
    squares += weight * weight;
  }
  return squares > 0 ? sum * sum / squares : 0;
}

}  // namespace steadfast::statistics
