#include "motley/partitioner/graph_bottleneck.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <limits>
#include <unordered_set>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

/// Groups as bits.
class GroupSet {
 public:
  explicit GroupSet(std::size_t groups) : words_((groups + 63) / 64, 0) {}

  void add(int group) { words_[static_cast<std::size_t>(group) / 64] |= std::uint64_t{1} << (group % 64); }
  [[nodiscard]] bool has(int group) const {
    return (words_[static_cast<std::size_t>(group) / 64] >> (group % 64) & 1U) != 0;
  }
  [[nodiscard]] bool holds(const GroupSet& other) const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if ((other.words_[i] & ~words_[i]) != 0) {
        return false;
      }
    }
    return true;
  }
  [[nodiscard]] GroupSet without(const GroupSet& other) const {
    GroupSet rest = *this;
    for (std::size_t i = 0; i < words_.size(); ++i) {
      rest.words_[i] &= ~other.words_[i];
    }
    return rest;
  }
  [[nodiscard]] int size() const {
    int count = 0;
    for (const std::uint64_t word : words_) {
      count += std::popcount(word);
    }
    return count;
  }
  friend bool operator==(const GroupSet&, const GroupSet&) = default;

  struct Hash {
    std::size_t operator()(const GroupSet& set) const {
      std::uint64_t hash = 0x9e3779b97f4a7c15ULL;
      for (const std::uint64_t word : set.words_) {
        hash = (hash ^ word) * 0xbf58476d1ce4e5b9ULL;
        hash ^= hash >> 31;
      }
      return hash;
    }
  };

 private:
  std::vector<std::uint64_t> words_;
};

/// Every set that is closed under predecessors, by size; of a chain, its prefixes.
std::vector<GroupSet> downsets(const ModelGraph& graph, const std::vector<int>& order,
                               const BottleneckOptions& options) {
  const std::vector<std::vector<int>> before = group_predecessors(graph);
  std::vector<GroupSet> sets{GroupSet(order.size())};
  if (options.linearise) {
    for (const int group : order) {
      sets.push_back(sets.back());
      sets.back().add(group);
    }
    return sets;
  }
  std::unordered_set<GroupSet, GroupSet::Hash> known(sets.begin(), sets.end());
  for (std::size_t next = 0; next < sets.size(); ++next) {
    for (const int group : order) {
      const GroupSet set = sets[next];
      const std::vector<int>& needed = before[static_cast<std::size_t>(group)];
      if (set.has(group) || !std::all_of(needed.begin(), needed.end(), [&](int p) { return set.has(p); })) {
        continue;
      }
      GroupSet larger = set;
      larger.add(group);
      if (known.insert(larger).second) {
        sets.push_back(std::move(larger));
        if (sets.size() > options.most_cuts) {
          throw InputError::of("{}: found more than {} ways to cut the graph, expected fewer; --linearise cuts a chain",
                               graph.name, options.most_cuts);
        }
      }
    }
  }
  return sets;  // breadth first: by size
}

/// Sums over the groups of a downset; what it hands on.
struct Totals {
  double compute_s = 0.0;
  double host_s = 0.0;
  double parameters = 0.0;
  double memory = 0.0;
  double output = 0.0;  // bytes of nodes that something outside reads
};

Totals totals_of(const ModelGraph& graph, const GroupSet& set) {
  Totals totals;
  std::vector<bool> read_outside(graph.nodes.size(), false);
  for (const ModelGraph::Edge& edge : graph.edges) {
    if (!set.has(graph.nodes[static_cast<std::size_t>(edge.to)].group)) {
      read_outside[static_cast<std::size_t>(edge.from)] = true;
    }
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const ModelGraph::Node& node = graph.nodes[i];
    if (set.has(node.group)) {
      totals.compute_s += node.compute.value;
      totals.host_s += node.host_compute.value;
      totals.parameters += static_cast<double>(node.parameters.value);
      totals.memory += static_cast<double>(node.memory.value);
      totals.output += read_outside[i] ? static_cast<double>(node.output.value) : 0.0;
    }
  }
  return totals;
}

double replicated_stage_s(const BottleneckOptions& options, double compute_s, double parameters, int replicas) {
  const double r = replicas;
  const double all_reduce_s = 4.0 * (r - 1.0) * parameters / (options.bandwidth.value * r);
  return options.cost == StageCost::PipeDream ? (compute_s + all_reduce_s) / r : compute_s / r + all_reduce_s;
}

double edge_s(const BottleneckOptions& options, double bytes, int replicas) {
  return 2.0 * bytes / (options.bandwidth.value * replicas);
}

