#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "motley/base/units.h"
#include "motley/device/device.h"
#include "motley/record/trace.h"

namespace motley {

/// What one rank did in one iteration.
struct RankTimes {
  Seconds busy;      ///< in layers and updates
  Seconds waiting;   ///< for data of other ranks
  Seconds transfer;  ///< messages whose time on the link it saw, added up: what it received or, see Work, what it sent
};

/// Messages of one kind over one link in one iteration, as the end saw them that could tell their time.
struct LinkTimes {
  std::string kind;  ///< the SEND without its micro-batch: "0SEND_F"
  int from = -1;
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
  /// Of a message whose SEND is `label`.
  void crossed(const std::string& label, int from, int to, Bytes bytes, Seconds start, Seconds end);

  /// Whether resolve() may be called.
  [[nodiscard]] bool is_passed(ComputeDevice& device) const;
  /// To be called when the device has passed all stamps; forgets them there.
  void resolve(ComputeDevice& device);

  [[nodiscard]] const RankTimes& times() const { return times_; }
  [[nodiscard]] const std::vector<LinkTimes>& links() const { return links_; }
  [[nodiscard]] int rank() const { return rank_; }
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
  std::vector<LinkTimes> links_;
  std::vector<TraceEvent> events_;
  std::vector<Span> spans_;                         // not resolved
  std::map<std::pair<int, int>, Seconds> free_at_;  // links, by sender and receiver
};

}  // namespace motley
