#include "steadfast/base/elementary.h"

#include <bit>
#include <cstdint>
#include <limits>

namespace steadfast {
namespace {

constexpr int kExponentBias = 1023;
constexpr int kMantissaBits = 52;

// 2 atanh(s) for |s| <= 0.1716: the odd series to s^21.
double TwiceAtanh(double s) {
  const double s2 = s * s;
  double sum = 0.0;
  for (int n = 21; n >= 3; n -= 2) sum = (sum + 1.0 / n) * s2;
  return 2.0 * s + 2.0 * s * sum;
}

double PowerOfTwo(int exponent) {  // exponent in [-1022, 1023]
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + kExponentBias) << kMantissaBits);
}

}  // namespace

double PortableExp(double x) {
  if (!(x >= kExpUnderflow)) return 0.0;  // NaN too
  if (x > 709.0) return std::numeric_limits<double>::max();
  // x = k ln 2 + r with |r| <= ln(2)/2.
  const double k_real = (x * kLog2E + kExpRounder) - kExpRounder;
  const int k = static_cast<int>(k_real);
  const double r = (x - k_real * kLn2High) - k_real * kLn2Low;
  // Taylor series of e^r to r^13 (next term below 2^-57), by Horner.
  double sum = kExpCoefficients[kExpDegree];
  for (int n = kExpDegree - 1; n >= 0; --n) sum = sum * r + kExpCoefficients[n];
  if (k < -1022) return sum * PowerOfTwo(k + 1000) * PowerOfTwo(-1000);
  return sum * PowerOfTwo(k);
}

double PortableLog(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int k = static_cast<int>(bits >> kMantissaBits) - kExponentBias;
  double m = std::bit_cast<double>((bits & ((uint64_t{1} << kMantissaBits) - 1)) |
                                   (static_cast<uint64_t>(kExponentBias) << kMantissaBits));  // [1, 2)
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++k;
  }
  const double log_m = TwiceAtanh((m - 1.0) / (m + 1.0));
  return k * kLn2High + (log_m + k * kLn2Low);
}

double PortableLog1p(double x) {
  if (x < -0.25 || x > 0.25) return PortableLog(1.0 + x);
  return TwiceAtanh(x / (2.0 + x));
}

}  // namespace steadfast
