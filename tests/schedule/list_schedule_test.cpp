#include "motley/schedule/list_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

struct Instance {
  PipelineCosts costs;
  std::vector<int> ranks;
  int rank_count = 0;
  int micro_batches = 0;
  ListOptions options;
};

Instance random_instance(std::mt19937_64& engine) {
  const auto whole = [&](int least, int most) { return std::uniform_int_distribution<int>(least, most)(engine); };
  const auto real = [&](double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(engine);
  };
  Instance instance;
  instance.rank_count = whole(1, 4);
  const int stages = whole(1, 6);
  instance.micro_batches = whole(1, 9);
  for (int s = 0; s < stages; ++s) {
    StageCosts cost;
    cost.forward = Seconds{real(0.2, 3.0)};
    cost.backward_input = Seconds{real(0.2, 3.0)};
    cost.backward_weight = Seconds{real(0.0, 3.0)};
    cost.backward = cost.backward_input + cost.backward_weight;
    cost.boundary_forward = cost.boundary_backward = Bytes{whole(0, 100)};
    instance.costs.stages.push_back(cost);
    instance.ranks.push_back(whole(0, instance.rank_count - 1));
    instance.options.depth.push_back(whole(1, 5));
    instance.options.in_flight.push_back(whole(1, 6));
  }
  const double rate = real(10.0, 1000.0);
  instance.costs.transfer = [rate](int, int, Bytes bytes) { return bytes / BytesPerSecond{rate}; };
  instance.options.patience = real(0.0, 1.0);
  instance.options.alternate = whole(0, 1) == 1;
  instance.options.fused = whole(0, 1) == 1;
  return instance;
}

Schedule schedule_of(const Instance& instance) {
  return list_schedule(instance.costs, instance.ranks, instance.rank_count, instance.micro_batches, instance.options);
}

TEST(ListSchedule, IsValidAndKeepsItsLimitsWhateverTheCosts) {
  std::mt19937_64 engine(7);
  for (int round = 0; round < 400; ++round) {
    SCOPED_TRACE(round);
    const Instance instance = random_instance(engine);
    const Schedule compute = schedule_of(instance);
    for (const Schedule& schedule : {compute, add_transfers(compute, 1), add_transfers(compute)}) {
      const auto problems = validate(schedule);
      ASSERT_TRUE(problems.empty()) << problems.front().message << '\n' << to_csv(schedule);
    }
    for (std::size_t s = 0; s < instance.ranks.size(); ++s) {
      int forwards = 0, inputs = 0, weights = 0;
      for (const Action& action : compute.ranks[static_cast<std::size_t>(instance.ranks[s])]) {
        if (action.stage != static_cast<int>(s)) continue;
        forwards += action.op == Op::Forward ? 1 : 0;
        inputs += action.op == Op::BackwardInput || action.op == Op::Backward ? 1 : 0;
        weights += action.op == Op::BackwardWeight || action.op == Op::Backward ? 1 : 0;
        EXPECT_LE(forwards - inputs, instance.options.depth[s]);
        EXPECT_LE(forwards - weights, instance.options.in_flight[s]);
      }
      EXPECT_EQ(weights, instance.micro_batches);
    }
  }
}

TEST(ListSchedule, TakesTheTimeThatTheSimulatorReplays) {
  // Its own clock decides which pass comes next: were it wrong, so would be the order. Without transfers there is
  // nothing that only the simulator knows, so a greedy order must leave no rank idle while a pass of it could run.
  std::mt19937_64 engine(11);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(round);
    Instance instance = random_instance(engine);
    instance.costs.transfer = [](int, int, Bytes) { return Seconds{}; };
    instance.options.patience = 0.0;
    instance.options.fused = false;
    SimulateOptions with_events;
    with_events.events = true;
    const Simulation simulation = simulate(schedule_of(instance), instance.costs, with_events);
    std::vector<std::vector<Event>> rows(static_cast<std::size_t>(instance.rank_count));
    for (const Event& event : simulation.events) rows[static_cast<std::size_t>(event.rank)].push_back(event);
    for (const auto& row : rows) {
      int pending = 0;  // weight gradients whose input gradient is done
      double end = 0.0;
      for (const Event& event : row) {
        EXPECT_TRUE(pending == 0 || event.start.value <= end + 1e-9) << to_string(event.action) << " came late";
        pending += event.action.op == Op::BackwardInput ? 1 : event.action.op == Op::BackwardWeight ? -1 : 0;
        end = event.end.value;
      }
    }
  }
}

TEST(ListSchedule, IsThe1F1BOfEqualPassesWhenFused) {
  for (const int stages : {1, 2, 3, 5}) {
    for (const int micro_batches : {1, 3, 8}) {
      Instance instance;
      instance.rank_count = stages;
      instance.micro_batches = micro_batches;
      StageCosts cost;
      cost.forward = Seconds{1.0};
      cost.backward = Seconds{2.0};
      instance.costs.stages.assign(static_cast<std::size_t>(stages), cost);
      instance.costs.transfer = [](int, int, Bytes) { return Seconds{}; };
      for (int s = 0; s < stages; ++s) {
        instance.ranks.push_back(s);
        instance.options.depth.push_back(stages - s);
        instance.options.in_flight.push_back(stages - s);
      }
      instance.options.fused = instance.options.alternate = true;
      EXPECT_EQ(schedule_of(instance), one_f_one_b(stages, micro_batches));
    }
  }
}

TEST(ListSchedule, RefusesWhatDoesNotFit) {
  std::mt19937_64 engine(3);
  const Instance good = random_instance(engine);
  Instance bad = good;
  bad.options.depth.push_back(1);
  EXPECT_THROW((void)schedule_of(bad), InputError);
  bad = good;
  bad.options.in_flight.front() = 0;
  EXPECT_THROW((void)schedule_of(bad), InputError);
  bad = good;
  bad.ranks.front() = bad.rank_count;
  EXPECT_THROW((void)schedule_of(bad), InputError);
  bad = good;
  bad.micro_batches = 0;
  EXPECT_THROW((void)schedule_of(bad), InputError);
}

}  // namespace
}  // namespace motley
