#pragma once

#include <cstdint>
#include <optional>

#include "motley/partitioner/search.h"

namespace motley {

/// `plan` with the same stages on the same devices and micro-batches, under a schedule made for its measured times
/// (schedule/tailor.h), schedule "listed", priced like any other. Nothing when no such schedule fits in memory or it
/// is not faster than `plan`, which must be priced. `evaluations`: most schedules simulated.
[[nodiscard]] std::optional<Plan> tailored(const Plan& plan, const Profile& profile, const SearchOptions& options,
                                           std::int64_t evaluations);

}  // namespace motley
