#include "motley/partitioner/tailored.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <set>
#include <utility>

#include "instances.h"
#include "motley/base/error.h"
#include "motley/partitioner/exact.h"
#include "motley/partitioner/free_order.h"
#include "motley/partitioner/price.h"
#include "motley/partitioner/search.h"
#include "motley/partitioner/space.h"
#include "motley/partitioner/synthetic.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/tailor.h"

namespace motley {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Every order of a stage's passes: F, I and W of each micro-batch in order, an I and a W that stand together also as
/// B.
std::vector<std::vector<Action>> all_rows(int stage, int micro_batches) {
  std::vector<std::vector<Action>> rows;
  std::vector<Action> row;
  const std::function<void(int, int, int)> extend = [&](int forwards, int inputs, int weights) {
    if (weights == micro_batches) {
      rows.push_back(row);
      return;
    }
    const auto with = [&](Op op, int micro_batch, int f, int i, int w) {
      row.push_back({op, stage, micro_batch});
      extend(f, i, w);
      row.pop_back();
    };
    if (forwards < micro_batches) with(Op::Forward, forwards, forwards + 1, inputs, weights);
    if (inputs < forwards) with(Op::BackwardInput, inputs, forwards, inputs + 1, weights);
    if (weights < inputs) with(Op::BackwardWeight, weights, forwards, inputs, weights + 1);
    if (inputs < forwards && weights == inputs) with(Op::Backward, inputs, forwards, inputs + 1, weights + 1);
  };
  extend(0, 0, 0);
  return rows;
}

/// The least iteration of any order of passes of a two-stage plan.
double best_of_all_orders(const Plan& plan, const Profile& profile, bool clip) {
  const PipelineCosts costs = costs_of(plan, profile);
  const int micro_batches = static_cast<int>(plan.micro_batches);
  double best = kInfinity;
  Schedule schedule;
  schedule.ranks.resize(profile.cluster.devices.size());
  const auto first = static_cast<std::size_t>(plan.stages[0].replicas[0].device);
  const auto second = static_cast<std::size_t>(plan.stages[1].replicas[0].device);
  for (const auto& below : all_rows(0, micro_batches)) {
    for (const auto& above : all_rows(1, micro_batches)) {
      schedule.ranks[first] = below;
      schedule.ranks[second] = above;
      // Else the ranks wait for each other in a circle.
      if (validate(schedule).empty()) {
        best = std::min(best, simulate(add_transfers(with_updates(schedule, clip)), costs).iteration.value);
      }
    }
  }
  return best;
}

Instance two_stages(std::uint64_t seed) {
  Instance instance = random_instance(seed);
  for (Device& device : instance.profile.cluster.devices) device.memory = Bytes{std::int64_t{1} << 60};
  instance.options.any_order = true;
  instance.options.use_all_devices = false;
  instance.options.max_stages = 2;
  instance.options.schedules = {"1f1b"};
  instance.options.allow = {};
  instance.options.objective = Objective::Iteration;
  // A message takes some of its devices' time.
  for (auto& [type, table] : instance.profile.model.devices) {
    const Seconds most{0.1 * static_cast<double>(seed % 4) * table.busy.by_size[0][0].forward.value};
    const TransferCurve curve({{Bytes{0}, 0.5 * most}, {Bytes{6000}, most}});
    if (most.value > 0.0) table.codecs["float32"] = {curve, curve};
  }
  return instance;
}

TEST(Tailored, NoOrderOfPassesBeatsTheBoundAndTheTailorFindsTheBestOrNearlySo) {
  int checked = 0;
  int best = 0;
  for (std::uint64_t seed = 0; seed < 400 && checked < 40; ++seed) {
    SCOPED_TRACE(seed);
    const Instance instance = two_stages(seed);
    const FreeOrders orders = find_free_orders(instance.profile, instance.options, kInfinity, 1000);
    for (const FreeOrder& order : orders.best) {
      const std::int64_t micro_batches = instance.options.global_batch / order.micro_batch_size;
      if (micro_batches > 3 || checked >= 40) continue;
      ++checked;
      const Plan plan = make_plan(order.cuts, order.devices, std::vector<int>{2, 1}, order.micro_batch_size,
                                  instance.options.global_batch, "1f1b");
      const double optimum = best_of_all_orders(plan, instance.profile, instance.options.clip);
      EXPECT_LE(order.lower_bound_s, optimum * (1.0 + 1e-9));
      TailorOptions tailor;
      tailor.micro_batches = static_cast<int>(micro_batches);
      tailor.clip = instance.options.clip;
      const Tailored made =
          tailor_schedule(costs_of(plan, instance.profile), order.devices, instance.profile.cluster.size(), tailor);
      EXPECT_GE(made.simulation.iteration.value, optimum * (1.0 - 1e-9));
      EXPECT_LE(made.simulation.iteration.value, optimum * 1.02);
      best += made.simulation.iteration.value <= optimum * (1.0 + 1e-9) ? 1 : 0;
      break;  // one of each instance
    }
  }
  EXPECT_EQ(checked, 40);
  EXPECT_GE(best, 36);
}

/// The bound of free_order.h for one pipeline, by its formulas and whole sums.
double plain_bound(const Plan& plan, const Profile& profile, bool clip) {
  struct Stage {
    double forward, gradient, backward, update;
    double f = 0.0, b = 0.0;  // between it and the stage before
  };
  const PipelineCosts costs = costs_of(plan, profile);
  const double overhead = costs.action_overhead.value;
  const auto m = static_cast<double>(plan.micro_batches);
  std::vector<Stage> stages;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StageCosts& cost = costs.stages[static_cast<std::size_t>(s)];
    const double input = cost.backward_input.value + overhead;
    const double whole = cost.backward.value + overhead;
    Stage stage{cost.forward.value + overhead, std::min(input, whole),
                std::min(input + cost.backward_weight.value + overhead, whole), cost.update.value + overhead};
    if (s > 0) {
      Stage& before = stages.back();
      const int sender = plan.stages[static_cast<std::size_t>(s) - 1].replicas[0].device;
      const int here = plan.stages[static_cast<std::size_t>(s)].replicas[0].device;
      const StageCosts& boundary = costs.stages[static_cast<std::size_t>(s) - 1];
      stage.f = costs.transfer(sender, here, boundary.boundary_forward).value;
      stage.b = costs.transfer(here, sender, boundary.boundary_backward).value;
      if (costs.codec) {
        const CodecTimes ahead = costs.codec({s - 1, Pass::Forward}, sender, here, 0);
        const CodecTimes back = costs.codec({s - 1, Pass::Backward}, here, sender, 0);
        before.forward += ahead.encode.value;
        before.gradient += back.decode.value;
        before.backward += back.decode.value;
        stage.forward += ahead.decode.value;
        stage.gradient += back.encode.value;
        stage.backward += back.encode.value;
      }
    }
    stages.push_back(stage);
  }
  double trip = 0.0;
  for (const Stage& stage : stages) trip += stage.f + stage.forward + stage.gradient + stage.b;
  double up = 0.0, down = stages[0].backward - stages[0].gradient, bound = 0.0, longest = 0.0;
  for (const Stage& stage : stages) {
    up += stage.f;
    down += stage.b;
    trip -= stage.f + stage.forward + stage.gradient + stage.b;
    const double forwards = std::max(m * stage.forward, stage.forward + trip);
    bound = std::max({bound, up + forwards + m * stage.gradient + down,
                      up + forwards + m * stage.backward + (clip ? 0.0 : stage.update),
                      up + stage.forward + trip + stage.gradient + (m - 1.0) * std::max(stage.f, stage.b) + down});
    up += stage.forward;
    down += stage.gradient;
    longest = std::max(longest, stage.update);
  }
  return bound + (clip ? costs.norm_exchange.value + longest : 0.0);
}

