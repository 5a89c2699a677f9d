#include "jointtuner/base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <string_view>

namespace jointtuner {

namespace {

std::atomic<bool> requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may touch lock-free atomics only");

void on_signal(int) {
  if (requested.exchange(true)) _exit(130);
  constexpr std::string_view kMessage = "\nstopping after this step; press Ctrl-C again to stop at once\n";
  if (::write(STDERR_FILENO, kMessage.data(), kMessage.size()) < 0)
    return;  // nowhere to tell: the flag is set all the same
}

}  // namespace

void install_interrupt_handler() {
  struct sigaction action{};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool interrupt_requested() { return requested.load(); }

}  // namespace jointtuner
