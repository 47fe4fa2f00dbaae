#include "motley/comm/detail/work_state.h"

#include <algorithm>

#include "motley/comm/comm_error.h"
#include "motley/comm/detail/clock.h"
#include "motley/comm/detail/endpoint.h"

namespace motley {

void WorkState::begin(std::string_view of, int with, MessageKind what) {
  label = Label(of);
  peer = with;
  kind = what;
  data = {};
  into = {};
  posted = steady_now();
  on_link = false;
  error.clear();
  status.store(Status::Pending, std::memory_order_release);
}

void WorkState::complete(Seconds now) {
  finished = now;
  settle(Status::Done);
}

void WorkState::fail(const std::string& reason) {
  error = reason;
  settle(Status::Failed);
}

void WorkState::settle(Status outcome) {
  {
    const std::lock_guard lock(mutex_);
    status.store(outcome, std::memory_order_release);
    changed_.notify_all();
  }
  if (on_settled) {
    const auto callback = std::move(on_settled);
    on_settled = nullptr;
    callback();
  }
}

void WorkState::wait() {
  if (settled() == Status::Pending) block();
  if (settled() == Status::Failed) throw CommError(error);
}

void WorkState::block() {
  endpoint->progress().begin_wait(label, peer);
  const Seconds begun = steady_now();
  const auto over = [this] { return settled() != Status::Pending; };
  std::unique_lock lock(mutex_);
  while (!over()) {
    const Seconds until = std::max(begun, endpoint->last_activity(peer)) + endpoint->options().deadline;
    if (changed_.wait_until(lock, to_time_point(until), over)) break;
    // Data may have moved since, or the collective may wait for another rank by now.
    if (std::max(begun, endpoint->last_activity(peer)) + endpoint->options().deadline > steady_now()) continue;
    lock.unlock();
    endpoint->end_late(shared_from_this(), steady_now() - begun);
    lock.lock();
    changed_.wait(lock, over);
  }
  lock.unlock();
  endpoint->progress().end_wait();
}

}  // namespace motley