TEST(Tailored, TheBoundIsTheLeastOfAllPipelinesAndCutsAreListedByTheirs) {
  int pipelines = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    Instance instance = two_stages(seed);
    instance.options.max_stages = 3;
    const Profile& profile = instance.profile;
    const int layers = static_cast<int>(profile.model.layers.size());
    const int devices = profile.cluster.size();
    if (devices < 2 || layers < 2) continue;
    double least = kInfinity;
    const auto look_at = [&](std::vector<int> cuts, std::vector<int> on) {
      for (const std::int64_t size : micro_batch_sizes(profile.model, instance.options)) {
        const Plan plan = make_plan(cuts, on, textbook_warm_up(static_cast<int>(on.size())), size,
                                    instance.options.global_batch, "1f1b");
        least = std::min(least, plain_bound(plan, profile, instance.options.clip));
        ++pipelines;
      }
    };
    for (int a = 0; a < devices; ++a) {
      for (int b = 0; b < devices; ++b) {
        if (a == b) continue;
        for (int cut = 1; cut < layers; ++cut) look_at({0, cut, layers}, {a, b});
        for (int c = 0; c < devices; ++c) {
          if (c == a || c == b) continue;
          for (int first = 1; first + 1 < layers; ++first) {
            for (int second = first + 1; second < layers; ++second) look_at({0, first, second, layers}, {a, b, c});
          }
        }
      }
    }
    const FreeOrders orders = find_free_orders(profile, instance.options, kInfinity, 50);
    ASSERT_FALSE(orders.best.empty());
    EXPECT_TRUE(orders.complete);
    EXPECT_NEAR(orders.lower_bound_s, least, 1e-9 * least);
    EXPECT_EQ(orders.best.front().lower_bound_s, orders.lower_bound_s);
    for (const FreeOrder& order : orders.best) {
      const Plan plan = make_plan(order.cuts, order.devices, textbook_warm_up(static_cast<int>(order.devices.size())),
                                  order.micro_batch_size, instance.options.global_batch, "1f1b");
      EXPECT_NEAR(order.lower_bound_s, plain_bound(plan, profile, instance.options.clip), 1e-9 * least);
    }
    // A ceiling leaves out what lies above it, and a budget that ends the search leaves a bound that holds.
    const FreeOrders below = find_free_orders(profile, instance.options, 1.1 * least, 1000);
    for (const FreeOrder& order : below.best) EXPECT_LT(order.lower_bound_s, 1.1 * least);
    EXPECT_NEAR(below.lower_bound_s, least, 1e-9 * least);
    SearchOptions little = instance.options;
    little.max_expansions = 5;
    const FreeOrders ended = find_free_orders(profile, little, kInfinity, 1000);
    EXPECT_LE(ended.lower_bound_s, least * (1.0 + 1e-9));
  }
  EXPECT_GT(pipelines, 3000);
}

