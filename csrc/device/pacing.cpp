#include "motley/device/pacing.h"

#include <cerrno>
#include <cmath>
#include <ctime>

#include <algorithm>

#include "motley/base/error.h"
#include "motley/base/thread_time.h"

namespace motley {
namespace {

double now_s() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

void sleep_until(double wall_s) {
  const double whole_s = std::floor(wall_s);
  const timespec until{static_cast<time_t>(whole_s), static_cast<long>((wall_s - whole_s) * 1e9)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

}  // namespace

Pacer::Pacer(double speed) : speed_(speed) {
  if (!(speed > 0.0 && speed <= 1.0)) {
    throw InputError::of("device speed: found {}, expected a number over 0 and at most 1", speed);
  }
}

Pacer::Start Pacer::begin() {
  return {now_s(), thread_time().value};
}

void Pacer::end(Start start) {
  const double cpu_s = thread_time().value - start.cpu_s;
  const double due_s = start.wall_s + cpu_s / speed_ - carried_s_;
  if (now_s() < due_s) {
    sleep_until(due_s);
  }
  carried_s_ = std::clamp(now_s() - due_s, 0.0, kMostCarried.value);
}

}  // namespace motley
