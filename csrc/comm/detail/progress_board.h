#pragma once

#include <atomic>
#include <mutex>
#include <string_view>

#include "motley/base/units.h"
#include "motley/comm/detail/label.h"
#include "motley/comm/detail/wire.h"

namespace motley {

/// What this rank does, written by its working thread and read at each heartbeat. The lock is held for a few
/// nanoseconds and contended ten times per deadline at most.
class ProgressBoard {
 public:
  void set(std::string_view action, bool waiting, int waiting_for);

  /// Around a blocking wait. `peer` may change meanwhile and must live until end_wait.
  void begin_wait(const Label& label, const std::atomic<int>& peer);
  void end_wait();

  [[nodiscard]] Heartbeat snapshot() const;

 private:
  mutable std::mutex mutex_;
  Label action_{"start-up"};
  Seconds action_since_{};
  bool says_waiting_ = false;
  int says_waiting_for_ = -1;
  const std::atomic<int>* wait_peer_ = nullptr;
  Label wait_label_;
  Seconds wait_since_{};
};

}  // namespace motley
