// How many random graphs a test tries: the environment variable STEADFAST_GRAPHS, or `usual`.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "steadfast/base/text.h"

namespace steadfast::engine {

inline uint64_t GraphsToTry(uint64_t usual) {
  const char* graphs = std::getenv("STEADFAST_GRAPHS");
  return graphs == nullptr ? usual : static_cast<uint64_t>(ParseInt(graphs, "STEADFAST_GRAPHS", 1, 1 << 30));
}

}  // namespace steadfast::engine
