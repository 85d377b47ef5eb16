// Asking running work to stop: Ctrl-C, SIGTERM, or a caller that has seen enough.
#pragma once

#include <atomic>

namespace steadfast {

// A flag that work polls between blocks. Copies nothing, owns nothing; safe from any thread and from signal handlers.
class Cancellation {
 public:
  void Request() noexcept { requested_.store(true, std::memory_order_relaxed); }
  bool Requested() const noexcept { return requested_.load(std::memory_order_relaxed); }

  // Throws InterruptedError once Request() was called.
  void ThrowIfRequested() const;

 private:
  std::atomic<bool> requested_{false};
};

// While alive, the first SIGINT, SIGTERM or SIGHUP sets `cancellation`; a second one ends the process at once.
// At most one may exist in a process; its destructor restores the default handlers.
class InterruptHandler {
 public:
  explicit InterruptHandler(Cancellation& cancellation);
  ~InterruptHandler();
  InterruptHandler(const InterruptHandler&) = delete;
  InterruptHandler& operator=(const InterruptHandler&) = delete;
};

}  // namespace steadfast
