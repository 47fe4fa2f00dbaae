#pragma once

#include <chrono>

#include "motley/base/units.h"

namespace motley {

using SteadyClock = std::chrono::steady_clock;

/// Seconds of the host's steady clock.
inline Seconds steady_now() {
  return {std::chrono::duration<double>(SteadyClock::now().time_since_epoch()).count()};
}

inline SteadyClock::duration to_duration(Seconds time) {
  return std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(time.value));
}

inline SteadyClock::time_point to_time_point(Seconds time) {
  return SteadyClock::time_point(to_duration(time));
}

}  // namespace motley
