// exp and log that give the same bits on every machine.
//
// libm differs between machines and versions; results that must be reproducible (fault positions, losses) use these:
// only + - * / in double, each rounded. Relative error under 1e-15 on the ranges below (held by a test).
#pragma once

namespace steadfast {

// e^x for x in [-745, 709]; 0 below, the largest finite double above.
double PortableExp(double x);

// Natural logarithm of a positive, finite, normal x.
double PortableLog(double x);

// ln(1 + x) for x in (-1, 1], precise for tiny x too.
double PortableLog1p(double x);

}  // namespace steadfast
