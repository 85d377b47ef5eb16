// Clustered defects: the number of faulty cells of a region is negative binomial, with such a mean that a cell fails
// with probability rate, and clustering parameter ALPHA (Stapper, Armstrong, Saji: "Integrated circuit yield
// statistics", Proc. IEEE 1983): each region has a factor of its own, gamma-distributed with mean 1 and variance
// 1/ALPHA, on the Poisson intensity of its cells. Small ALPHA: few regions hold nearly all defects; large ALPHA:
// independent cells. Measured values: 0.3 to 5. Regions are banks, or tiles of ROWSxCOLUMNS of them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "steadfast/base/elementary.h"  // PortableLog, PortableExp
#include "steadfast/base/error.h"
#include "steadfast/base/text.h"
#include "steadfast/memory/fault_models/kinds.h"

namespace steadfast::memory {
namespace {

// The factor of a region: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000), with normal
// numbers by Marsaglia's polar method; only + - x / sqrt and portable logarithms, so it is the same everywhere.
double GammaFactor(PhiloxKey key, uint32_t trial, uint32_t memory, int64_t region, double alpha) {
  const double shape = alpha < 1 ? alpha + 1 : alpha, d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  const auto draw = [&](int64_t attempt, uint32_t which) {
    return DrawOf(key, trial, Stream::kClusterFactors, memory, attempt << 32 | region, which);
  };
  double gamma = 0;
  for (int64_t attempt = 0; gamma == 0; ++attempt) {
    const double a = 2 * draw(attempt, 0) - 1, b = 2 * draw(attempt, 1) - 1, s = a * a + b * b;
    if (s >= 1 || s == 0) continue;
    const double x = a * std::sqrt(-2 * PortableLog(s) / s), v = (1 + c * x) * (1 + c * x) * (1 + c * x);
    if (v <= 0) continue;
    if (PortableLog(draw(attempt, 2)) < x * x / 2 + d - d * v + d * PortableLog(v)) gamma = d * v;
  }
  if (alpha < 1) gamma *= PortableExp(PortableLog(draw(0, 3)) / alpha);
  return gamma / alpha;
}

class Clusters final : public FaultProcess {
 public:
  Clusters(double alpha, int64_t rows, int64_t columns, const CellFault& fault)
      : alpha_(alpha), rows_(rows), columns_(columns), fault_(fault) {}
  std::string text() const override {
    return fmt::format("cluster:{}{}{}", FormatShortest(alpha_),
                       rows_ > 0 ? fmt::format(":{}x{}", rows_, columns_) : "", SuffixOf(fault_));
  }
  FaultMap Sample(const Target& target, PhiloxKey key, uint32_t trial, double rate) const override {
    FaultCollector faults(target, key, trial, fault_);
    const MemoryImage& image = target.image;
    // So that a cell fails with probability `rate`: 1 - (1 + t / alpha)^-alpha of it.
    const double x = TimeOf(rate) / alpha_;
    const double time = rate < 1 ? alpha_ * (x < 1e-5 ? x * (1 + x / 2) : PortableExp(x) - 1) : TimeOf(rate);
    for (int m = 0; m < static_cast<int>(image.chip().memories.size()); ++m) {
      const Memory& memory = image.chip().memories[static_cast<size_t>(m)];
      const int64_t rows = rows_ > 0 ? std::min<int64_t>(rows_, memory.rows_per_bank) : memory.rows_per_bank;
      const int64_t columns = rows_ > 0 ? std::min(columns_, memory.columns()) : memory.columns();
      int64_t region = 0;
      for (int64_t bank = 0; bank < image.BanksOf(m); ++bank) {
        for (int64_t row = 0; row < memory.rows_per_bank; row += rows) {
          for (int64_t column = 0; column < memory.columns(); column += columns, ++region) {
            const Tile tile{{m, bank, row, column},
                            std::min(rows, memory.rows_per_bank - row),
                            std::min(columns, memory.columns() - column)};
            AddTile(image, key, trial, tile, region, time, faults);
          }
        }
      }
    }
    return faults.Take();
  }

 private:
  struct Tile {
    PhysicalAddress first;
    int64_t rows, columns;
  };

  void AddTile(const MemoryImage& image, PhiloxKey key, uint32_t trial, const Tile& tile, int64_t region, double time,
               FaultCollector& faults) const {
    const auto memory = static_cast<uint32_t>(tile.first.memory);
    const double until =
        time < std::numeric_limits<double>::infinity() ? time * GammaFactor(key, trial, memory, region, alpha_) : time;
    for (int64_t cell : HitUnitsOfPart(key, trial, Stream::kClusters, memory, static_cast<uint32_t>(region),
                                       tile.rows * tile.columns, until)) {
      PhysicalAddress at = tile.first;
      at.row += cell / tile.columns;
      at.column += cell % tile.columns;
      if (const auto bit = image.BitAt(at)) faults.Add(*bit);
    }
  }

  double alpha_;
  int64_t rows_, columns_;  // of a tile; 0: banks
  CellFault fault_;
};

FaultProcessPtr ParseCluster(const std::vector<std::string>& pieces, const TableSource&) {
  if (pieces.size() < 2) throw UsageError("cluster: give its clustering parameter: cluster:0.5");
  const double alpha = ParseDouble(pieces[1], "cluster: clustering parameter", 0.01, 1e6);
  size_t next = 2;
  int64_t rows = 0, columns = 0;
  if (pieces.size() > 2 && pieces[2].find('x') != std::string::npos) {
    const size_t x = pieces[2].find('x');
    rows = ParseInt(pieces[2].substr(0, x), "cluster: rows of a region", 1, 1 << 20);
    columns = ParseInt(pieces[2].substr(x + 1), "cluster: columns of a region", 1, 1 << 20);
    ++next;
  }
  return std::make_shared<Clusters>(alpha, rows, columns, CellFaultFrom(pieces, next));
}

}  // namespace

const FaultModelKind kClusterKind = {
    "cluster", "cluster:ALPHA[:ROWSxCOLUMNS][:KIND]",
    "faults per bit, whose number in a bank (or a tile of it) is negative binomial with clustering parameter ALPHA",
    "Stapper et al., Proc. IEEE 1983", ParseCluster};

}  // namespace steadfast::memory
