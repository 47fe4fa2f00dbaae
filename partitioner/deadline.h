#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>

#include "motley/base/units.h"

namespace motley {

/// When to end, beside by itself: any thread may ask.
class Deadline {
 public:
  Deadline(Seconds limit, const std::atomic<bool>* stop)
      : start_(Clock::now()),
        limit_s_(limit.value > 0.0 ? limit.value : std::numeric_limits<double>::infinity()),
        stop_(stop) {}

  [[nodiscard]] bool has_passed() const {
    return (stop_ != nullptr && stop_->load(std::memory_order_relaxed)) || elapsed().value >= limit_s_;
  }
  /// For a search within this one: what is left of the limit, a moment where that is nothing; 0 without a limit.
  [[nodiscard]] Seconds left() const {
    constexpr double kMoment = 1e-6;
    return {limit_s_ == std::numeric_limits<double>::infinity() ? 0.0 : std::max(limit_s_ - elapsed().value, kMoment)};
  }
  [[nodiscard]] Seconds elapsed() const { return {std::chrono::duration<double>(Clock::now() - start_).count()}; }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_;
  double limit_s_;
  const std::atomic<bool>* stop_;
};

}  // namespace motley
