#include "motley/partitioner/graph_bottleneck.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

#include "motley/base/error.h"

namespace motley {
namespace {

using testing::HasSubstr;

/// Two to six groups, each a forward node and perhaps a backward one; forward edges in a hidden order.
ModelGraph random_graph(std::mt19937& random) {
  const auto uniform = [&](double most) { return std::uniform_real_distribution<>(0.0, most)(random); };
  const int groups = std::uniform_int_distribution<>(2, 6)(random);
  std::vector<int> order(static_cast<std::size_t>(groups));
  for (int g = 0; g < groups; ++g) {
    order[static_cast<std::size_t>(g)] = g;
  }
  std::shuffle(order.begin(), order.end(), random);
  ModelGraph graph;
  graph.name = "random";
  std::vector<int> backward(order.size(), -1);
  for (const bool is_backward : {false, true}) {
    for (int g = 0; g < groups; ++g) {
      if (is_backward && uniform(1.0) < 0.4) {
        continue;
      }
      if (is_backward) {
        backward[static_cast<std::size_t>(g)] = static_cast<int>(graph.nodes.size());
      }
      // Whole megabytes and nothing at all are common.
      const auto bytes = [&] {
        return Bytes{uniform(1.0) < 0.2 ? 0 : static_cast<std::int64_t>(uniform(50.0)) * 1'000'000};
      };
      graph.nodes.push_back({"n" + std::to_string(graph.nodes.size()), g, is_backward, Seconds{0.001 + uniform(0.1)},
                             Seconds{0.01 + uniform(0.3)}, bytes(), bytes(), bytes()});
    }
  }
  std::vector<std::size_t> piece(order.size());  // by place in the order
  std::iota(piece.begin(), piece.end(), 0U);
  const auto join = [&](std::size_t i, std::size_t j) {
    graph.edges.push_back({order[i], order[j], Seconds{uniform(0.03)}});
    const int from = backward[static_cast<std::size_t>(order[j])];
    const int to = backward[static_cast<std::size_t>(order[i])];
    if (from >= 0 && to >= 0) {
      graph.edges.push_back({from, to, Seconds{uniform(0.03)}});
    }
    std::replace(piece.begin(), piece.end(), std::size_t{piece[j]}, std::size_t{piece[i]});
  };
  for (std::size_t i = 0; i < order.size(); ++i) {
    for (std::size_t j = i + 1; j < order.size(); ++j) {
      if (uniform(1.0) < 0.45) {
        join(i, j);
      }
    }
  }
  for (std::size_t j = 1; j < order.size(); ++j) {
    if (piece[j - 1] != piece[j]) {
      join(j - 1, j);
    }
  }
  graph.devices = {std::uniform_int_distribution<>(1, 3)(random),
                   Bytes{std::uniform_int_distribution<>(40, 300)(random) * std::int64_t{1'000'000}},
                   std::uniform_int_distribution<>(0, 2)(random)};
  validate(graph, "random");
  return graph;
}

/// The formulas of StageCost, written out over nodes and edges.
double priced(const std::vector<GraphStage>& stages, const ModelGraph& graph, const BottleneckOptions& options) {
  std::vector<std::size_t> stage_of(static_cast<std::size_t>(graph.group_count()));
  for (std::size_t s = 0; s < stages.size(); ++s) {
    for (const int group : stages[s].groups) {
      stage_of[static_cast<std::size_t>(group)] = s;
    }
  }
  const auto of = [&](int node) {
    return stage_of[static_cast<std::size_t>(graph.nodes[static_cast<std::size_t>(node)].group)];
  };
  // What nodes before `boundary` hand to nodes behind it.
  const auto crossing = [&](std::size_t boundary) {
    double bytes = 0.0;
    for (int n = 0; n < static_cast<int>(graph.nodes.size()); ++n) {
      const bool read = std::any_of(graph.edges.begin(), graph.edges.end(), [&](const ModelGraph::Edge& edge) {
        return edge.from == n && of(edge.to) >= boundary;
      });
      if (of(n) < boundary && read) {
        bytes += static_cast<double>(graph.nodes[static_cast<std::size_t>(n)].output.value);
      }
    }
    return bytes;
  };
  double slowest = 0.0;
  for (std::size_t s = 0; s < stages.size(); ++s) {
    double compute = 0.0;
    double parameters = 0.0;
    double memory = 0.0;
    for (int n = 0; n < static_cast<int>(graph.nodes.size()); ++n) {
      const ModelGraph::Node& node = graph.nodes[static_cast<std::size_t>(n)];
      if (of(n) == s) {
        compute += (stages[s].on_host ? node.host_compute : node.compute).value;
        parameters += static_cast<double>(node.parameters.value);
        memory += static_cast<double>(node.memory.value);
      }
    }
    const double r = stages[s].replicas;
    const double bandwidth = options.bandwidth.value;
    if (options.cost == StageCost::Single) {
      double traffic = 0.0;
      for (int n = 0; n < static_cast<int>(graph.nodes.size()); ++n) {
        double most = 0.0;
        for (const ModelGraph::Edge& edge : graph.edges) {
          if (edge.from == n && (of(n) == s) != (of(edge.to) == s)) {
            most = std::max(most, edge.transfer.value);
          }
        }
        traffic += most;
      }
      if (!stages[s].on_host && memory > static_cast<double>(graph.devices->memory.value)) {
        return std::numeric_limits<double>::infinity();
      }
      slowest = std::max(slowest, compute + traffic);
      continue;
    }
    const double all_reduce = 4.0 * (r - 1.0) / r * parameters / bandwidth;
    slowest = std::max(slowest, compute / r + (options.cost == StageCost::PipeDream ? all_reduce / r : all_reduce));
    if (s > 0) {
      slowest = std::max(slowest, 2.0 * crossing(s) / (r * bandwidth));
    }
    if (s > 0 && s + 1 < stages.size()) {
      slowest = std::max(slowest, 2.0 * crossing(s + 1) / (r * bandwidth));
    }
  }
  return slowest;
}

/// Every way to put the groups into stages in order, each with every number of replicas or kind of device.
void each_plan(const ModelGraph& graph, const BottleneckOptions& options,
               const std::function<void(const std::vector<GraphStage>&)>& visit) {
  const std::vector<std::vector<int>> before = group_predecessors(graph);
  const std::vector<int> chain = linear_order(graph);
  const bool single = options.cost == StageCost::Single;
  std::vector<bool> placed(before.size(), false);
  std::vector<GraphStage> stages;
  const std::function<void(int, int)> next = [&](int devices, int hosts) {
    std::vector<int> left;
    for (const int group : chain) {
      if (!placed[static_cast<std::size_t>(group)]) {
        left.push_back(group);
      }
    }
    if (left.empty()) {
      visit(stages);
      return;
    }
    for (unsigned subset = 1; subset < 1U << left.size(); ++subset) {
      GraphStage stage;
      std::vector<bool> with = placed;
      for (std::size_t i = 0; i < left.size(); ++i) {
        if ((subset >> i & 1U) != 0) {
          stage.groups.push_back(left[i]);
          with[static_cast<std::size_t>(left[i])] = true;
        }
      }
      const bool closed = std::all_of(stage.groups.begin(), stage.groups.end(), [&](int group) {
        const std::vector<int>& needed = before[static_cast<std::size_t>(group)];
        return std::all_of(needed.begin(), needed.end(), [&](int p) { return with[static_cast<std::size_t>(p)]; });
      });
      const bool prefix = (subset & (subset + 1)) == 0;
      if (!closed || (options.linearise && !prefix)) {
        continue;
      }
      placed.swap(with);
      for (int replicas = 1; replicas <= (single ? std::min(1, devices) : devices); ++replicas) {
        stage.replicas = replicas;
        stages.push_back(stage);
        next(devices - replicas, hosts);
        stages.pop_back();
      }
      if (hosts > 0) {
        stage.replicas = 1;
        stage.on_host = true;
        stages.push_back(stage);
        next(devices, hosts - 1);
        stages.pop_back();
      }
      placed.swap(with);
    }
  };
  next(single ? graph.devices->accelerators : options.devices, single ? graph.devices->hosts : 0);
}

void expect_equals_brute_force(StageCost cost, bool linearise, unsigned seed, int instances) {
  std::mt19937 random(seed);
  int infeasible = 0;
  for (int instance = 0; instance < instances; ++instance) {
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", instance " << instance);
    const ModelGraph graph = random_graph(random);
    BottleneckOptions options;
    options.cost = cost;
    options.linearise = linearise;
    options.devices = std::uniform_int_distribution<>(1, 4)(random);
    options.bandwidth = BytesPerSecond{1e9};
    double least = std::numeric_limits<double>::infinity();
    each_plan(graph, options,
              [&](const std::vector<GraphStage>& stages) { least = std::min(least, priced(stages, graph, options)); });
    if (least == std::numeric_limits<double>::infinity()) {
      ++infeasible;
      EXPECT_THROW(static_cast<void>(solve_bottleneck(graph, options)), InputError);
      continue;
    }
    const BottleneckPlan plan = solve_bottleneck(graph, options);
    EXPECT_NEAR(plan.bottleneck.value, least, 1e-12);
    EXPECT_EQ(plan.lower_bound, plan.bottleneck);
    EXPECT_NEAR(priced(plan.stages, graph, options), least, 1e-12);
    EXPECT_NEAR(bottleneck_of(plan.stages, graph, options).value, least, 1e-12);
  }
  EXPECT_LT(infeasible, instances / 2);
}

TEST(GraphBottleneck, ReplicatedOptimumEqualsBruteForce) {
  expect_equals_brute_force(StageCost::Replicated, false, 1, 150);
}

TEST(GraphBottleneck, PipeDreamOptimumEqualsBruteForce) {
  expect_equals_brute_force(StageCost::PipeDream, false, 2, 150);
}

TEST(GraphBottleneck, SingleOptimumWithHostsAndMemoryEqualsBruteForce) {
  expect_equals_brute_force(StageCost::Single, false, 3, 300);
}

TEST(GraphBottleneck, LinearisedOptimaEqualBruteForce) {
  expect_equals_brute_force(StageCost::Replicated, true, 4, 100);
  expect_equals_brute_force(StageCost::Single, true, 5, 200);
}

ModelGraph diamond() {
  ModelGraph graph;
  graph.name = "diamond";
  for (int n = 0; n < 4; ++n) {
    graph.nodes.push_back({"n" + std::to_string(n), n, false, Seconds{0.01}, {}, Bytes{10}, Bytes{10}, Bytes{10}});
  }
  graph.edges = {{0, 1, {}}, {0, 2, {}}, {1, 3, {}}, {2, 3, {}}};
  return graph;
}

template <class F>
std::string refusal(const F& call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(GraphBottleneck, RefusesOptionsThatMakeNoSense) {
  const ModelGraph graph = diamond();
  const auto solve = [&](int devices, double bandwidth) {
    return refusal([&] {
      static_cast<void>(solve_bottleneck(
          graph, {.cost = StageCost::Replicated, .devices = devices, .bandwidth = BytesPerSecond{bandwidth}}));
    });
  };
  EXPECT_THAT(solve(0, 1e9), HasSubstr("devices: found 0, expected 1 to 4096"));
  EXPECT_THAT(solve(2'000'000'000, 1e9), HasSubstr("devices: found 2000000000"));
  EXPECT_THAT(solve(2, 0.0), HasSubstr("bandwidth: found 0 bytes/s, expected more than 0"));
  EXPECT_THAT(solve(2, -1.0), HasSubstr("bandwidth"));
  EXPECT_THAT(refusal([&] { static_cast<void>(solve_bottleneck(graph, {.cost = StageCost::Single})); }),
              HasSubstr("diamond: names no devices"));
  EXPECT_THAT(
      refusal([&] {
        static_cast<void>(solve_bottleneck(graph, {.devices = 2, .bandwidth = BytesPerSecond{1e9}, .most_cuts = 4}));
      }),
      HasSubstr("--linearise cuts a chain"));
}

TEST(GraphBottleneck, SaysWhatDoesNotFitInMemory) {
  ModelGraph graph = diamond();
  graph.devices = {2, Bytes{5}, 0};
  EXPECT_THAT(refusal([&] { static_cast<void>(solve_bottleneck(graph, {.cost = StageCost::Single})); }),
              HasSubstr("no cut fits: 40 bytes in all, 2 accelerators of 5 bytes"));
}

TEST(GraphBottleneck, RefusesStagesThatAreNoPlan) {
  const ModelGraph graph = diamond();
  const auto price = [&](const std::vector<GraphStage>& stages) {
    return refusal(
        [&] { static_cast<void>(bottleneck_of(stages, graph, {.devices = 3, .bandwidth = BytesPerSecond{1e9}})); });
  };
  EXPECT_EQ(price({{{0, 1}}, {{2, 3}, 2}}), "accepted");
  EXPECT_THAT(price({{{0, 1}}, {{1, 2, 3}}}), HasSubstr("stages[1]: found group 1, expected each of 4 groups once"));
  EXPECT_THAT(price({{{0, 3}}, {{1, 2}}}), HasSubstr("expected it no later"));
  EXPECT_THAT(price({{{0, 1}, 2}, {{2, 3}, 2}}), HasSubstr("found 4 devices and 0 hosts, expected at most 3 and 0"));
  ModelGraph idle = diamond();
  idle.nodes[3].compute = Seconds{0.0};
  EXPECT_THAT(refusal([&] {
                static_cast<void>(
                    bottleneck_of({{{0, 1, 2}}, {{3}, 2}}, idle, {.devices = 3, .bandwidth = BytesPerSecond{1e9}}));
              }),
              HasSubstr("stages[1]: found 2 replicas of a stage that computes nothing, expected 1"));
}

}  // namespace
}  // namespace motley
