#include "motley/partitioner/homogeneous_planners.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "motley/partitioner/price.h"
#include "motley/partitioner/space.h"

namespace motley {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kNever = std::numeric_limits<double>::infinity();

/// Layers [first, end) on `replicas` devices.
struct Part {
  int first = 0;
  int end = 0;
  int replicas = 1;
};
using Parts = std::vector<Part>;

/// How many micro-batches of `size` samples a global batch holds; the remainder is dropped.
double micro_batches_in(std::int64_t global_batch, std::int64_t size) {
  const std::int64_t count = global_batch / size;
  return static_cast<double>(count);
}

/// The profile as a cluster of equal devices and links, for micro-batches of one size. Seconds.
class MeanCluster {
 public:
  MeanCluster(const Profile& profile, const SearchOptions& options, std::int64_t size)
      : layers(static_cast<int>(profile.model.layers.size())),
        micro_batches(micro_batches_in(options.global_batch, size)),
        cluster_(profile.cluster) {
    const std::size_t index = profile.model.size_index(size);
    for (const LayerProfile& layer : profile.model.layers) {
      parameters_.push_back(parameters_.back() + static_cast<double>(layer.parameters.value));
      up_.push_back(mean_transfer(forward_bytes(layer.output, size)));
      down_.push_back(mean_transfer(backward_bytes(layer.output, size)));
    }
    for (int layer = 0; layer < layers; ++layer) {
      double forward = 0.0;
      double backward = 0.0;
      for (const Device& device : cluster_.devices) {
        const LayerTimes& times = profile.model.device(device.type).busy.by_size[index][layer];
        forward += times.forward.value / cluster_.size();
        backward += times.backward.value / cluster_.size();
      }
      forward_.push_back(forward_.back() + forward);
      backward_.push_back(backward_.back() + backward);
    }
    // Equal shares that the plan space has.
    const std::int64_t unit = allowed(options).replicas ? share_unit(options, size) : 0;
    const std::int64_t most = options.max_replicas > 0 ? options.max_replicas : cluster_.size();
    for (std::int64_t r = 1; r <= std::min<std::int64_t>(most, cluster_.size()); ++r) {
      const std::int64_t share = size / r;
      const bool possible =
          unit > 0 && size % r == 0 && share % unit == 0 && share >= profile.model.micro_batch_sizes.front();
      if (r == 1 || possible) replicas.push_back(static_cast<int>(r));
    }
    // Without replicas every device has a layer at least.
    machines = replicas.size() > 1 ? cluster_.size() : most_stages(profile, options);
    most_parts = options.max_stages > 0 ? options.max_stages : layers;
  }

  [[nodiscard]] double forward(const Part& part) const {
    return (forward_[part.end] - forward_[part.first]) / part.replicas;
  }
  [[nodiscard]] double backward(const Part& part) const {
    return (backward_[part.end] - backward_[part.first]) / part.replicas;
  }
  /// Of the messages behind layer end - 1, one micro-batch.
  [[nodiscard]] double up(int end) const { return up_[end - 1]; }
  [[nodiscard]] double down(int end) const { return down_[end - 1]; }
  /// A ring's sum of the gradients of `part`: 2 (r - 1) messages of an r-th of them.
  [[nodiscard]] double sum(const Part& part) const {
    if (part.replicas == 1) return 0.0;
    const double bytes = (parameters_[part.end] - parameters_[part.first]) / part.replicas;
    return 2 * (part.replicas - 1) * mean_transfer(Bytes{std::llround(bytes)});
  }

  const int layers;
  const double micro_batches;
  std::vector<int> replicas;  ///< ways to replicate a stage, ascending
  int machines = 1;
  int most_parts = 1;

 private:
  [[nodiscard]] double mean_transfer(Bytes bytes) const {
    if (bytes.value == 0 || cluster_.size() < 2) return 0.0;
    double sum = 0.0;
    for (int from = 0; from < cluster_.size(); ++from) {
      for (int to = 0; to < cluster_.size(); ++to) {
        if (from != to) sum += cluster_.links[from][to].time(bytes).value;
      }
    }
    return sum / (static_cast<double>(cluster_.size()) * (cluster_.size() - 1));
  }

