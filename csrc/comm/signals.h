#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "motley/base/units.h"

namespace motley {

class Communicator;
class FailureState;

/// Lets a rank that mpirun ends say why. When one rank dies, mpirun sends SIGTERM to the others, often before they have
/// noticed the loss themselves.
///
/// Make one early in main, before any other thread: it blocks SIGTERM and SIGINT for this thread and those started
/// later and waits for them in a thread of its own. On a signal that thread waits at most 300 ms for the watched run to
/// learn its cause, and where there is none ends the run on every rank; it prints one line to stderr, calls
/// `before_exit` (it may be empty; it runs on the signal thread) and ends the process with exit code 1, without
/// destructors. Signals are unblocked again by the destructor.
///
/// Where all ranks would say the same, one is enough: as `Voices::One` rank 0 speaks, or the lowest rank that has not
/// been lost. Another one does so when it still lives a little later: mpirun ends all ranks once one has left. A rank
/// that the others gave up, and that wakes again, keeps silent as well.
class SignalWatch {
 public:
  enum class Voices { All, One };

  explicit SignalWatch(std::string program, std::function<void()> before_exit = {}, Voices voices = Voices::All);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// Ends the process with a line on stderr unless watch() is called within 0.7 of `limit`: MPI's start has no limit of
  /// its own, and waits for a rank that is stopped. Ranks end one after another, so that the first one's line is the
  /// only one where mpirun then ends the others.
  void limit_start(Seconds limit, int rank);

  /// The same for the end, after the run has gone well: leaving MPI waits for every rank as well.
  void limit_end(Seconds limit);

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
  /// 0: the start or the end took too long.
  [[nodiscard]] int next_signal() const;
  [[noreturn]] void end(int signal);
  void limit(Seconds limit, int rank);
  /// Whether this rank is the one that tells.
  [[nodiscard]] bool speaks() const;
  void print(std::string_view text) const;

  std::string program_;
  std::function<void()> before_exit_;
  const Voices voices_;
  mutable std::mutex mutex_;
  int rank_ = 0;
  std::string who_;
  std::shared_ptr<const FailureState> failure_;
  std::function<void(Seconds, const std::string&)> abort_;
  std::atomic<bool> reported_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> orderly_{false};
  std::atomic<bool> stop_requested_{false};
  std::atomic<bool> ending_{false};  ///< the limit is that of the end
  std::atomic<double> until_{0.0};   ///< of the steady clock, seconds; 0: no limit
  std::atomic<double> limit_s_{0.0};
  std::thread thread_;
};

}  // namespace motley
