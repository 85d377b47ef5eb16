#include "steadfast/statistics/mean_sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "steadfast/base/elementary.h"  // PortableLog, PortableLog1p
#include "steadfast/base/error.h"

namespace steadfast::statistics {
namespace {

constexpr double kMostLost = 0.95;  // of the wealth, by one value

}  // namespace

double Bets::Bet(double m) const {
  const double variance = std::max(squares_ / count_, 1e-4);
  const double bet = std::sqrt(2 * enough_ / (variance * count_ * PortableLog(1 + count_)));
  return m > 0 ? std::min(bet, kMostLost / m) : bet;
}

void Bets::See(double value) {
  count_ += 1;
  sum_ += value;
  const double distance = value - sum_ / count_;
  squares_ += distance * distance;
}

MeanSequence::MeanSequence(double confidence, int grid)
    : grid_(grid),
      enough_(PortableLog(2 / (1 - confidence))),
      below_{Bets(enough_), {}, {}, 0},
      above_{Bets(enough_), {}, {}, 0} {
  if (!(confidence > 0 && confidence < 1))
    throw UsageError(fmt::format("confidence: {}, expected above 0 and below 1", confidence));
  for (Side* side : {&below_, &above_}) {
    side->log_wealth.assign(static_cast<size_t>(grid) + 1, 0.0);
    side->is_ruled_out.assign(static_cast<size_t>(grid) + 1, 0);
  }
}

// Points from `limit` on are ruled out by the other side.
void MeanSequence::Add(double value, int limit, Side& side) const {
  for (int point = side.passed + 1; point < limit; ++point) {
    const auto p = static_cast<size_t>(point);
    if (side.is_ruled_out[p] != 0) continue;
    const double m = share(point);
    // What is won is at most 1 / m times the wealth: its logarithm is taken in two parts.
    const double gain = side.bets.Bet(m) * (value - m);
    side.log_wealth[p] += gain <= 1 ? PortableLog1p(gain) : PortableLog(1 + gain);
    side.is_ruled_out[p] = side.log_wealth[p] >= enough_;
  }
  while (side.passed + 1 < limit && side.is_ruled_out[static_cast<size_t>(side.passed) + 1] != 0) ++side.passed;
  side.bets.See(value);
}

void MeanSequence::Add(double value) {
  Add(value, grid_ - above_.passed, below_);
  Add(1 - value, grid_ - below_.passed, above_);
  ++count_;
}

}  // namespace steadfast::statistics
