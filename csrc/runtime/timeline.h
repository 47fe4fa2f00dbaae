#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "motley/base/units.h"
#include "motley/device/device.h"
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
///
/// What is computed and waited for is booked by stamps of the device, whose times are known when the device has passed
/// them: resolve() takes them over. Labels must live until then.
class Timeline {
 public:
  Timeline(int rank, bool trace);

  /// Forgets the step before, but for what is not resolved: that counts in this one.
  void begin_step();

  void computed(const std::string& label, bool update, ComputeDevice::Stamp start, ComputeDevice::Stamp end);
  void waited(const std::string& label, ComputeDevice::Stamp start, ComputeDevice::Stamp end);
  /// Of the host, whose time is known.
  void waited(const std::string& label, Seconds start, Seconds end);
  void sent(const std::string& label, int to, Bytes bytes, Seconds start, Seconds end);

  /// Whether resolve() may be called.
  [[nodiscard]] bool is_passed(ComputeDevice& device) const;
  /// To be called when the device has passed all stamps; forgets them there.
  void resolve(ComputeDevice& device);

  [[nodiscard]] const RankTimes& times() const { return times_; }
  [[nodiscard]] const std::vector<SendTimes>& sends() const { return sends_; }
  [[nodiscard]] const std::vector<TraceEvent>& events() const { return events_; }

 private:
  enum class Kind { Compute, Update, Wait };
  struct Span {
    Kind kind;
    const std::string* label;
    ComputeDevice::Stamp start;
    ComputeDevice::Stamp end;
    std::size_t event;  // its place among events_, where there is a trace
  };
  void add(Kind kind, const std::string& label, ComputeDevice::Stamp start, ComputeDevice::Stamp end);
  [[nodiscard]] TraceEvent event_of(Kind kind, const std::string& label, Seconds start, Seconds end) const;

  int rank_;
  bool trace_;
  std::string lane_;
  RankTimes times_;
  std::vector<SendTimes> sends_;
  std::vector<TraceEvent> events_;
  std::vector<Span> spans_;         // not resolved
  std::vector<Seconds> link_free_;  // by receiver
};

}  // namespace motley