  const ClusterProfile& cluster_;
  std::vector<double> forward_ = {0.0};
  std::vector<double> backward_ = {0.0};
  std::vector<double> parameters_ = {0.0};
  std::vector<double> up_;
  std::vector<double> down_;
};

/// least[j][m]: the slowest part of the best way to give layers [0, j) to m devices.
Parts by_pipedream(const MeanCluster& mean) {
  const int layers = mean.layers;
  const int machines = mean.machines;
  std::vector<std::vector<double>> least(layers + 1, std::vector<double>(machines + 1, kNever));
  std::vector<std::vector<Part>> last(layers + 1, std::vector<Part>(machines + 1));
  std::vector<std::vector<int>> count(layers + 1, std::vector<int>(machines + 1, 0));
  least[0][0] = 0.0;
  for (int end = 1; end <= layers; ++end) {
    for (int m = 1; m <= machines; ++m) {
      for (const int r : mean.replicas) {
        if (r > m) break;
        for (int first = 0; first < end; ++first) {
          const double before = least[first][m - r];
          if (before >= least[end][m] || count[first][m - r] == mean.most_parts) continue;
          const Part part{first, end, r};
          const double message = first == 0 ? 0.0 : mean.micro_batches * (mean.up(first) + mean.down(first));
          const double work = std::max(mean.micro_batches * (mean.forward(part) + mean.backward(part)), mean.sum(part));
          const double slowest = std::max({before, message, work});
          if (slowest < least[end][m]) {
            least[end][m] = slowest;
            last[end][m] = part;
            count[end][m] = count[first][m - r] + 1;
          }
        }
      }
    }
  }
  int m = machines;
  while (least[layers][m] == kNever) --m;  // one device can always have all layers
  Parts parts;
  for (int end = layers; end > 0; end = parts.back().first) {
    parts.push_back(last[end][m]);
    m -= parts.back().replicas;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

/// The paper's time of an iteration: messages count as stages of their own.
double latency_of(const MeanCluster& mean, const Parts& parts) {
  struct Step {
    double forward, backward, sum;
  };
  std::vector<Step> steps;
  for (const Part& part : parts) {
    if (!steps.empty()) steps.push_back({mean.up(part.first), mean.down(part.first), 0.0});
    steps.push_back({mean.forward(part), mean.backward(part), mean.sum(part)});
  }
  const auto steady = [&](const Step& step) { return (mean.micro_batches - 1.0) * (step.forward + step.backward); };
  // The stage without which the steady phase has the fewest bubbles.
  std::size_t pivot = steps.size() - 1;
  double between = 0.0;  // forwards and backwards of the steps after s and before the pivot
  for (std::size_t s = pivot; s-- > 0;) {
    if (steady(steps[s]) > steady(steps[pivot]) + between) {
      pivot = s;
      between = 0.0;
    } else {
      between += steps[s].forward + steps[s].backward;
    }
  }
  double warm_up = 0.0;
  for (std::size_t s = 0; s <= pivot; ++s) warm_up += steps[s].forward;
  double ending = 0.0;
  double behind = 0.0;  // backwards from s to the pivot
  for (std::size_t s = pivot + 1; s-- > 0;) {
    behind += steps[s].backward;
    ending = std::max(ending, behind + steps[s].sum);
  }
  double ahead = 0.0;  // backwards from the pivot to s, which come before the pivot's
  for (std::size_t s = pivot; s < steps.size(); ++s) {
    ahead += steps[s].backward;
    ending = std::max(ending, steps[s].sum - ahead);
  }
  return warm_up + steady(steps[pivot]) + ending;
}

Parts by_dapple(const MeanCluster& mean) {
  const int layers = mean.layers;
  const int machines = mean.machines;
  struct State {
    double latency = kNever;
    Parts parts;  ///< of layers [j, L), last first
  };
  std::vector<std::vector<State>> best(layers + 1, std::vector<State>(machines + 1));
  best[layers][0].latency = 0.0;
  State whole;
  const auto offer = [&](const Parts& after, const Part& added, int left, State& into) {
    Parts parts;
    if (added.first > 0) parts.push_back({0, added.first, left});
    parts.push_back(added);
    parts.insert(parts.end(), after.rbegin(), after.rend());
    const double latency = latency_of(mean, parts);
    if (latency >= into.latency) return;
    into.latency = latency;
    into.parts = after;
    into.parts.push_back(added);
  };
  for (int m = 0; m < machines; ++m) {
    for (int end = layers; end > 0; --end) {
      const State& state = best[end][m];
      if (state.latency == kNever) continue;
      for (const int r : mean.replicas) {
        const int left = machines - m - r;
        if (left < 0) break;
        const int parts = static_cast<int>(state.parts.size()) + 1;
        if (parts <= mean.most_parts) offer(state.parts, {0, end, r}, 0, whole);
        if (left == 0 || parts >= mean.most_parts) continue;
        for (int first = 1; first < end; ++first) offer(state.parts, {first, end, r}, left, best[first][m + r]);
      }
    }
  }
  std::reverse(whole.parts.begin(), whole.parts.end());
  return whole.parts;
}

SearchResult plan_by(const char* name, Parts (*split)(const MeanCluster&), const Profile& profile,
                     const SearchOptions& options) {
  const auto start = Clock::now();
  Candidates candidates(profile, options);
  for (const std::int64_t size : micro_batch_sizes(profile.model, options)) {
    const Parts parts = split(MeanCluster(profile, options, size));
    const std::vector<int> warm_up = textbook_warm_up(static_cast<int>(parts.size()));
    std::vector<StageChoice> stages;
    int device = 0;
    for (const Part& part : parts) {
      StageChoice& stage = stages.emplace_back();
      stage.end = part.end;
      stage.warm_up = warm_up[stages.size() - 1];
      for (int r = 0; r < part.replicas; ++r) stage.crew.push_back({device++, size / part.replicas});
    }
    for (const std::string& schedule : one_stage_schedules(options)) {
      candidates.offer(make_plan(stages, size, options.global_batch, schedule));
    }
  }
  SearchStatistics statistics;
  statistics.solve = {std::chrono::duration<double>(Clock::now() - start).count()};
  return candidates.result(name, statistics, std::nullopt);
}

}  // namespace

SearchResult plan_pipedream(const Profile& profile, const SearchOptions& options) {
  return plan_by("pipedream", by_pipedream, profile, options);
}

SearchResult plan_dapple(const Profile& profile, const SearchOptions& options) {
  return plan_by("dapple", by_dapple, profile, options);
}

}  // namespace motley
