#pragma once

#include <cstdint>

#include "motley/schedule/lowering.h"
#include "motley/schedule/schedule.h"
#include "motley/schedule/simulate.h"

namespace motley {

/// A compute schedule that can run: every step of every (stage, micro-batch) in a random order that respects data and
/// micro-batch order; 1 to 4 ranks, 1 to 5 stages placed at random, 1 to 5 micro-batches, B fused or apart by stage.
[[nodiscard]] Schedule random_schedule(std::uint64_t seed);

struct ReplicatedSchedule {
  Schedule compute;
  Shares shares;
};

/// random_schedule with each of its ranks become 1 to 3, which share micro-batches of 12 samples unevenly, and stages
/// that recompute.
[[nodiscard]] ReplicatedSchedule random_replicated_schedule(std::uint64_t seed);

/// Costs for it: every time and size random, some links slow, latency and rate by direction.
[[nodiscard]] PipelineCosts random_costs(std::uint64_t seed, const Schedule& schedule);

/// random_costs, other ones for every replica, time to sum gradients, messages of some samples; in two of three codecs
/// on some edges; with `nics` hosts of one to three ranks whose NICs are slower than some links.
[[nodiscard]] PipelineCosts random_replicated_costs(std::uint64_t seed, const ReplicatedSchedule& schedule, bool nics);

}  // namespace motley
