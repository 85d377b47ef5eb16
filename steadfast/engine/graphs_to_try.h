// How many random graphs a test tries: the environment variable STEADFAST_GRAPHS, or `usual`; a quarter of it with
// sanitizers, which look at what code does with memory, and feel the scalar reference most.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "steadfast/base/text.h"

namespace steadfast::engine {

inline uint64_t GraphsToTry(uint64_t usual) {
  const char* graphs = std::getenv("STEADFAST_GRAPHS");
#if defined(__SANITIZE_ADDRESS__)
  usual = (usual + 3) / 4;
#endif
  return graphs == nullptr ? usual : static_cast<uint64_t>(ParseInt(graphs, "STEADFAST_GRAPHS", 1, 1 << 30));
}

}  // namespace steadfast::engine