TEST(Tailored, ListsPipelinesThatDifferByDevicesOfATypeOnce) {
  Instance instance = two_stages(3);
  Profile& profile = instance.profile;
  profile.cluster = {};
  const std::string type = profile.model.devices.begin()->first;
  for (int d = 0; d < 3; ++d) {  // alike but for their links
    profile.cluster.devices.push_back({fmt::format("rank{}", d), fmt::format("host{}", d), type, Bytes{1 << 30}, 0.0});
    profile.cluster.links.emplace_back();
    for (int to = 0; to < 3; ++to) {
      profile.cluster.links.back().push_back(TransferCurve({{Bytes{1000}, Seconds{1e-4 * (1 + d + 3 * to)}}}));
    }
  }
  const FreeOrders orders = find_free_orders(profile, instance.options, kInfinity, 1000);
  ASSERT_GT(orders.best.size(), 1U);
  std::set<std::pair<std::int64_t, std::vector<int>>> listed;
  for (const FreeOrder& order : orders.best) EXPECT_TRUE(listed.insert({order.micro_batch_size, order.cuts}).second);
  // Of two devices, those that hear and are heard soonest.
  EXPECT_EQ(orders.best.front().devices, (std::vector<int>{1, 0}));
}

TEST(Tailored, WithTooManyDevicesForItsTablesTheBoundStillHolds) {
  const SearchOptions options = synthetic_options();
  for (const std::uint64_t seed : {1U, 2U}) {
    SCOPED_TRACE(seed);
    Profile profile = synthetic_profile({12, 24, 4, 6, seed});
    for (int d = 0; d < 24; ++d) profile.cluster.devices[static_cast<std::size_t>(d)].memory += Bytes{d};  // none alike
    SearchOptions little = options;
    little.max_expansions = 20'000;
    const FreeOrders orders = find_free_orders(profile, little, kInfinity, 100);
    EXPECT_FALSE(orders.complete);
    ASSERT_FALSE(orders.best.empty());
    const SearchResult found = find_plan("parametric", profile, options);
    ASSERT_TRUE(std::holds_alternative<Found>(found));
    EXPECT_LE(orders.lower_bound_s, std::get<Found>(found).plan.prediction->iteration.value);
    EXPECT_GT(orders.lower_bound_s, 0.3 * std::get<Found>(found).plan.prediction->iteration.value);
  }
}

