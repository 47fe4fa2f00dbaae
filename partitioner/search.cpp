#include "motley/partitioner/search.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "motley/base/error.h"
#include "motley/base/nearest.h"
#include "motley/partitioner/baselines.h"
#include "motley/partitioner/brute_force.h"
#include "motley/partitioner/exact.h"
#include "motley/partitioner/homogeneous_planners.h"
#include "motley/partitioner/parametric.h"
#include "motley/partitioner/space.h"
#include "motley/partitioner/tailored.h"
#include "motley/plan/transports.h"

namespace motley {
namespace {

struct Planner {
  const char* name;
  SearchResult (*plan)(const Profile&, const SearchOptions&);
  bool chooses_schedules = false;  ///< else: one stage a device, under the textbook's schedules for that
};

constexpr Planner kPlanners[] = {{"exact", plan_exact, true},       {"parametric", plan_parametric, true},
                                 {"tailored", plan_tailored, true}, {"uniform", plan_uniform},
                                 {"parameters", plan_parameters},   {"flops", plan_flops},
                                 {"single", plan_single},           {"greedy", plan_greedy},
                                 {"random", plan_random},           {"pipedream", plan_pipedream},
                                 {"dapple", plan_dapple},           {"brute-force", plan_brute_force, true}};

/// Every planner gives any edge any of the formats.
void check_allowed_wires(const Profile& profile, const SearchOptions& options) {
  for (const std::string& wire : allowed(options).wires) {
    for (const Device& device : profile.cluster.devices) {
      if (!profile.model.device(device.type).can_encode(wire)) {
        throw InputError::of(
            "allow: found \"{}\", expected wire formats that every device has: {}, of type {}, lacks it", wire,
            device.name, device.type);
      }
    }
  }
}

}  // namespace

std::string name_of(Objective objective) {
  return objective == Objective::Iteration ? "iteration" : objective == Objective::Bottleneck ? "bottleneck" : "cost";
}

Objective objective_by_name(const std::string& name) {
  std::vector<std::string> names;
  for (const Objective objective : {Objective::Iteration, Objective::Bottleneck, Objective::Cost}) {
    if (name == name_of(objective)) return objective;
    names.push_back(name_of(objective));
  }
  throw InputError::of("objective: found \"{}\", expected {}", name, one_of(name, names));
}

SearchResult find_plan(const std::string& planner, const Profile& profile, const SearchOptions& options) {
  for (const Planner& known : kPlanners) {
    if (planner != known.name) continue;
    check_options(options);
    validate(profile, "profile");
    check_allowed_wires(profile, options);
    const auto& devices = profile.cluster.devices;
    if (options.objective == Objective::Cost &&
        std::all_of(devices.begin(), devices.end(), [](const Device& device) { return device.usd_per_hour == 0.0; })) {
      throw InputError("objective: cost found, but no device of the profile has usd_per_hour");
    }
    if (!known.chooses_schedules && one_stage_schedules(options).empty()) {
      throw InputError::of(
          "schedules: {} found, but planner {} gives a device one stage: 1f1b, gpipe or zero-bubble expected",
          fmt::join(options.schedules, ", "), planner);
    }
    SearchResult result = known.plan(profile, options);
    auto* const found = std::get_if<Found>(&result);
    if (found != nullptr) choose_transports(found->plan, profile.cluster);
    if (found != nullptr && found->plan.certificate && found->plan.certificate->asked.global_batch == 0) {
      found->plan.certificate->asked = asked_space(options);
    }
    return result;
  }
  const std::vector<std::string> names = planner_names();
  throw InputError::of("planner: found \"{}\", expected {}", planner, one_of(planner, names));
}

std::vector<std::string> planner_names() {
  std::vector<std::string> names;
  for (const Planner& planner : kPlanners) names.emplace_back(planner.name);
  return names;
}

}  // namespace motley
