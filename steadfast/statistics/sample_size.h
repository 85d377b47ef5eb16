// How many faults of a population to inject, by the formula of the field.
#pragma once

#include <cstdint>

namespace steadfast::statistics {

// How many of `population` faults, drawn without replacement, each as likely as any other, estimate the share of them
// that has an effect within `margin`, with `confidence` (Leveugle, Calvez, Maistri and Vanhauwaert, Statistical fault
// injection: quantified error and confidence, DATE 2009): n = N / (1 + margin^2 (N - 1) / (t^2 share (1 - share))),
// rounded up. share: what is expected; a half is the worst case. By the normal law, so not for shares near 0 or 1.
// Throws UsageError where margin, confidence or share is not within (0, 1), or the population is empty.
int64_t SampleSize(int64_t population, double margin, double confidence, double share = 0.5);

}  // namespace steadfast::statistics
