#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "motley/base/units.h"
#include "motley/record/trace.h"

namespace motley {

/// What one rank did in one iteration.
struct RankTimes {
  Seconds busy;      ///< in layers and updates
  Seconds waiting;   ///< for data of other ranks
  Seconds transfer;  ///< its own sends, from start to end, added up
};

/// Sends of one kind from one rank to one other in one iteration.
struct SendTimes {
  std::string kind;  ///< the action without its micro-batch: "0SEND_F"
  int to = -1;
  std::int64_t messages = 0;
  Bytes bytes;
  Seconds time;  ///< from start to end, added up
};

/// Books one rank's step: sums, and an event each where a trace is wanted. Events of one lane do not overlap.
class Timeline {
 public:
  Timeline(int rank, bool trace);

  /// Forgets the step before.
  void begin_step();

  void computed(const std::string& label, bool update, Seconds start, Seconds end);
  void waited(const std::string& label, Seconds start, Seconds end);
  void sent(const std::string& label, int to, Bytes bytes, Seconds start, Seconds end);

  [[nodiscard]] const RankTimes& times() const { return times_; }
  [[nodiscard]] const std::vector<SendTimes>& sends() const { return sends_; }
  [[nodiscard]] const std::vector<TraceEvent>& events() const { return events_; }

 private:
  int rank_;
  bool trace_;
  std::string lane_;
  RankTimes times_;
  std::vector<SendTimes> sends_;
  std::vector<TraceEvent> events_;
  std::vector<Seconds> link_free_;  // by receiver
};

}  // namespace motley
