#include "steadfast/base/cancellation.h"

#include <csignal>

#include "steadfast/base/error.h"  // InterruptedError

namespace steadfast {
namespace {

// A signal handler can only reach a global; InterruptHandler alone sets it.
std::atomic<Cancellation*> interrupt_target{nullptr};

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

void OnSignal(int signal) {
  Cancellation* target = interrupt_target.load();
  if (target == nullptr || target->Requested()) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
    return;
  }
  target->Request();
}

}  // namespace

void Cancellation::ThrowIfRequested() const {
  if (Requested()) throw InterruptedError("interrupted");
}

InterruptHandler::InterruptHandler(Cancellation& cancellation) {
  interrupt_target.store(&cancellation);
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigemptyset(&action.sa_mask);
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
}

InterruptHandler::~InterruptHandler() {
  for (int signal : kSignals) std::signal(signal, SIG_DFL);
  interrupt_target.store(nullptr);
}

}  // namespace steadfast