/// Transfers in and out of a set of groups, by Single's rule.
class Traffic {
 public:
  explicit Traffic(const ModelGraph& graph) : touching_(static_cast<std::size_t>(graph.group_count())) {
    std::vector<std::vector<Reader>> readers(graph.nodes.size());
    for (const ModelGraph::Edge& edge : graph.edges) {
      readers[static_cast<std::size_t>(edge.from)].push_back(
          {graph.nodes[static_cast<std::size_t>(edge.to)].group, edge.transfer.value});
    }
    for (std::size_t i = 0; i < readers.size(); ++i) {
      // A reader of the same group never crosses.
      const int group = graph.nodes[i].group;
      const std::size_t first = readers_.size();
      std::copy_if(readers[i].begin(), readers[i].end(), std::back_inserter(readers_),
                   [&](const Reader& reader) { return reader.group != group; });
      if (readers_.size() > first) {
        touching_[static_cast<std::size_t>(group)].push_back(sources_.size());
        for (std::size_t r = first; r < readers_.size(); ++r) {
          std::vector<std::size_t>& touching = touching_[static_cast<std::size_t>(readers_[r].group)];
          if (touching.empty() || touching.back() != sources_.size()) {
            touching.push_back(sources_.size());
          }
        }
        sources_.push_back({group, first, readers_.size()});
      }
    }
  }

  /// Of the groups in `own`.
  [[nodiscard]] double seconds(const GroupSet& own) const {
    double sum_s = 0.0;
    for (const Source& source : sources_) {
      sum_s += seconds(source, own);
    }
    return sum_s;
  }

  /// What seconds() grows by when `group` joins `own`.
  [[nodiscard]] double growth(const GroupSet& own, int group) const {
    GroupSet larger = own;
    larger.add(group);
    double sum_s = 0.0;
    for (const std::size_t source : touching_[static_cast<std::size_t>(group)]) {
      sum_s += seconds(sources_[source], larger) - seconds(sources_[source], own);
    }
    return sum_s;
  }

 private:
  struct Reader {
    int group;
    double transfer_s;
  };
  struct Source {
    int group;
    std::size_t first_reader;
    std::size_t end_reader;
  };
  [[nodiscard]] double seconds(const Source& source, const GroupSet& own) const {
    const bool inside = own.has(source.group);
    double most_s = 0.0;
    for (std::size_t r = source.first_reader; r < source.end_reader; ++r) {
      if (own.has(readers_[r].group) != inside) {
        most_s = std::max(most_s, readers_[r].transfer_s);
      }
    }
    return most_s;
  }

  std::vector<Source> sources_;
  std::vector<Reader> readers_;
  std::vector<std::vector<std::size_t>> touching_;  // by group: sources in it or read by it
};

void check(const ModelGraph& graph, const BottleneckOptions& options) {
  if (options.cost == StageCost::Single) {
    if (!graph.devices) {
      throw InputError::of("{}: names no devices, expected a model whose file does", graph.name);
    }
    return;
  }
  if (options.devices < 1 || options.devices > 4096) {
    throw InputError::of("devices: found {}, expected 1 to 4096", options.devices);
  }
  if (!(options.bandwidth.value > 0.0) || options.bandwidth.value == kInfinite) {
    throw InputError::of("bandwidth: found {} bytes/s, expected more than 0", options.bandwidth.value);
  }
}

class Solver {
 public:
  Solver(const ModelGraph& graph, const BottleneckOptions& options)
      : graph_(graph), options_(options), order_(linear_order(graph)), sets_(downsets(graph, order_, options)) {
    for (const GroupSet& set : sets_) {
      totals_.push_back(totals_of(graph, set));
    }
  }

  BottleneckPlan run() {
    BottleneckPlan plan = options_.cost == StageCost::Single ? single() : replicated();
    plan.lower_bound = plan.bottleneck;
    plan.cuts = sets_.size();
    return plan;
  }

 private:
  [[nodiscard]] GraphStage stage(std::size_t lower, std::size_t upper) const {
    GraphStage result;
    for (const int group : order_) {
      if (sets_[upper].has(group) && !sets_[lower].has(group)) {
        result.groups.push_back(group);
      }
    }
    return result;
  }

