#pragma once

#include <map>
#include <string>
#include <vector>

#include "motley/schedule/costs.h"
#include "motley/schedule/schedule.h"

namespace motley {

/// The rules of lowering.h, simulate.h and nic_sharing.h played out moment by moment: at every moment all that can
/// start does, then time goes on to the next end of something. No order of events, no formula for memory, nothing
/// shared with the simulator. O(moments x (ranks + channels + messages under way)).
struct ReferenceReplay {
  struct Span {
    double start_s = 0.0;
    double end_s = 0.0;
  };
  double iteration_s = 0.0;
  std::map<std::string, Span> spans;  ///< by "rank: action": computes, updates, encodings, sums and transfers
  std::vector<double> busy_s;         ///< per rank
  std::vector<std::int64_t> peak_memory;
  std::vector<int> peak_in_flight;
  bool slowed = false;  ///< some message was slowed down by a NIC
};

[[nodiscard]] ReferenceReplay replay_by_moments(const Schedule& lowered, const PipelineCosts& costs);

/// Max-min fair rates by raising all at the same pace until something is full. `wants`: what each flow takes at most;
/// `ports[p]`: the flows through port p; `limits[p]`: 0 for none.
[[nodiscard]] std::vector<double> fair_rates(const std::vector<double>& wants,
                                             const std::vector<std::vector<int>>& ports,
                                             const std::vector<double>& limits);

}  // namespace motley
