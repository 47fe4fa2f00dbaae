#pragma once

#include <type_traits>
#include <utility>

#include "motley/base/units.h"

namespace motley {

/// Makes a thread as slow as an emulated device of speed f in (0, 1]: work that takes c seconds of the thread's CPU
/// time takes c / f seconds of wall time, the rest slept.
///
/// What one piece of work ends too late (a sleep that overshoots, a preemption) shortens the sleeps after it, up to
/// `kMostCarried`, so that the rate is right over time. One object belongs to one thread.
class Pacer {
 public:
  /// No more lateness than this is made good later: after a long stall an emulated device must not sprint.
  static constexpr Seconds kMostCarried{0.05};

  /// Paces nothing.
  Pacer() = default;

  /// Throws InputError when `speed` is not in (0, 1].
  explicit Pacer(double speed);

  /// False for the default object and for speed 1: nothing sleeps then.
  [[nodiscard]] bool emulates() const { return speed_ < 1.0; }
  [[nodiscard]] double speed() const { return speed_; }

  /// Lateness not yet made good.
  [[nodiscard]] Seconds carried() const { return {carried_s_}; }

  /// Runs `work`, then sleeps until its emulated end. Does not sleep when `work` throws.
  template <typename Work>
  std::invoke_result_t<Work> run(Work&& work) {
    if (!emulates()) {
      return std::forward<Work>(work)();
    }
    const Start start = begin();
    if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
      std::forward<Work>(work)();
      end(start);
    } else {
      auto result = std::forward<Work>(work)();
      end(start);
      return result;
    }
  }

 private:
  struct Start {
    double wall_s;
    double cpu_s;
  };

  static Start begin();
  void end(Start start);

  double speed_ = 1.0;
  double carried_s_ = 0.0;
};

}  // namespace motley
