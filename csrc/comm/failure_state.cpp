#include "motley/comm/failure_state.h"

#include <chrono>

namespace motley {

std::string FailureState::cause() const {
  const std::lock_guard lock(mutex_);
  return cause_;
}

bool FailureState::wait_for(Seconds patience) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::duration<double>(patience.value), [this] { return failed(); });
}

bool FailureState::set(const std::string& cause) {
  const std::lock_guard lock(mutex_);
  if (failed()) return false;
  cause_ = cause;
  failed_.store(true, std::memory_order_release);
  changed_.notify_all();
  return true;
}

void FailureState::note_lost(int rank) {
  const std::lock_guard lock(mutex_);
  lost_.insert(rank);
}

bool FailureState::lost(int rank) const {
  const std::lock_guard lock(mutex_);
  return lost_.contains(rank);
}

bool FailureState::lost_all_below(int rank) const {
  const std::lock_guard lock(mutex_);
  for (int lower = 0; lower < rank; ++lower) {
    if (!lost_.contains(lower)) return false;
  }
  return true;
}

}  // namespace motley
