// How often the intervals of steadfast/statistics hold what they are of: by simulation, from laws whose mean is known.
// Of those that promise it, tests hold them to it; this program says how the others do (docs/findings.md has its
// table).
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "steadfast/statistics/cluster_sample.h"
#include "steadfast/statistics/correlation.h"
#include "steadfast/statistics/mean_sequence.h"
#include "steadfast/statistics/summary.h"
#include "steadfast/statistics/tolerance.h"

using namespace steadfast::statistics;

namespace {

std::mt19937_64 random_bits(1);

double Uniform() {
  return std::uniform_real_distribution<double>()(random_bits);
}
double Normal() {
  return std::normal_distribution<double>()(random_bits);
}

// Laws of a trial's accuracy: around its mean; most chips nearly whole and some that guess; images alone near 1.
struct Law {
  const char* name;
  double mean;
  double (*draw)();
};
constexpr Law kLaws[] = {
    {"normal, sd 0.02", 0.85, [] { return 0.85 + 0.02 * Normal(); }},
    {"one chip in ten guesses", 0.9 * 0.88 + 0.1 * 0.1, [] { return Uniform() < 0.1 ? 0.1 : 0.88 + 0.005 * Normal(); }},
    {"one chip in a hundred guesses", 0.99 * 0.88 + 0.01 * 0.1,
     [] { return Uniform() < 0.01 ? 0.1 : 0.88 + 0.005 * Normal(); }},
    {"0 or 1, mean 0.995", 0.995, [] { return Uniform() < 0.995 ? 1.0 : 0.0; }}};

std::vector<double> Drawn(const Law& law, int count) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i) values.push_back(law.draw());
  return values;
}

void Print(const std::string& what, const std::string& law, int repetitions, const std::function<bool()>& holds) {
  int held = 0;
  for (int i = 0; i < repetitions; ++i) held += holds();
  fmt::print("| {} | {} | {:.1f} |\n", what, law, 100.0 * held / repetitions);
  std::fflush(stdout);
}

bool IsIn(const Interval& interval, double value) {
  return interval.low <= value && value <= interval.high;
}

// Clusters of a tensor's faults: most harmless, a few that cost much, as sweeps find them.
double CoverageOfClusters(int drawn, int repetitions) {
  constexpr int kStrata = 3, kClusters = 200, kSize = 50;
  std::vector<std::vector<double>> totals(kStrata);
  double all = 0;
  for (auto& stratum : totals) {
    for (int c = 0; c < kClusters; ++c) {
      stratum.push_back(kSize * std::exp(1.5 * Normal()));
      all += stratum.back();
    }
  }
  const double mean = all / (kStrata * kClusters * kSize);
  int held = 0;
  for (int i = 0; i < repetitions; ++i) {
    std::vector<Stratum> strata;
    for (auto stratum : totals) {
      std::shuffle(stratum.begin(), stratum.end(), random_bits);
      strata.push_back({kClusters, double{kClusters * kSize}, std::vector<double>(static_cast<size_t>(drawn), kSize),
                        std::vector<double>(stratum.begin(), stratum.begin() + drawn)});
    }
    held += IsIn(MeanOfClusters(strata).interval, mean);
  }
  return 100.0 * held / repetitions;
}

// Spearman's correlation of 20 networks of four recipes, by the bootstrap of two stages.
bool SpearmanHolds(double pearson) {
  std::vector<double> x, y;
  std::vector<int> groups;
  for (int g = 0; g < 4; ++g) {
    const double a = Normal(), b = pearson * a + std::sqrt(1 - pearson * pearson) * Normal();
    for (int i = 0; i < 5; ++i) {
      const double c = Normal(), d = pearson * c + std::sqrt(1 - pearson * pearson) * Normal();
      x.push_back(a + c);
      y.push_back(b + d);
      groups.push_back(g);
    }
  }
  std::vector<double> values;
  for (const Resample& sample : GroupedResamples(groups, 500, random_bits())) {
    std::vector<double> of_x, of_y;
    for (int member : sample.members) {
      of_x.push_back(x[static_cast<size_t>(member)]);
      of_y.push_back(y[static_cast<size_t>(member)]);
    }
    values.push_back(Spearman(of_x, of_y));
  }
  return IsIn(PercentileInterval(values), 6 / M_PI * std::asin(pearson / 2));
}

}  // namespace

int main() {
  constexpr int kRepetitions = 2000, kFewer = 500;
  fmt::print("| interval (nominal 95 %) | law | holds, % of {} ({}: bootstraps) |\n| --- | --- | --- |\n", kRepetitions,
             kFewer);
  for (const Law& law : kLaws) {
    for (int n : {3, 5, 20, 50, 100})
      Print(fmt::format("Student's t, {} values", n), law.name, kRepetitions,
            [&] { return IsIn(StudentInterval(Drawn(law, n)), law.mean); });
    Print("bootstrap of the mean, 20 values", law.name, kFewer,
          [&] { return IsIn(BootstrapInterval(Drawn(law, 20), 0.95, 500, random_bits()), law.mean); });
  }
  Print("nine t intervals together (Bonferroni), 5 values", "normal, correlated 0.9", kRepetitions, [] {
    std::vector<std::vector<double>> cells(9);
    for (int i = 0; i < 5; ++i) {
      const double shared = Normal();
      for (auto& cell : cells) cell.push_back(std::sqrt(0.9) * shared + std::sqrt(0.1) * Normal());
    }
    const auto intervals = SimultaneousIntervals(cells);
    return std::all_of(intervals.begin(), intervals.end(), [](const Interval& one) { return IsIn(one, 0); });
  });
  for (int drawn : {2, 10, 40})
    fmt::print("| mean of faults from a sample of clusters, {} of 200 in each of 3 strata | lognormal | {:.1f} |\n",
               drawn, CoverageOfClusters(drawn, kRepetitions));
  for (double pearson : {0.0, 0.8})
    Print("Spearman's correlation, 4 recipes x 5 networks, bootstrap of two stages", fmt::format("normal, {}", pearson),
          kFewer, [&] { return SpearmanHolds(pearson); });
  return 0;
}