  /// best[j * (n + 1) + m]: slowest stage of the best pipeline that covers set j with at most m devices.
  BottleneckPlan replicated() const {
    const auto n = static_cast<std::size_t>(options_.devices);
    struct Step {
      double bottleneck_s = kInfinite;
      std::size_t lower = 0;
      int replicas = 0;
    };
    std::vector<Step> best(sets_.size() * (n + 1));
    const auto at = [&](std::size_t set, std::size_t devices) -> Step& { return best[set * (n + 1) + devices]; };
    for (std::size_t m = 0; m <= n; ++m) {
      at(0, m).bottleneck_s = 0.0;
    }
    const bool as_published = options_.cost == StageCost::PipeDream;
    for (std::size_t j = 1; j < sets_.size(); ++j) {
      const bool last = j + 1 == sets_.size();
      for (std::size_t i = 0; i < j; ++i) {
        if (!sets_[j].holds(sets_[i])) {
          continue;
        }
        const double compute_s = totals_[j].compute_s - totals_[i].compute_s;
        const double parameters = totals_[j].parameters - totals_[i].parameters;
        for (std::size_t r = 1; r <= n; ++r) {
          if (!as_published && compute_s <= 0.0 && r > 1) {
            break;  // nothing to share out
          }
          const int replicas = static_cast<int>(r);
          double own_s = replicated_stage_s(options_, compute_s, parameters, replicas);
          if (i > 0) {
            own_s = std::max(own_s, edge_s(options_, totals_[i].output, replicas));
          }
          // As the authors do, a first stage's output is priced at its receiver.
          if (!last && i > 0) {
            own_s = std::max(own_s, edge_s(options_, totals_[j].output, replicas));
          }
          for (std::size_t m = r; m <= n; ++m) {
            const double value = std::max(at(i, m - r).bottleneck_s, own_s);
            if (value < at(j, m).bottleneck_s) {
              at(j, m) = {value, i, replicas};
            }
          }
        }
      }
    }
    BottleneckPlan plan;
    plan.bottleneck = Seconds{at(sets_.size() - 1, n).bottleneck_s};
    std::size_t devices = n;
    for (std::size_t j = sets_.size() - 1; j > 0;) {
      const Step& step = at(j, devices);
      GraphStage made = stage(step.lower, j);
      made.replicas = step.replicas;
      plan.stages.push_back(std::move(made));
      devices -= static_cast<std::size_t>(step.replicas);
      j = step.lower;
    }
    std::reverse(plan.stages.begin(), plan.stages.end());
    return plan;
  }

  BottleneckPlan single() const {
    const auto accelerators = static_cast<std::size_t>(graph_.devices->accelerators);
    const auto hosts = static_cast<std::size_t>(graph_.devices->hosts);
    const auto capacity = static_cast<double>(graph_.devices->memory.value);
    const std::size_t cells = (accelerators + 1) * (hosts + 1);
    const auto cell = [&](std::size_t a, std::size_t h) { return a * (hosts + 1) + h; };
    struct Step {
      double bottleneck_s = kInfinite;
      std::size_t lower = 0;
      bool on_host = false;
    };
    std::vector<std::vector<Step>> best(sets_.size(), std::vector<Step>(cells));
    for (Step& step : best[0]) {
      step.bottleneck_s = 0.0;
    }
    const Traffic traffic(graph_);
    for (std::size_t j = 1; j < sets_.size(); ++j) {
      GroupSet own(order_.size());  // of a chain, grown group by group
      double own_traffic_s = 0.0;
      for (std::size_t i = j; i-- > 0;) {
        if (options_.linearise) {
          own_traffic_s += traffic.growth(own, order_[i]);
          own.add(order_[i]);
        } else if (!sets_[j].holds(sets_[i])) {
          continue;
        }
        const double compute_s = totals_[j].compute_s - totals_[i].compute_s;
        const double host_s = totals_[j].host_s - totals_[i].host_s;
        const bool fits = totals_[j].memory - totals_[i].memory <= capacity;
        double traffic_s = options_.linearise ? own_traffic_s : -1.0;  // looked up when it can matter
        for (std::size_t a = 0; a <= accelerators; ++a) {
          for (std::size_t h = 0; h <= hosts; ++h) {
            Step& here = best[j][cell(a, h)];
            const auto offer = [&](double before_s, double own_s, bool on_host) {
              if (std::max(before_s, own_s) >= here.bottleneck_s) {
                return;
              }
              if (traffic_s < 0.0) {
                traffic_s = traffic.seconds(sets_[j].without(sets_[i]));
              }
              const double value = std::max(before_s, own_s + traffic_s);
              if (value < here.bottleneck_s) {
                here = {value, i, on_host};
              }
            };
            if (a > 0 && fits) {
              offer(best[i][cell(a - 1, h)].bottleneck_s, compute_s, false);
            }
            if (h > 0) {
              offer(best[i][cell(a, h - 1)].bottleneck_s, host_s, true);
            }
          }
        }
      }
    }
    BottleneckPlan plan;
    plan.bottleneck = Seconds{best.back()[cell(accelerators, hosts)].bottleneck_s};
    if (plan.bottleneck.value == kInfinite) {
      throw InputError::of("{}: no cut fits: {} bytes in all, {} accelerators of {} bytes and {} hosts", graph_.name,
                           totals_.back().memory, accelerators, capacity, hosts);
    }
    std::size_t a = accelerators;
    std::size_t h = hosts;
    for (std::size_t j = sets_.size() - 1; j > 0;) {
      const Step& step = best[j][cell(a, h)];
      GraphStage made = stage(step.lower, j);
      made.on_host = step.on_host;
      plan.stages.push_back(std::move(made));
      (step.on_host ? h : a) -= 1;
      j = step.lower;
    }
    std::reverse(plan.stages.begin(), plan.stages.end());
    return plan;
  }

