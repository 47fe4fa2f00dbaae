#pragma once

#include <string>

#include "motley/partitioner/search.h"

namespace motley {

/// Where the time of a found plan goes, as a plain table for a terminal: per stage its device, layers, warm-up, busy
/// time and share of the iteration, and memory; per edge its time for one micro-batch; what binds; the bound; the
/// runner-up (the best other plan simulated on the way) and how much longer it takes. Ends with a newline.
[[nodiscard]] std::string explain(const Found& found, const Profile& profile);

}  // namespace motley
