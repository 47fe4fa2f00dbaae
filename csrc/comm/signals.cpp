#include "motley/comm/signals.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "motley/comm/communicator.h"
#include "motley/comm/failure_state.h"

namespace motley {
namespace {

constexpr Seconds kPatience{0.3};

// SIGUSR2 wakes the thread when the watch ends; it is sent to that thread alone.
constexpr int kStopSignal = SIGUSR2;

sigset_t watched(bool with_stop) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR1);
  if (with_stop) sigaddset(&set, kStopSignal);
  return set;
}

}  // namespace

SignalWatch::SignalWatch(std::string program, std::function<void()> before_exit)
    : program_(std::move(program)), before_exit_(std::move(before_exit)) {
  // The thread is born with the stop signal blocked: a watch that ends at once must not kill the process.
  const sigset_t set = watched(true);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &set, &before);
  thread_ = std::thread([this] { run(); });
  if (sigismember(&before, kStopSignal) == 0) {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, kStopSignal);
    pthread_sigmask(SIG_UNBLOCK, &stop, nullptr);
  }
}

SignalWatch::~SignalWatch() {
  stopping_ = true;
  pthread_kill(thread_.native_handle(), kStopSignal);
  thread_.join();
  const sigset_t set = watched(false);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void SignalWatch::watch(const Communicator& communicator) {
  const std::lock_guard lock(mutex_);
  who_ = fmt::format("rank {}: ", communicator.rank());
  failure_ = communicator.failure_state();
}

void SignalWatch::report(std::string_view text) {
  if (reported_.exchange(true)) return;
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    line = fmt::format("{}: {}{}\n", program_, who_, text);
  }
  // One write, so that lines of several ranks do not mix.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

void SignalWatch::run() {
  const sigset_t set = watched(true);
  while (true) {
    int signal = 0;
    if (sigwait(&set, &signal) != 0) continue;
    if (signal == kStopSignal) {
      if (stopping_) return;
      continue;
    }
    if (signal == SIGUSR1 && orderly_) {
      stop_requested_ = true;
      continue;
    }
    end(signal);
  }
}

void SignalWatch::end(int signal) {
  std::shared_ptr<const FailureState> failure;
  {
    const std::lock_guard lock(mutex_);
    failure = failure_;
  }
  if (failure && failure->wait_for(kPatience)) {
    report(failure->cause());
  } else {
    report(fmt::format("ended by {}", signal == SIGTERM ? "SIGTERM" : "an interrupt"));
  }
  if (before_exit_) before_exit_();
  _exit(1);
}

}  // namespace motley
