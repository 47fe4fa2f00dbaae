#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "motley/plan/plan.h"
#include "motley/plan/profile.h"

namespace motley {

/// What is minimised.
enum class Objective {
  Iteration,   ///< time of a synchronous iteration, sums of gradients and update included
  Bottleneck,  ///< what the busiest device, link or NIC needs of an iteration: iterations overlap (asynchronous)
  Cost,        ///< USD per sample: the hourly prices of the devices used x iteration time / samples
};

[[nodiscard]] std::string name_of(Objective objective);
/// Throws InputError naming those there are.
[[nodiscard]] Objective objective_by_name(const std::string& name);

/// Where a search stands.
struct SearchProgress {
  std::int64_t expansions = 0;
  double best = 0.0;         ///< of the objective, seconds or USD per sample; infinite while there is no plan
  double lower_bound = 0.0;  ///< likewise
  Seconds elapsed;
};

struct SearchOptions {
  std::int64_t global_batch = 0;                ///< samples an iteration; must be divisible by some micro-batch size
  std::vector<std::int64_t> micro_batch_sizes;  ///< allowed sizes; empty: every profiled size that divides global_batch
  /// "1f1b", "gpipe", "zero-bubble", "interleaved-1f1b".
  std::vector<std::string> schedules = {"1f1b"};
  /// Features that the search may use as well, by the names of plan/features.h: "replicas", "recompute", "bfloat16",
  /// "int8"; a schedule's name adds it to `schedules`.
  std::vector<std::string> allow = {};
  Objective objective = Objective::Iteration;
  bool clip = true;              ///< the run clips by the model's norm (adds NORM)
  int max_stages = 0;            ///< 0: no limit
  bool use_all_devices = false;  ///< else devices may stay unused
  bool any_order = true;         ///< may use devices in any order; false: 0, 1, ... by stages and their samples
  int max_replicas = 0;          ///< of a stage; 0: no limit
  std::int64_t share_unit = 0;   ///< replicas own multiples of so many samples; 0: at most eight units a micro-batch
  int max_rounds = 2;            ///< most stages of a device under interleaved-1f1b
  int candidates = 32;           ///< most plans kept: the best and the best others simulated on the way
  std::int64_t max_expansions = 4'000'000;  ///< search budget; beyond it the gap is reported, not closed
  Seconds time_limit;                       ///< likewise; 0: none. With it the result depends on the machine's speed
  double gap = 0.0;                         ///< "exact" and "parametric" end once they have proven one of at most this
  int threads = 0;                          ///< 0: one a core. The result does not depend on it
  std::function<void(const SearchProgress&)> progress = {};  ///< called now and then by the searching thread
  const std::atomic<bool>* stop = nullptr;                   ///< set: end soon, with the best plan so far and its gap
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
  bool complete = true;  ///< ended by itself: by no budget, limit or stop, with the gap asked for
};

struct Found {
  Plan plan;                     ///< with prediction, certificate and fingerprints
  std::vector<Plan> runners_up;  ///< best first, for --explain
  SearchStatistics statistics;
};

using SearchResult = std::variant<Found, Infeasible>;

/// By name: "exact", "parametric" (big instances), "tailored" (a schedule of its own for every pipeline),
/// "brute-force"; what people do without a planner: "uniform", "parameters", "flops", "single", "greedy", "random"
/// (baselines.h); what the literature has for equal devices: "pipedream", "dapple" (homogeneous_planners.h). Throws
/// InputError naming the nearest for an unknown name.
[[nodiscard]] SearchResult find_plan(const std::string& planner, const Profile& profile, const SearchOptions& options);
[[nodiscard]] std::vector<std::string> planner_names();

}  // namespace motley
