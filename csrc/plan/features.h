#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "motley/plan/plan.h"

namespace motley {

/// What a plan may ask for beyond one device a stage, whole batches kept and float32 edges under 1f1b or gpipe.
struct Feature {
  std::string_view name;
  bool runnable;  ///< whether the runtime executes it
};

/// The one list of what the runtime can execute: "replicas", "recompute", "bfloat16", "int8" (wire formats),
/// "zero-bubble", "interleaved-1f1b", "listed". The planner searches a feature only where it is allowed by name
/// (SearchOptions::allow, --allow).
[[nodiscard]] std::span<const Feature> features();

/// Names of the features that `plan` uses, in the order of features().
[[nodiscard]] std::vector<std::string> features_of(const Plan& plan);

/// Throws InputError naming `source`, where the plan asks for it and the feature, if the runtime cannot execute `plan`.
void expect_runnable(const Plan& plan, const std::string& source);

}  // namespace motley
