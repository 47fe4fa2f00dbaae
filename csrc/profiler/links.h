#pragma once

#include <vector>

#include "motley/comm/communicator.h"
#include "motley/plan/cluster_profile.h"

namespace motley {

/// Every directed link over message sizes, one pair at a time so that pairs do not disturb each other. Collective. The
/// time of a message is that from its SEND to its arrival: a round trip with a one-byte answer, less half of the round
/// trip of one byte each way. Medians. Complete on every rank.
[[nodiscard]] std::vector<std::vector<TransferCurve>> measure_links(Communicator& communicator, int repeats);

/// Sums over the groups of `groups` (world ranks, ascending), one group at a time, over the bytes a member has.
/// Collective over the world. Medians, the slowest member's. Complete on every rank.
[[nodiscard]] std::vector<AllReduce> measure_all_reduce(Communicator& communicator,
                                                        const std::vector<std::vector<int>>& groups, int repeats);

/// Median time of the all-gather that carries clip norms (`values` doubles a rank). Collective.
[[nodiscard]] Seconds measure_norm_exchange(Communicator& communicator, std::size_t values, int repeats);

}  // namespace motley
