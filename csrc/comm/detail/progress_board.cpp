#include "motley/comm/detail/progress_board.h"

#include "motley/comm/detail/clock.h"

namespace motley {

void ProgressBoard::set(std::string_view action, bool waiting, int waiting_for) {
  const Seconds now = steady_now();
  const std::lock_guard lock(mutex_);
  action_ = Label(action);
  action_since_ = now;
  says_waiting_ = waiting;
  says_waiting_for_ = waiting_for;
}

void ProgressBoard::begin_wait(const Label& label, const std::atomic<int>& peer) {
  const Seconds now = steady_now();
  const std::lock_guard lock(mutex_);
  wait_label_ = label;
  wait_peer_ = &peer;
  wait_since_ = now;
}

void ProgressBoard::end_wait() {
  const std::lock_guard lock(mutex_);
  wait_peer_ = nullptr;
}

Heartbeat ProgressBoard::snapshot() const {
  const Seconds now = steady_now();
  const std::lock_guard lock(mutex_);
  Heartbeat beat;
  beat.action = action_;
  beat.action_seconds = action_since_.value > 0 ? (now - action_since_).value : 0.0;
  if (wait_peer_ != nullptr) {
    beat.waiting = 1;
    beat.waiting_for = wait_peer_->load(std::memory_order_relaxed);
    beat.wait_label = wait_label_;
    beat.wait_seconds = (now - wait_since_).value;
  } else if (says_waiting_) {
    beat.waiting = 1;
    beat.waiting_for = says_waiting_for_;
    beat.wait_label = action_;
    beat.wait_seconds = beat.action_seconds;
  }
  return beat;
}

}  // namespace motley
