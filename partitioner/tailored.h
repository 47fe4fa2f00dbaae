#pragma once

#include "motley/partitioner/search.h"

namespace motley {

/// Pipelines of one device a stage under schedules made for them: planner "tailored".
///
/// The plan of "exact" under 1F1B, GPipe and zero-bubble is the plan to beat, at first by an eighth of the budget. Of
/// the pipelines that some order of passes might run faster (free_order.h), the kTailored with the least bounds get a
/// schedule each (schedule/tailor.h), and the best kPolished of these a longer local search. The certificate's bound
/// holds for every order of passes of every such pipeline, and for the one-stage plans; the gap is what the schedules
/// and the bound leave open. Where that is more than 0.1 % and than options.gap, "exact" has the whole budget to beat
/// these plans. Under the objective Iteration alone; features that options.allow names, schedules apart, are not used.
/// Uses options.threads; the result does not depend on them.
[[nodiscard]] SearchResult plan_tailored(const Profile& profile, const SearchOptions& options);

/// Its plan space in words, for certificates.
[[nodiscard]] std::string describe_tailored_space(const Profile& profile, const SearchOptions& options);

inline constexpr std::size_t kTailored = 96;
inline constexpr std::size_t kPolished = 6;

}  // namespace motley
