#pragma once

#include <cstdint>

#include "motley/partitioner/search.h"

namespace motley {

/// Simulates every plan of the space (space.h): the oracle of "exact". Plans beyond this many are refused.
inline constexpr std::int64_t kMostBruteForcePlans = 200'000;

/// Plans in the space, or kMostBruteForcePlans + 1 if there are more. Equal devices count apart.
[[nodiscard]] std::int64_t count_plans(const Profile& profile, const SearchOptions& options);

/// Throws InputError above kMostBruteForcePlans plans.
[[nodiscard]] SearchResult plan_brute_force(const Profile& profile, const SearchOptions& options);

}  // namespace motley
