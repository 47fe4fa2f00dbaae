#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "motley/base/units.h"
#include "motley/plan/plan.h"

namespace motley {

/// A plan beside others: what was predicted, and what runs of it took.
struct ComparedPlan {
  std::vector<std::string> planners;  ///< all that came to it, the first to be asked first
  Plan plan;
  Seconds solve;                  ///< of the first
  std::vector<Seconds> measured;  ///< iteration times, one a run; empty: not run
};

/// A planner that found nothing.
struct NoPlan {
  std::string planner;
  std::string reason;
};

struct PlanComparison {
  std::vector<ComparedPlan> plans;
  std::vector<NoPlan> failed;
  Seconds lower_bound;  ///< the least that a planner has shown for its space, so it holds for all; 0: none has
  bool emulated = false;
};

/// Kendall's tau-b of two lists of one length (Kendall 1945): 1 where they rank alike, -1 in reverse, pairs that are
/// tied in one list corrected for; 0 where a list is all ties. O(n^2).
[[nodiscard]] double kendall_tau(std::span<const double> a, std::span<const double> b);

/// The median; 0 for none.
[[nodiscard]] double median_of(std::span<const Seconds> times);

/// A table, least cost first, then what the measurements say of the predictions.
[[nodiscard]] std::string in_words(const PlanComparison& comparison);
[[nodiscard]] nlohmann::json to_json(const PlanComparison& comparison);

}  // namespace motley
