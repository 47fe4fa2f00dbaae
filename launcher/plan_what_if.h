#pragma once

#include <string>
#include <vector>

#include "motley/partitioner/search.h"

namespace motley {

/// Plans `profile` as it is and with each of `changes` (partitioner/what_if.h) alone, and prints what each would be
/// worth, as a table or as one JSON object. Returns the exit code.
int plan_what_if(const std::string& planner, const Profile& profile, const SearchOptions& options,
                 const std::vector<std::string>& changes, bool as_json);

/// Plans every composition of the cluster and prints time and price of each, with a * for those that no other one beats
/// in both, as a table or as one JSON object. Returns the exit code.
int plan_sweep(const std::string& planner, const Profile& profile, const SearchOptions& options, bool as_json);

}  // namespace motley
