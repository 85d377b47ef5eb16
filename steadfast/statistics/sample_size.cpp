#include "steadfast/statistics/sample_size.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <cmath>

#include "steadfast/base/error.h"

namespace steadfast::statistics {

int64_t SampleSize(int64_t population, double margin, double confidence, double share) {
  for (const auto& [what, value] : {std::pair{"margin", margin}, {"confidence", confidence}, {"share", share}}) {
    if (!(value > 0 && value < 1)) throw UsageError(fmt::format("{}: {}, expected above 0 and below 1", what, value));
  }
  if (population < 1) throw UsageError("no faults to draw from");
  const double t = boost::math::quantile(boost::math::normal(), (1 + confidence) / 2);
  const auto all = static_cast<double>(population);
  const double size = all / (1 + margin * margin * (all - 1) / (t * t * share * (1 - share)));
  return std::min(population, static_cast<int64_t>(std::ceil(size - 1e-9)));
}

}  // namespace steadfast::statistics
