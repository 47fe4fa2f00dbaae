#include "motley/partitioner/brute_force.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "motley/base/error.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

/// Calls `visit(cuts)` for every way to cut `layers` layers into `stages` intervals, until it returns false.
bool for_each_cut(int layers, int stages, std::vector<int>& cuts, const std::function<bool()>& visit) {
  if (static_cast<int>(cuts.size()) == stages) {
    cuts.push_back(layers);
    const bool go_on = visit();
    cuts.pop_back();
    return go_on;
  }
  const int left = stages - static_cast<int>(cuts.size());
  for (int cut = cuts.back() + 1; cut <= layers - left; ++cut) {
    cuts.push_back(cut);
    const bool go_on = for_each_cut(layers, stages, cuts, visit);
    cuts.pop_back();
    if (!go_on) return false;
  }
  return true;
}

/// Calls `visit()` for every sequence of `stages` distinct devices, or only 0, 1, ... if not `any_order`.
bool for_each_order(int devices, int stages, bool any_order, std::vector<int>& order,
                    const std::function<bool()>& visit) {
  if (static_cast<int>(order.size()) == stages) return visit();
  for (int device = 0; device < devices; ++device) {
    if (!any_order && device != static_cast<int>(order.size())) continue;
    if (std::find(order.begin(), order.end(), device) != order.end()) continue;
    order.push_back(device);
    const bool go_on = for_each_order(devices, stages, any_order, order, visit);
    order.pop_back();
    if (!go_on) return false;
  }
  return true;
}

bool for_each_plan(const Profile& profile, const SearchOptions& options, const std::function<bool(Plan)>& visit) {
  const int layers = static_cast<int>(profile.model.layers.size());
  const int most = most_stages(profile, options);
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    for (const std::string& schedule : options.schedules) {
      for (int stages = fewest_stages(profile, options); stages <= most; ++stages) {
        const auto depths = warm_ups(schedule, stages, options.global_batch / size);
        std::vector<int> cuts = {0};
        std::vector<int> order;
        const bool go_on = for_each_cut(layers, stages, cuts, [&] {
          return for_each_order(profile.cluster.size(), stages, options.any_order, order, [&] {
            for (const std::vector<int>& warm_up : depths) {
              if (!visit(make_plan(cuts, order, warm_up, size, options.global_batch, schedule))) return false;
            }
            return true;
          });
        });
        if (!go_on) return false;
      }
    }
  }
  return true;
}

}  // namespace

std::int64_t count_plans(const Profile& profile, const SearchOptions& options) {
  std::int64_t count = 0;
  for_each_plan(profile, options, [&](const Plan&) { return ++count <= kMostBruteForcePlans; });
  return count;
}

SearchResult plan_brute_force(const Profile& profile, const SearchOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (count_plans(profile, options) > kMostBruteForcePlans) {
    throw InputError::of("planner brute-force: more than {} plans found, at most that many expected; use exact",
                         kMostBruteForcePlans);
  }
  Candidates candidates(profile, options);
  for_each_plan(profile, options, [&](Plan plan) {
    candidates.offer(std::move(plan));
    return true;
  });
  SearchStatistics statistics;
  statistics.expansions = candidates.simulated();
  statistics.solve = {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
  return candidates.result("brute-force", statistics,
                           Certificate{{candidates.best()}, 0.0, describe_space(profile, options)});
}

}  // namespace motley