  const ModelGraph& graph_;
  const BottleneckOptions& options_;
  std::vector<int> order_;
  std::vector<GroupSet> sets_;
  std::vector<Totals> totals_;
};

}  // namespace

BottleneckPlan solve_bottleneck(const ModelGraph& graph, const BottleneckOptions& options) {
  check(graph, options);
  const auto start = std::chrono::steady_clock::now();
  BottleneckPlan plan = Solver(graph, options).run();
  plan.solve = Seconds{std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
  return plan;
}

Seconds bottleneck_of(const std::vector<GraphStage>& stages, const ModelGraph& graph,
                      const BottleneckOptions& options) {
  check(graph, options);
  const std::vector<std::vector<int>> before = group_predecessors(graph);
  std::vector<int> stage_of(before.size(), -1);
  int accelerators = 0;
  int hosts = 0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    (stages[s].on_host ? hosts : accelerators) += stages[s].replicas;
    for (const int group : stages[s].groups) {
      if (group < 0 || group >= static_cast<int>(before.size()) || stage_of[static_cast<std::size_t>(group)] >= 0) {
        throw InputError::of("stages[{}]: found group {}, expected each of {} groups once", s, group, before.size());
      }
      stage_of[static_cast<std::size_t>(group)] = static_cast<int>(s);
    }
  }
  for (std::size_t group = 0; group < before.size(); ++group) {
    for (const int predecessor : before[group]) {
      if (stage_of[group] < 0 || stage_of[static_cast<std::size_t>(predecessor)] > stage_of[group]) {
        throw InputError::of("stages: group {} is in stage {}, its predecessor {} in stage {}, expected it no later",
                             group, stage_of[group], predecessor, stage_of[static_cast<std::size_t>(predecessor)]);
      }
    }
  }
  const bool single = options.cost == StageCost::Single;
  const int most = single ? graph.devices->accelerators : options.devices;
  if (accelerators > most || hosts > (single ? graph.devices->hosts : 0)) {
    throw InputError::of("stages: found {} devices and {} hosts, expected at most {} and {}", accelerators, hosts, most,
                         single ? graph.devices->hosts : 0);
  }
  GroupSet lower(before.size());
  double slowest_s = 0.0;
  const Traffic traffic(graph);
  for (std::size_t s = 0; s < stages.size(); ++s) {
    GroupSet upper = lower;
    for (const int group : stages[s].groups) {
      upper.add(group);
    }
    const Totals below = totals_of(graph, lower);
    const Totals above = totals_of(graph, upper);
    if (single) {
      if (!stages[s].on_host && above.memory - below.memory > static_cast<double>(graph.devices->memory.value)) {
        throw InputError::of("stages[{}]: needs {} bytes, an accelerator has {}", s, above.memory - below.memory,
                             graph.devices->memory.value);
      }
      const double compute_s = stages[s].on_host ? above.host_s - below.host_s : above.compute_s - below.compute_s;
      slowest_s = std::max(slowest_s, compute_s + traffic.seconds(upper.without(lower)));
    } else {
      if (options.cost == StageCost::Replicated && stages[s].replicas > 1 && above.compute_s <= below.compute_s) {
        throw InputError::of("stages[{}]: found {} replicas of a stage that computes nothing, expected 1", s,
                             stages[s].replicas);
      }
      slowest_s = std::max(slowest_s, replicated_stage_s(options, above.compute_s - below.compute_s,
                                                         above.parameters - below.parameters, stages[s].replicas));
      if (s > 0) {
        slowest_s = std::max(slowest_s, edge_s(options, below.output, stages[s].replicas));
      }
      if (s > 0 && s + 1 < stages.size()) {
        slowest_s = std::max(slowest_s, edge_s(options, above.output, stages[s].replicas));
      }
    }
    lower = upper;
  }
  return Seconds{slowest_s};
}

}  // namespace motley
