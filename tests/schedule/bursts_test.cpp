#include <gtest/gtest.h>

#include <random>

#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"
#include "random_schedule.h"

namespace motley {
namespace {

std::vector<Burst> random_bursts(std::uint64_t seed, int ranks) {
  std::mt19937_64 random(seed);
  std::vector<Burst> bursts;
  for (int rank = 0; rank < ranks; ++rank) {
    const double credit = std::uniform_real_distribution<double>(-0.2, 1.0)(random);  // some have none
    bursts.push_back({Seconds{std::max(0.0, credit)}, std::uniform_real_distribution<double>(1.0, 5.0)(random)});
  }
  return bursts;
}

double work_of(const Action& action, const PipelineCosts& costs, int rank) {
  const StageCosts& of = costs.of(action.stage, rank);
  const Seconds work = action.op == Op::Forward          ? of.forward
                       : action.op == Op::Backward       ? of.backward
                       : action.op == Op::BackwardInput  ? of.backward_input
                       : action.op == Op::BackwardWeight ? of.backward_weight
                                                         : of.update;
  return (work + costs.action_overhead).value;
}

TEST(Bursts, ARankThatHasWaitedIsSoonAheadAndByNoMoreThanItsCredit) {
  Schedule schedule;
  schedule.ranks = {{{Op::Forward, 0, 0}, {Op::Backward, 0, 0}}, {{Op::Forward, 1, 0}, {Op::Backward, 1, 0}}};
  PipelineCosts costs;
  StageCosts stage;
  stage.forward = Seconds{1.0};
  stage.backward = Seconds{2.0};
  costs.stages = {stage, stage};
  costs.transfer = [](int, int, Bytes) { return Seconds{}; };
  const Schedule lowered = add_transfers(schedule);
  EXPECT_DOUBLE_EQ(simulate(lowered, costs).iteration.value, 6.0);
  // It has waited 1 s. Twice as fast, 1 s of work takes 0.5 s less; the credit may end that sooner.
  costs.bursts = {{}, {Seconds{0.5}, 2.0}};
  EXPECT_DOUBLE_EQ(simulate(lowered, costs).iteration.value, 5.5);
  costs.bursts = {{}, {Seconds{0.3}, 2.0}};
  EXPECT_DOUBLE_EQ(simulate(lowered, costs).iteration.value, 5.7);
  // What F leaves of it B has.
  costs.bursts = {{}, {Seconds{0.9}, 2.0}};
  EXPECT_DOUBLE_EQ(simulate(lowered, costs).iteration.value, 5.1);
  costs.bursts = {{}, {Seconds{5.0}, 2.0}};
  EXPECT_DOUBLE_EQ(simulate(lowered, costs).iteration.value, 5.0) << "no more is earned than was waited";
}

// A bucket filled and emptied in small steps of time.
TEST(Bursts, DoInEveryActionTheWorkThatATokenBucketDoes) {
  constexpr double kStep = 2e-4;
  int gained = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Schedule compute = random_schedule(seed);
    PipelineCosts costs = random_costs(seed, compute);
    const int ranks = static_cast<int>(compute.ranks.size());
    costs.bursts = random_bursts(seed, ranks);
    const Simulation simulation =
        simulate(add_transfers(with_updates(compute, seed % 2 == 0)), costs, {.events = true});
    for (int rank = 0; rank < ranks; ++rank) {
      const Burst& burst = costs.bursts[static_cast<std::size_t>(rank)];
      double now = 0.0;
      double credit = 0.0;
      for (const Event& event : simulation.events) {
        if (event.rank != rank || event.to >= 0) continue;
        credit = std::min(burst.credit.value, credit + event.start.value - now);
        double done = 0.0;
        now = event.start.value;
        while (now < event.end.value) {
          const double speed = credit > 0.0 ? burst.speed_up : 1.0;
          done += speed * kStep;
          credit = std::max(0.0, credit - (speed - 1.0) * kStep);
          now += kStep;
        }
        now = event.end.value;
        const double work = work_of(event.action, costs, rank);
        EXPECT_NEAR(done, work, 12 * kStep) << "seed " << seed << ", rank " << rank << ", " << to_string(event.action);
        gained += (event.end - event.start).value < work - 1e-9;
      }
    }
  }
  EXPECT_GT(gained, 300);
}

TEST(Bursts, MakeNoIterationLonger) {
  int shorter = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Schedule compute = random_schedule(seed);
    PipelineCosts costs = random_costs(seed, compute);
    const Schedule lowered = add_transfers(with_updates(compute, true));
    const double without = simulate(lowered, costs).iteration.value;
    costs.bursts = random_bursts(seed, static_cast<int>(compute.ranks.size()));
    const double with = simulate(lowered, costs).iteration.value;
    EXPECT_LE(with, without * (1 + 1e-12)) << "seed " << seed;
    shorter += with < without;
  }
  EXPECT_GT(shorter, 150);
}

}  // namespace
}  // namespace motley
