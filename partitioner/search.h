#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "motley/plan/plan.h"
#include "motley/plan/profile.h"

namespace motley {

struct SearchOptions {
  std::int64_t global_batch = 0;                ///< samples an iteration; must be divisible by some micro-batch size
  std::vector<std::int64_t> micro_batch_sizes;  ///< allowed sizes; empty: every profiled size that divides global_batch
  std::vector<std::string> schedules = {"1f1b"};
  bool clip = true;              ///< the run clips by the model's norm (adds NORM)
  int max_stages = 0;            ///< 0: no limit
  bool use_all_devices = false;  ///< else devices may stay unused
  bool any_order = true;         ///< may place stages on devices in any order; false: stage s on device s (ascending)
  int candidates = 32;           ///< most plans kept: the best and the best others simulated on the way
  std::int64_t max_expansions = 4'000'000;  ///< search budget of "exact"; beyond it the gap is reported, not closed
};

/// "No plan fits in memory": the nearest miss and what it would take.
struct Infeasible {
  std::string reason;  ///< "stage of layers [0, 3) on rank2 lacks 12.3 MB of 64 MB"
  int device = -1;
  Bytes missing;
};

struct SearchStatistics {
  std::int64_t expansions = 0;
  std::int64_t simulated = 0;
  Seconds solve;
};

struct Found {
  Plan plan;                     ///< with prediction, certificate and fingerprints
  std::vector<Plan> runners_up;  ///< best first, for --explain
  SearchStatistics statistics;
};

using SearchResult = std::variant<Found, Infeasible>;

/// By name: "exact", "uniform" (equal layer counts, devices in given order, all of them), "parameters" (balanced
/// parameter bytes, likewise), "single" (whole model on the one fastest device), "brute-force". Throws InputError
/// naming the nearest for an unknown name.
[[nodiscard]] SearchResult find_plan(const std::string& planner, const Profile& profile, const SearchOptions& options);
[[nodiscard]] std::vector<std::string> planner_names();

}  // namespace motley
