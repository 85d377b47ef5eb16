#include "steadfast/base/elementary.h"

#include <bit>
#include <cstdint>
#include <limits>

namespace steadfast {
namespace {

// ln 2 split so that k * kLn2High is exact for |k| < 2^20 (the fdlibm constants).
constexpr double kLn2High = 6.93147180369123816490e-01;
constexpr double kLn2Low = 1.90821492927058770002e-10;
constexpr double kLog2E = 1.44269504088896338700e+00;

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
  if (x < -745.0) return 0.0;
  if (x > 709.0) return std::numeric_limits<double>::max();
  // x = k ln 2 + r with |r| <= ln(2)/2; adding and subtracting 1.5 * 2^52 rounds to the nearest integer.
  constexpr double kRounder = 6755399441055744.0;
  const double k_real = (x * kLog2E + kRounder) - kRounder;
  const int k = static_cast<int>(k_real);
  const double r = (x - k_real * kLn2High) - k_real * kLn2Low;
  // Taylor series of e^r to r^13 (next term below 2^-57), by Horner.
  constexpr double kInverseFactorials[] = {
      1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
      1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
  double sum = kInverseFactorials[13];
  for (int n = 12; n >= 0; --n) sum = sum * r + kInverseFactorials[n];
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
