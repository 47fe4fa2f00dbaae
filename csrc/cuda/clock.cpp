#include "motley/cuda/clock.h"

#include <chrono>
#include <utility>

namespace motley {

CudaClock::CudaClock(Stream& stream)
    : base_(stream.device(), StreamEvent::Timing::On), next_(stream.device(), StreamEvent::Timing::On) {
  stream.record(base_);
  stream.finish();
  base_time_ = {std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count()};
}

Seconds CudaClock::time_of(const StreamEvent& event) const {
  return base_time_ + event.since(base_);
}

void CudaClock::mark(Stream& stream) {
  stream.record(next_);
}

void CudaClock::wind() {
  base_time_ = time_of(next_);
  base_.swap(next_);
}

}  // namespace motley
