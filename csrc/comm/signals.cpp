#include "motley/comm/signals.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "motley/comm/communicator.h"
#include "motley/comm/detail/clock.h"
#include "motley/comm/failure_state.h"

namespace motley {
namespace {

constexpr Seconds kPatience{0.3};
// A rank that another one should speak for waits so long for mpirun to end it.
constexpr Seconds kDeference{3.0};
// Between the ends of the first ranks whose start took too long, each after this share of the limit.
constexpr Seconds kStagger{0.4};
constexpr int kStaggered = 3;
constexpr double kShareOfLimit = 0.7;

// SIGUSR2 wakes the thread when the watch ends; it is sent to that thread alone.
constexpr int kStopSignal = SIGUSR2;
constexpr int kNoSignal = 0;  // the start or the end took too long

sigset_t watched(bool with_stop) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR1);
  if (with_stop) sigaddset(&set, kStopSignal);
  return set;
}

std::string_view name_of(int signal) {
  return signal == SIGTERM ? "SIGTERM" : signal == SIGINT ? "an interrupt" : "SIGUSR1";
}

}  // namespace

SignalWatch::SignalWatch(std::string program, std::function<void()> before_exit, Voices voices)
    : program_(std::move(program)), before_exit_(std::move(before_exit)), voices_(voices) {
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

void SignalWatch::limit_start(Seconds limit, int rank) {
  {
    const std::lock_guard lock(mutex_);
    rank_ = rank;
    who_ = fmt::format("rank {}: ", rank);
  }
  this->limit(limit, rank);
}

void SignalWatch::limit_end(Seconds limit) {
  ending_ = true;
  int rank = 0;
  {
    const std::lock_guard lock(mutex_);
    rank = rank_;
    abort_ = nullptr;
  }
  this->limit(limit, rank);
}

void SignalWatch::limit(Seconds limit, int rank) {
  limit_s_ = limit.value * kShareOfLimit;
  until_ = (steady_now() + limit * kShareOfLimit + kStagger * std::min(rank, kStaggered)).value;
  pthread_kill(thread_.native_handle(), kStopSignal);  // so that it waits no longer than that
}

void SignalWatch::watch(const Communicator& communicator) {
  until_ = 0.0;
  const std::lock_guard lock(mutex_);
  rank_ = communicator.rank();
  who_ = fmt::format("rank {}: ", communicator.rank());
  failure_ = communicator.failure_state();
  abort_ = communicator.aborter();
}

bool SignalWatch::speaks() const {
  const std::lock_guard lock(mutex_);
  if (voices_ == Voices::All) return true;
  return !(failure_ && failure_->lost(rank_)) && (rank_ == 0 || (failure_ && failure_->lost_all_below(rank_)));
}

void SignalWatch::report(std::string_view text) {
  if (reported_.exchange(true)) return;
  if (!speaks()) std::this_thread::sleep_for(to_duration(kDeference));
  print(text);
}

void SignalWatch::print(std::string_view text) const {
  std::string line;
  {
    const std::lock_guard lock(mutex_);
    line = fmt::format("{}: {}{}\n", program_, who_, text);
  }
  // One write, so that lines of several ranks do not mix.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

int SignalWatch::next_signal() const {
  const sigset_t set = watched(true);
  while (true) {
    const double until = until_;
    if (until == 0.0) {
      int signal = 0;
      if (sigwait(&set, &signal) == 0) return signal;
      continue;
    }
    const double left = std::max(0.0, until - steady_now().value);
    const double whole = std::floor(left);
    const timespec limit{static_cast<time_t>(whole), static_cast<long>((left - whole) * 1e9)};
    const int signal = sigtimedwait(&set, nullptr, &limit);
    if (signal > 0) return signal;
    if (errno == EAGAIN && until_ == until) return kNoSignal;
  }
}

void SignalWatch::run() {
  while (true) {
    const int signal = next_signal();
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
  std::function<void(Seconds, const std::string&)> abort;
  {
    const std::lock_guard lock(mutex_);
    failure = failure_;
    abort = abort_;
  }
  const bool failed = failure && failure->wait_for(kPatience);
  // Before the run is ended, since the main thread then has something to report as well.
  const bool tells = (signal == kNoSignal || speaks()) && !reported_.exchange(true);
  if (abort && !failed) abort(kPatience, fmt::format("ended by {}", name_of(signal)));
  if (tells) {
    if (failed) {
      print(failure->cause());
    } else if (signal == kNoSignal) {
      print(fmt::format("the ranks did not {} together within {:.1f} s: one is stopped{}", ending_ ? "end" : "start",
                        limit_s_.load(),
                        ending_ ? "" : " or still reads its files; a higher comm.deadline_s gives more time"));
    } else {
      print(fmt::format("ended by {}", name_of(signal)));
    }
  }
  if (before_exit_) before_exit_();
  _exit(1);
}

}  // namespace motley
