#pragma once

#include <string>

#include "motley/partitioner/search.h"

namespace motley {

/// Where the time of a found plan goes, as a plain table for a terminal: per stage its device, layers, warm-up, busy
/// time and share of the iteration, and memory; per edge its time for one micro-batch; what binds; the bound; the
/// runner-up (the best other plan simulated on the way), how much longer it takes and what it waits for. Ends with a
/// newline.
[[nodiscard]] std::string explain(const Found& found, const Profile& profile);

/// What one more GB for each of the kMostAsked stages whose memory is fullest (above 80 %), and twice the speed of each
/// of the kMostAsked slowest edges, forward and back, would be worth: `planner` asked again with each changed alone.
/// Ends with a newline; "" for a plan of one stage whose memory is not full.
[[nodiscard]] std::string explain_worth(const std::string& planner, const Found& found, const Profile& profile,
                                        const SearchOptions& options);
inline constexpr std::size_t kMostAsked = 2;

}  // namespace motley
