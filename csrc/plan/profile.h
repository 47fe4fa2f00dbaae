#pragma once

#include <string>

#include "motley/plan/cluster_profile.h"
#include "motley/plan/model_profile.h"
#include "motley/plan/plan.h"

namespace motley {

/// What the profiler leaves and the planner reads: profile.json.
struct Profile {
  ModelProfile model;
  ClusterProfile cluster;
};

/// Throws InputError naming `source` and the field: missing device tables, times that are not finite and positive,
/// tables of the wrong length, duplicate devices, hosts without devices, a link matrix that is not square.
void validate(const Profile& profile, const std::string& source);

/// Throws InputError naming `source`, stage and device unless both ends of every edge have its wire format. `plan` is
/// valid for as many devices.
void check_wires(const Plan& plan, const Profile& profile, const std::string& source);

/// 128-bit XXH3 of the model's identity (names, bytes, boundaries; no times), as 32 hex digits.
[[nodiscard]] std::string model_fingerprint(const ModelProfile& model);
/// 128-bit XXH3 of everything in the profile.
[[nodiscard]] std::string fingerprint(const Profile& profile);

}  // namespace motley
