#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace motley {

class Communicator;
class FailureState;

/// Lets a rank that mpirun ends say why. When one rank dies, mpirun sends SIGTERM to the others, often before they have
/// noticed the loss themselves.
///
/// Make one early in main, before any other thread: it blocks SIGTERM and SIGINT for this thread and those started
/// later and waits for them in a thread of its own. On a signal that thread waits at most 300 ms for the watched run to
/// learn its cause, prints one line to stderr, calls `before_exit` (it may be empty; it runs on the signal thread) and
/// ends the process with exit code 1, without destructors. Signals are unblocked again by the destructor.
class SignalWatch {
 public:
  explicit SignalWatch(std::string program, std::function<void()> before_exit = {});
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// Names the run whose failure explains a signal. The communicator may end before the watch does.
  void watch(const Communicator& communicator);

  /// From now on SIGUSR1, which mpirun hands on to all ranks, asks for an orderly end instead of ending the process.
  void allow_orderly_stop() { orderly_ = true; }
  /// SIGUSR1 came since.
  [[nodiscard]] bool stop_requested() const { return stop_requested_; }

  /// Prints "PROGRAM: rank R: TEXT" to stderr, once in this object's life, whoever comes first: the caller that caught
  /// a CommError or the signal thread. Later calls print nothing.
  void report(std::string_view text);

 private:
  void run();
  [[noreturn]] void end(int signal);

  std::string program_;
  std::function<void()> before_exit_;
  std::mutex mutex_;
  std::string who_;
  std::shared_ptr<const FailureState> failure_;
  std::atomic<bool> reported_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> orderly_{false};
  std::atomic<bool> stop_requested_{false};
  std::thread thread_;
};

}  // namespace motley
