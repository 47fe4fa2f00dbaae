#pragma once

#include "motley/partitioner/search.h"

namespace motley {

/// What people do without a planner, priced by the same simulator. Micro-batch size and schedule are chosen by
/// simulation among those allowed; warm-up is the textbook's. No certificate. At most min(devices, layers, max_stages)
/// stages.

/// Equal layer counts on devices 0, 1, ...; the first stages take the remainder.
[[nodiscard]] SearchResult plan_uniform(const Profile& profile, const SearchOptions& options);

/// Cut so that the largest sum of parameter bytes of a stage is least (exact, O(L^2 p)), on devices 0, 1, ...
[[nodiscard]] SearchResult plan_parameters(const Profile& profile, const SearchOptions& options);

/// The whole model on the one device where it is fastest and fits.
[[nodiscard]] SearchResult plan_single(const Profile& profile, const SearchOptions& options);

}  // namespace motley
