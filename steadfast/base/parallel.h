// Running independent pieces of work on several threads.
#pragma once

#include <cstdint>
#include <functional>

#include "steadfast/base/cancellation.h"  // Cancellation

namespace steadfast {

// Calls work(worker, index) once for each index in [0, count), on `threads` threads (worker in [0, threads)), in no
// particular order. The first exception stops the rest and is rethrown here; a requested cancellation ends it with
// InterruptedError after the pieces under way. threads <= 0 means AvailableCores().
void ParallelFor(int threads, int64_t count, const std::function<void(int worker, int64_t index)>& work,
                 const Cancellation* cancellation = nullptr);

}  // namespace steadfast
