#include "motley/partitioner/baselines.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <numeric>

#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

using Clock = std::chrono::steady_clock;

Seconds since(Clock::time_point start) {
  return {std::chrono::duration<double>(Clock::now() - start).count()};
}

void offer_all_sizes(Candidates& candidates, const Profile& profile, const SearchOptions& options,
                     std::span<const int> cuts, std::span<const int> devices) {
  const std::vector<int> warm_up = textbook_warm_up(static_cast<int>(devices.size()));
  for (const std::string& schedule : options.schedules) {
    for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
      candidates.offer(make_plan(cuts, devices, warm_up, size, options.global_batch, schedule));
    }
  }
}

SearchResult plan_in_order(const std::string& planner, const Profile& profile, const SearchOptions& options,
                           std::span<const int> cuts) {
  const auto start = Clock::now();
  Candidates candidates(profile, options);
  std::vector<int> devices(cuts.size() - 1);
  std::iota(devices.begin(), devices.end(), 0);
  offer_all_sizes(candidates, profile, options, cuts, devices);
  SearchStatistics statistics;
  statistics.solve = since(start);
  return candidates.result(planner, statistics, std::nullopt);
}

/// Minimises the largest sum over `parts` non-empty intervals of `weights`; returns parts + 1 cuts.
std::vector<int> balanced_cuts(const std::vector<std::int64_t>& weights, int parts) {
  const int count = static_cast<int>(weights.size());
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::vector<std::int64_t> prefix(weights.size() + 1, 0);
  std::partial_sum(weights.begin(), weights.end(), prefix.begin() + 1);
  // least[k][i]: smallest largest sum of the first i weights in k parts; from[k][i]: where the last part starts.
  std::vector<std::vector<std::int64_t>> least(parts + 1, std::vector<std::int64_t>(count + 1, kNone));
  std::vector<std::vector<int>> from(parts + 1, std::vector<int>(count + 1, 0));
  least[0][0] = 0;
  for (int k = 1; k <= parts; ++k) {
    for (int i = k; i <= count; ++i) {
      for (int j = k - 1; j < i; ++j) {
        if (least[k - 1][j] == kNone) continue;
        const std::int64_t largest = std::max(least[k - 1][j], prefix[i] - prefix[j]);
        if (largest < least[k][i]) {
          least[k][i] = largest;
          from[k][i] = j;
        }
      }
    }
  }
  std::vector<int> cuts(parts + 1, count);
  for (int k = parts; k > 0; --k) cuts[k - 1] = from[k][cuts[k]];
  return cuts;
}

}  // namespace

SearchResult plan_uniform(const Profile& profile, const SearchOptions& options) {
  const int stages = most_stages(profile, options);
  const int layers = static_cast<int>(profile.model.layers.size());
  std::vector<int> cuts = {0};
  for (int s = 0; s < stages; ++s) cuts.push_back(cuts.back() + layers / stages + (s < layers % stages ? 1 : 0));
  return plan_in_order("uniform", profile, options, cuts);
}

SearchResult plan_parameters(const Profile& profile, const SearchOptions& options) {
  std::vector<std::int64_t> weights;
  for (const LayerProfile& layer : profile.model.layers) weights.push_back(layer.parameters.value);
  return plan_in_order("parameters", profile, options, balanced_cuts(weights, most_stages(profile, options)));
}

SearchResult plan_single(const Profile& profile, const SearchOptions& options) {
  const auto start = Clock::now();
  Candidates candidates(profile, options);
  const std::vector<int> cuts = {0, static_cast<int>(profile.model.layers.size())};
  for (int device = 0; device < profile.cluster.size(); ++device) {
    offer_all_sizes(candidates, profile, options, cuts, std::span<const int>(&device, 1));
  }
  SearchStatistics statistics;
  statistics.solve = since(start);
  return candidates.result("single", statistics, std::nullopt);
}

}  // namespace motley
