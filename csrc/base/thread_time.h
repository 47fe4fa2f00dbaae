#pragma once

#include <time.h>

#include "motley/base/units.h"

namespace motley {

/// Processor time of the calling thread.
[[nodiscard]] inline Seconds thread_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return {static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9};
}

}  // namespace motley