TEST(Tailored, IsNeverSlowerThanExactAndItsOwnBoundHolds) {
  int faster = 0;
  int solved = 0;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    Instance instance = random_instance(seed);
    instance.options.allow = {};
    instance.options.objective = Objective::Iteration;
    SearchOptions named = instance.options;
    named.schedules = {"1f1b", "gpipe", "zero-bubble"};
    const SearchResult exact = plan_exact(instance.profile, named);
    const SearchResult result = plan_tailored(instance.profile, instance.options);
    ASSERT_EQ(std::holds_alternative<Infeasible>(exact), std::holds_alternative<Infeasible>(result));
    if (std::holds_alternative<Infeasible>(result)) continue;
    ++solved;
    const Plan& plan = std::get<Found>(result).plan;
    const double best = std::get<Found>(exact).plan.prediction->iteration.value;
    const double iteration = plan.prediction->iteration.value;
    EXPECT_LE(iteration, best);
    EXPECT_LE(plan.certificate->lower_bound.value, iteration);
    faster += iteration < 0.999 * best ? 1 : 0;
    EXPECT_FALSE(price(plan, instance.profile, instance.options.clip).shortfall.has_value());
    EXPECT_EQ(price(plan, instance.profile, instance.options.clip).prediction.iteration.value, iteration);
    SearchOptions one_thread = instance.options;
    one_thread.threads = 1;
    const SearchResult again = plan_tailored(instance.profile, one_thread);
    EXPECT_EQ(std::get<Found>(again).plan.actions, plan.actions);
  }
  EXPECT_GT(solved, 15);
  EXPECT_GT(faster, solved / 4);
}

TEST(Tailored, AsksExactAgainOnlyWhereItsOwnPlansAreNotNearTheirBound) {
  SearchOptions options;
  options.global_batch = 32;
  options.max_expansions = 40'000;  // "exact" alone does not end within them
  const Profile profile = plain_profile(24, {0, 1, 2, 3, 0, 1}, 1e8);
  SearchOptions named = options;
  named.schedules = {"1f1b", "gpipe", "zero-bubble"};
  EXPECT_FALSE(found(plan_exact(profile, named)).statistics.complete);
  const Found near = found(plan_tailored(profile, options));
  ASSERT_LE(near.plan.certificate->gap, 1e-3);
  EXPECT_TRUE(near.statistics.complete);

  // The bound does not look at what messages share.
  Profile shared = profile;
  for (const Device& device : shared.cluster.devices) {
    shared.cluster.hosts.push_back({device.host, "", BytesPerSecond{6e4}, BytesPerSecond{6e4}});
  }
  const Found far = found(plan_tailored(shared, options));
  EXPECT_GT(far.plan.certificate->gap, 1e-3);
  EXPECT_FALSE(far.statistics.complete);
}

TEST(Tailored, RefusesOtherObjectives) {
  Instance instance = two_stages(1);
  instance.options.objective = Objective::Bottleneck;
  EXPECT_THROW((void)plan_tailored(instance.profile, instance.options), InputError);
}

}  // namespace
}  // namespace motley
