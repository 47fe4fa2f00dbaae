#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>

#include "motley/base/units.h"

namespace motley {

/// Whether and why a run has failed. The first cause stays. Usable from any thread.
class FailureState {
 public:
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }
  /// "" while all is well.
  [[nodiscard]] std::string cause() const;
  /// Waits at most `patience` for a failure; true when there is one.
  bool wait_for(Seconds patience) const;

  /// False when there was a cause before.
  bool set(const std::string& cause);

  /// `rank` was found dead or silent, here or by another one, before set().
  void note_lost(int rank);
  [[nodiscard]] bool lost(int rank) const;
  /// Every rank below this one was.
  [[nodiscard]] bool lost_all_below(int rank) const;

  /// What will be the cause is the user's mistake, found here or by another rank; before set().
  void note_input() { by_input_.store(true, std::memory_order_release); }
  [[nodiscard]] bool by_input() const { return by_input_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> failed_{false};
  std::atomic<bool> by_input_{false};
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::string cause_;
  std::set<int> lost_;
};

}  // namespace motley
