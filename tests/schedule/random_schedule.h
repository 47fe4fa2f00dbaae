#pragma once

#include <cstdint>

#include "motley/schedule/schedule.h"
#include "motley/schedule/simulate.h"

namespace motley {

/// A compute schedule that can run: every step of every (stage, micro-batch) in a random order that respects data and
/// micro-batch order; 1 to 4 ranks, 1 to 5 stages placed at random, 1 to 5 micro-batches, B fused or apart by stage.
[[nodiscard]] Schedule random_schedule(std::uint64_t seed);

/// Costs for it: every time and size random, some links slow, latency and rate by direction.
[[nodiscard]] PipelineCosts random_costs(std::uint64_t seed, const Schedule& schedule);

}  // namespace motley
