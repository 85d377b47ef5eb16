#include "steadfast/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "steadfast/base/machine.h"  // AvailableCores

namespace steadfast {

void ParallelFor(int threads, int64_t count, const std::function<void(int, int64_t)>& work,
                 const Cancellation* cancellation) {
  if (threads <= 0) threads = AvailableCores();
  threads = static_cast<int>(std::min<int64_t>(threads, std::max<int64_t>(count, 1)));
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto run = [&](int worker) {
    while (!failed.load(std::memory_order_relaxed)) {
      if (cancellation != nullptr && cancellation->Requested()) return;
      const int64_t index = next.fetch_add(1);
      if (index >= count) return;
      try {
        work(worker, index);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        failed.store(true);
      }
    }
  };
  {
    std::vector<std::jthread> others;
    for (int worker = 1; worker < threads; ++worker) others.emplace_back(run, worker);
    run(0);
  }
  if (failure) std::rethrow_exception(failure);
  if (cancellation != nullptr) cancellation->ThrowIfRequested();
}

}  // namespace steadfast
