#include "motley/comm/work.h"

#include "motley/comm/detail/work_state.h"

namespace motley {

bool Work::done() const {
  return !state_ || state_->settled() != WorkState::Status::Pending;
}

void Work::wait() {
  if (state_) state_->wait();
}

Seconds Work::started() const {
  return state_ && done() ? state_->started : Seconds{};
}

Seconds Work::finished() const {
  return state_ && done() ? state_->finished : Seconds{};
}

}  // namespace motley
