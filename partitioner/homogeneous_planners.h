#pragma once

#include "motley/partitioner/search.h"

namespace motley {

/// Planners of the literature for devices and links that are all alike. They see the mean device and the mean link of
/// the profile, give devices to stages in the order 0, 1, ..., replicate where options allow "replicas" (with equal
/// shares), and do not look at memory. Their plans are then priced by the simulator like all others, micro-batch size
/// and schedule chosen among those allowed; warm-up is the textbook's. No certificate.

/// PipeDream's dynamic programme (Narayanan et al., SOSP 2019, section 3.1): the slowest of stages and messages is made
/// least, a stage with r replicas taking 1/r of its layers' time or the sum of its gradients, if that is longer. All
/// devices are used where layers and shares allow it. O(L^2 D R) a size, for R ways to replicate a stage.
[[nodiscard]] SearchResult plan_pipedream(const Profile& profile, const SearchOptions& options);

/// DAPPLE's planner (Fan et al., PPoPP 2021, section 4): stages are split off from the end; of every way to give the
/// last layers to so many devices the one is kept whose iteration takes least by the paper's formula, with warm-up,
/// steady phase of the pivot stage and ending, the layers before taken as one stage on the devices left. O(L^2 D R p)
/// a size, for p stages.
[[nodiscard]] SearchResult plan_dapple(const Profile& profile, const SearchOptions& options);

}  // namespace motley
