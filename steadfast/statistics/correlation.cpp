#include "steadfast/statistics/correlation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "steadfast/base/philox.h"

namespace steadfast::statistics {
namespace {

constexpr uint32_t kResampleStream = 0x424F4F54;

// Uniform numbers below n, one after the other.
class Draws {
 public:
  Draws(uint64_t seed, uint32_t sequence) : key_(KeyOfSeed(seed)), sequence_(sequence) {}
  size_t Below(size_t n) {
    const PhiloxOutput words = Philox4x32({counter_++, sequence_, 0, kResampleStream}, key_);
    return std::min(n - 1, static_cast<size_t>(OpenUnit(words[0], words[1]) * static_cast<double>(n)));
  }

 private:
  PhiloxKey key_;
  uint32_t sequence_, counter_ = 0;
};

}  // namespace

std::vector<double> Ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t last = first;
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    const double rank = static_cast<double>(first + last + 1) / 2;  // mean of first + 1 to last
    for (; first < last; ++first) ranks[order[first]] = rank;
  }
  return ranks;
}

double Pearson(std::span<const double> x, std::span<const double> y) {
  const double mean_x = Mean(x), mean_y = Mean(y);
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  return xx > 0 && yy > 0 ? std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0) : std::nan("");
}

double Spearman(std::span<const double> x, std::span<const double> y) {
  return Pearson(Ranks(x), Ranks(y));
}

double KendallTauB(std::span<const double> x, std::span<const double> y) {
  int64_t score = 0, untied_x = 0, untied_y = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const int dx = (x[i] > x[j]) - (x[i] < x[j]), dy = (y[i] > y[j]) - (y[i] < y[j]);
      score += dx * dy;
      untied_x += dx != 0;
      untied_y += dy != 0;
    }
  }
  if (untied_x == 0 || untied_y == 0) return std::nan("");
  return static_cast<double>(score) / std::sqrt(static_cast<double>(untied_x) * static_cast<double>(untied_y));
}

std::vector<double> Residuals(std::span<const double> y, std::span<const std::vector<double>> controls) {
  // Modified Gram-Schmidt: makes each control orthogonal to those before it, then takes its share out of y.
  std::vector<std::vector<double>> basis = {std::vector<double>(y.size(), 1.0)};
  basis.insert(basis.end(), controls.begin(), controls.end());
  std::vector<double> left(y.begin(), y.end());
  const auto dot = [](const std::vector<double>& a, const std::vector<double>& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  };
  const auto take_out = [&](std::vector<double>& from, const std::vector<double>& direction, double square) {
    const double share = dot(from, direction) / square;
    for (size_t i = 0; i < from.size(); ++i) from[i] -= share * direction[i];
  };
  for (size_t k = 0; k < basis.size(); ++k) {
    const double before = dot(basis[k], basis[k]);
    for (size_t other = 0; other < k; ++other) {
      const double square = dot(basis[other], basis[other]);
      if (square > 0) take_out(basis[k], basis[other], square);
    }
    const double square = dot(basis[k], basis[k]);
    if (square <= 1e-12 * before)
      std::fill(basis[k].begin(), basis[k].end(), 0.0);  // says nothing new
    else
      take_out(left, basis[k], square);
  }
  // If the controls explain y completely, what is left is rounding, and counts as 0.
  const std::vector<double> whole(y.begin(), y.end());
  if (dot(left, left) <= 1e-18 * dot(whole, whole)) std::fill(left.begin(), left.end(), 0.0);
  return left;
}

double PartialSpearman(std::span<const double> x, std::span<const double> y,
                       std::span<const std::vector<double>> controls) {
  std::vector<std::vector<double>> ranks;
  for (const auto& control : controls) ranks.push_back(Ranks(control));
  return Pearson(Residuals(Ranks(x), ranks), Residuals(Ranks(y), ranks));
}

std::vector<double> CenteredWithin(std::span<const double> values, std::span<const int> groups) {
  const auto count = static_cast<size_t>(groups.empty() ? 0 : *std::max_element(groups.begin(), groups.end()) + 1);
  // Sums are relative to a group's first member, so that the mean of equal values is exact.
  std::vector<double> firsts(count, 0.0), sums(count, 0.0), sizes(count, 0.0);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto g = static_cast<size_t>(groups[i]);
    if (sizes[g] == 0) firsts[g] = values[i];
    sums[g] += values[i] - firsts[g];
    sizes[g] += 1;
  }
  std::vector<double> centered;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto g = static_cast<size_t>(groups[i]);
    centered.push_back(values[i] - firsts[g] - sums[g] / sizes[g]);
  }
  return centered;
}

std::vector<Resample> GroupedResamples(std::span<const int> groups, int count, uint64_t seed) {
  std::vector<std::vector<int>> members;
  for (size_t i = 0; i < groups.size(); ++i) {
    members.resize(std::max(members.size(), static_cast<size_t>(groups[i]) + 1));
    members[static_cast<size_t>(groups[i])].push_back(static_cast<int>(i));
  }
  std::vector<Resample> resamples(static_cast<size_t>(count));
  for (size_t r = 0; r < resamples.size(); ++r) {
    Draws draws(seed, static_cast<uint32_t>(r));
    for (size_t g = 0; g < members.size(); ++g) {
      const auto& group = members[draws.Below(members.size())];
      for (size_t m = 0; m < group.size(); ++m) {
        resamples[r].members.push_back(group[draws.Below(group.size())]);
        resamples[r].groups.push_back(static_cast<int>(g));
      }
    }
  }
  return resamples;
}

Interval PercentileInterval(std::vector<double> values, double confidence) {
  const size_t all = values.size();
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  if (values.size() * 2 < all || values.empty()) return {std::nan(""), std::nan("")};
  std::sort(values.begin(), values.end());
  const double tail = (1 - confidence) / 2;
  return {Quantile(values, tail), Quantile(values, 1 - tail)};
}

}  // namespace steadfast::statistics
