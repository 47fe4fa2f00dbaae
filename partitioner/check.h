#pragma once

#include <string>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

struct Checked {
  std::vector<std::string> problems;  ///< every disagreement; empty: none
  /// No plan of the space takes less: shown here, without the search. In the unit of the certificate's lower bound.
  Seconds proven_bound;
  std::string how;  ///< in words
};

/// Checks what `plan` says of itself against `profile`, without the solver: structure, fingerprints, emulated flag,
/// micro-batch counts, the prediction (1e-9 relative; peak memory to the byte) by the simulator, memory limits,
/// the certificate's arithmetic and space, and its bound: by enumeration where the space has at most kMostEnumerated
/// plans, else by the certificate's prices (check_bound.h), or where there are none by a dynamic programme over the
/// devices used (check_pipelines.h), else by the work alone, which some device must do. What none of them shows is the
/// search's word, and `how` says so; it still must not lie above this plan, any baseline's or any enumerated one. What
/// a hand-written plan leaves out is not missed.
[[nodiscard]] Checked check_plan(const Plan& plan, const Profile& profile, const SearchOptions& options);
/// The problems alone.
[[nodiscard]] std::vector<std::string> check(const Plan& plan, const Profile& profile, const SearchOptions& options);

/// What the plan's certificate says the search was asked; without one the space of this plan's micro-batches.
[[nodiscard]] SearchOptions space_of(const Plan& plan);

inline constexpr std::int64_t kMostEnumerated = 20'000;

}  // namespace motley
