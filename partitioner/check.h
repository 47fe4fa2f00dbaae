#pragma once

#include <string>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

/// Checks what `plan` says of itself against `profile`, without the solver: structure, fingerprints, emulated flag,
/// micro-batch counts, the predicted iteration time (1e-9 relative) and peak memory by the simulator, memory limits,
/// the certificate's own arithmetic, and that neither this plan nor any baseline's plan lies below its lower bound.
/// Also that the iteration time is not below what the devices need for the work alone. Returns every disagreement;
/// empty: none. What a hand-written plan leaves out is not missed. A bound that is too high is found only where some
/// known plan lies below it.
[[nodiscard]] std::vector<std::string> check(const Plan& plan, const Profile& profile, const SearchOptions& options);

}  // namespace motley
