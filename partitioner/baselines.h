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

/// Cut so that the largest sum of layer times of a stage is least, times taken on device 0: what balancing FLOPs comes
/// to where a layer's time is known and its FLOPs are not. Devices 0, 1, ...; O(L^2 p) a size.
[[nodiscard]] SearchResult plan_flops(const Profile& profile, const SearchOptions& options);

/// Devices by speed, the fastest first, each with the part of the layers' work that its speed is of all speeds; links
/// are not looked at. O(L p) a size.
[[nodiscard]] SearchResult plan_greedy(const Profile& profile, const SearchOptions& options);

/// The best of kRandomPlans plans drawn at random, always the same ones: size, schedule, number of stages, cuts, order
/// of devices.
[[nodiscard]] SearchResult plan_random(const Profile& profile, const SearchOptions& options);
inline constexpr int kRandomPlans = 1000;

/// The whole model on the one device where it is fastest and fits.
[[nodiscard]] SearchResult plan_single(const Profile& profile, const SearchOptions& options);

}  // namespace motley
