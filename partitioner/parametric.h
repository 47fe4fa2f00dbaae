#pragma once

#include "motley/partitioner/search.h"

namespace motley {

/// For instances that "exact" cannot enumerate: up to thousands of layers and devices, 1F1B, one device a stage.
///
/// A parametric search on the period of the pipeline, for every micro-batch size:
///  1. greedy chains of stages over natural orders of the blocks give a first plan (parametric/chain.h);
///  2. prices give a lower bound for the whole plan space, and the depths at which they would have the blocks
///     (parametric/prices.h);
///  3. orders of blocks are improved by local search from below, on two threads (parametric/block_order.h);
///  4. the best plans are replayed micro-batch by micro-batch (replay.h): their cost is the simulator's;
///  5. where that leaves a gap, chains of stages give a better lower bound and better plans (parametric/chain_bound.h);
///     of up to 256 devices, with no gap asked for, step 3 is left an eighth of its probes in their favour;
///  6. of few devices the exact search looks at what is left between bound and best plan (exact.h).
/// Sizes whose bound is no better than the best plan are not searched.
///
/// The certificate holds for the space of space.h and carries the prices, so that check() can prove its proven_bound
/// again without the search; what step 6 adds is the search's word. Deterministic. With options.gap it starts from
/// periods that such a gap allows, and ends once one is proven; the budget is options.max_expansions chains, by default
/// so many as take about a second, and each step has as many times more as that is more than its default. A time limit
/// or a stop ends it with the best plan so far, once there are bounds (2). O(devices^2 + chains * (devices + layers))
/// time and O(devices^2) memory, step 5 aside. Throws InputError for options that it has no search for: a fixed order
/// of devices, all devices used, GPipe.
[[nodiscard]] SearchResult plan_parametric(const Profile& profile, const SearchOptions& options);

}  // namespace motley
