#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "motley/plan/plan.h"

namespace motley {

/// What a plan may ask for beyond one device a stage, whole batches kept and float32 edges under 1f1b or gpipe, in one
/// list: "replicas", "recompute", "bfloat16", "int8" (wire formats), "zero-bubble", "interleaved-1f1b", "listed". The
/// planner searches a feature only where it is allowed by name (SearchOptions::allow, --allow).
[[nodiscard]] std::span<const std::string_view> features();

/// Names of the features that `plan` uses, in the order of features().
[[nodiscard]] std::vector<std::string> features_of(const Plan& plan);

}  // namespace motley
