// exp and log that give the same bits on every machine.
//
// libm differs between machines and versions; results that must be reproducible (fault positions, losses) use these:
// only + - * / in double, each rounded. Relative error under 1e-15 on the ranges below (held by a test).
#pragma once

namespace steadfast {

// PortableExp as numbers, for code that computes it for several arguments at once.
inline constexpr double kLog2E = 1.44269504088896338700e+00;
// ln 2 split so that k * kLn2High is exact for |k| < 2^20 (the fdlibm constants).
inline constexpr double kLn2High = 6.93147180369123816490e-01;
inline constexpr double kLn2Low = 1.90821492927058770002e-10;
inline constexpr double kExpRounder = 6755399441055744.0;  // 1.5 * 2^52: added and subtracted, rounds to an integer
inline constexpr double kExpUnderflow = -745.0;
inline constexpr int kExpDegree = 13;
inline constexpr double kExpCoefficients[kExpDegree + 1] = {  // 1 / n!
    1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};

// e^x for x in [-745, 709]; 0 below, the largest finite double above.
double PortableExp(double x);

// Natural logarithm of a positive, finite, normal x.
double PortableLog(double x);

// ln(1 + x) for x in (-1, 1], precise for tiny x too.
double PortableLog1p(double x);

}  // namespace steadfast
