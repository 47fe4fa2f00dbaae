#pragma once

#include <vector>

#include "motley/record/trace.h"
#include "motley/schedule/simulate.h"

namespace motley {

/// A simulation's events as bars of a trace, process "simulated", the iteration beginning at `start`.
[[nodiscard]] std::vector<TraceEvent> simulated_events(const Simulation& simulation, Seconds start);

}  // namespace motley
