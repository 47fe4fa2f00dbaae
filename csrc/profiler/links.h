#pragma once

#include <vector>

#include "motley/comm/communicator.h"
#include "motley/plan/cluster_profile.h"

namespace motley {

/// Every directed link over message sizes, one pair at a time so that pairs do not disturb each other. Collective. The
/// time of a message is that from its SEND to its arrival: a round trip with a one-byte answer, less half of the round
/// trip of one byte each way. Medians. Complete on every rank.
[[nodiscard]] std::vector<std::vector<TransferCurve>> measure_links(Communicator& communicator, int repeats);

/// Median time of the all-gather that carries clip norms (`values` doubles a rank). Collective.
[[nodiscard]] Seconds measure_norm_exchange(Communicator& communicator, std::size_t values, int repeats);

}  // namespace motley
