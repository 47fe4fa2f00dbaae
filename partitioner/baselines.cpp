#include "motley/partitioner/baselines.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <utility>

#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

using Clock = std::chrono::steady_clock;

Seconds since(Clock::time_point start) {
  return {std::chrono::duration<double>(Clock::now() - start).count()};
}

void offer_all_schedules(Candidates& candidates, const SearchOptions& options, std::int64_t size,
                         std::span<const int> cuts, std::span<const int> devices) {
  const std::vector<int> warm_up = textbook_warm_up(static_cast<int>(devices.size()));
  for (const std::string& schedule : one_stage_schedules(options)) {
    candidates.offer(make_plan(cuts, devices, warm_up, size, options.global_batch, schedule));
  }
}

void offer_all_sizes(Candidates& candidates, const Profile& profile, const SearchOptions& options,
                     std::span<const int> cuts, std::span<const int> devices) {
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    offer_all_schedules(candidates, options, size, cuts, devices);
  }
}

SearchResult result_of(const std::string& planner, const Candidates& candidates, Clock::time_point start) {
  SearchStatistics statistics;
  statistics.solve = since(start);
  return candidates.result(planner, statistics, std::nullopt);
}

/// Seconds of forward and backward of every layer on `device`, at work with the others.
std::vector<double> works_on(const Profile& profile, int device, std::int64_t size) {
  const DeviceTable& table = profile.model.device(profile.cluster.devices[device].type);
  std::vector<double> works;
  for (const LayerTimes& times : table.busy.by_size[profile.model.size_index(size)]) {
    works.push_back((times.forward + times.backward).value);
  }
  return works;
}

SearchResult plan_in_order(const std::string& planner, const Profile& profile, const SearchOptions& options,
                           std::span<const int> cuts) {
  const auto start = Clock::now();
  Candidates candidates(profile, options);
  std::vector<int> devices(cuts.size() - 1);
  std::iota(devices.begin(), devices.end(), 0);
  offer_all_sizes(candidates, profile, options, cuts, devices);
  return result_of(planner, candidates, start);
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
  return result_of("single", candidates, start);
}

SearchResult plan_flops(const Profile& profile, const SearchOptions& options) {
  const auto start = Clock::now();
  Candidates candidates(profile, options);
  std::vector<int> devices(most_stages(profile, options));
  std::iota(devices.begin(), devices.end(), 0);
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    std::vector<std::int64_t> weights;
    for (const double work : works_on(profile, 0, size)) weights.push_back(std::llround(work * 1e9));
    offer_all_schedules(candidates, options, size, balanced_cuts(weights, static_cast<int>(devices.size())), devices);
  }
  return result_of("flops", candidates, start);
}

SearchResult plan_greedy(const Profile& profile, const SearchOptions& options) {
  const auto start = Clock::now();
  Candidates candidates(profile, options);
  const int stages = most_stages(profile, options);
  const int layers = static_cast<int>(profile.model.layers.size());
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    std::vector<double> speeds;
    for (int device = 0; device < profile.cluster.size(); ++device) {
      const std::vector<double> works = works_on(profile, device, size);
      speeds.push_back(1.0 / std::reduce(works.begin(), works.end()));
    }
    std::vector<int> devices(profile.cluster.size());
    std::iota(devices.begin(), devices.end(), 0);
    std::stable_sort(devices.begin(), devices.end(), [&](int a, int b) { return speeds[a] > speeds[b]; });
    devices.resize(stages);
    const double all = std::transform_reduce(devices.begin(), devices.end(), 0.0, std::plus<>(),
                                             [&](int device) { return speeds[device]; });
    const std::vector<double> works = works_on(profile, devices.front(), size);
    const double whole = std::reduce(works.begin(), works.end());
    if (!options.any_order) std::sort(devices.begin(), devices.end());
    std::vector<int> cuts = {0};
    double done = 0.0;    // work of layers before the cut
    double wanted = 0.0;  // of the devices so far
    for (int s = 0; s + 1 < stages; ++s) {
      wanted += whole * speeds[devices[s]] / all;
      int cut = cuts.back() + 1;
      done += works[cut - 1];
      while (cut < layers - (stages - 1 - s) && done + works[cut] / 2 <= wanted) done += works[cut++];
      cuts.push_back(cut);
    }
    cuts.push_back(layers);
    offer_all_schedules(candidates, options, size, cuts, devices);
  }
  return result_of("greedy", candidates, start);
}

SearchResult plan_random(const Profile& profile, const SearchOptions& options) {
  const auto start = Clock::now();
  Candidates candidates(profile, options);
  std::mt19937_64 engine(1);
  const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(engine() % limit); };
  const std::vector<std::int64_t> sizes = micro_batch_sizes(profile.model, options);
  const std::vector<std::string> schedules = one_stage_schedules(options);
  const int most = most_stages(profile, options);
  const int least = options.use_all_devices ? most : 1;
  std::vector<int> inner_cuts(profile.model.layers.size() - 1);
  std::iota(inner_cuts.begin(), inner_cuts.end(), 1);
  std::vector<int> all_devices(profile.cluster.size());
  std::iota(all_devices.begin(), all_devices.end(), 0);
  const auto shuffle = [&](std::vector<int>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  };
  for (int plan = 0; plan < kRandomPlans; ++plan) {
    const int stages = least + static_cast<int>(below(static_cast<std::size_t>(most - least) + 1));
    shuffle(inner_cuts);
    shuffle(all_devices);
    std::vector<int> cuts(inner_cuts.begin(), inner_cuts.begin() + stages - 1);
    cuts.push_back(0);
    cuts.push_back(static_cast<int>(profile.model.layers.size()));
    std::sort(cuts.begin(), cuts.end());
    std::vector<int> devices(all_devices.begin(), all_devices.begin() + stages);
    if (!options.any_order) std::sort(devices.begin(), devices.end());
    candidates.offer(make_plan(cuts, devices, textbook_warm_up(stages), sizes[below(sizes.size())],
                               options.global_batch, schedules[below(schedules.size())]));
  }
  return result_of("random", candidates, start);
}

}  // namespace motley
