#include "motley/launcher/simulated_events.h"

#include <fmt/format.h>

namespace motley {

std::vector<TraceEvent> simulated_events(const Simulation& simulation, Seconds start) {
  std::vector<TraceEvent> events;
  for (const Event& event : simulation.events) {
    const bool transfer = event.to >= 0;
    events.push_back(
        {to_string(event.action), transfer ? "transfer" : "compute", "simulated",
         transfer ? fmt::format("rank {} to {}", event.rank, event.to) : fmt::format("rank {}", event.rank),
         start + event.start, start + event.end});
  }
  return events;
}

}  // namespace motley
