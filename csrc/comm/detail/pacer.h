#pragma once

#include <algorithm>

#include "motley/base/units.h"

namespace motley {

/// An emulated directed link, at its sender: hands out the times in which messages occupy it, in order of asking.
class Pacer {
 public:
  struct Slot {
    Seconds begin{};
    Seconds end{};
  };

  Pacer(BytesPerSecond rate, Seconds latency) : rate_(rate), latency_(latency) {}

  Slot reserve(Seconds posted, Bytes size) {
    const Seconds begin = std::max(posted, free_);
    free_ = begin + latency_ + (rate_.value > 0 ? size / rate_ : Seconds{});
    return {begin, free_};
  }

 private:
  BytesPerSecond rate_;
  Seconds latency_;
  Seconds free_{};
};

}  // namespace motley
