#include "motley/schedule/generators.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "motley/base/error.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

constexpr double kForward = 1.0;
constexpr double kBackward = 2.5;

PipelineCosts uniform_costs(int stages) {
  StageCosts cost;
  cost.forward = Seconds{kForward};
  cost.backward = Seconds{kBackward};
  PipelineCosts costs;
  costs.stages.assign(static_cast<std::size_t>(stages), cost);
  costs.transfer = [](int, int, Bytes) { return Seconds{0.0}; };
  return costs;
}

/// Over numbers of stages, each with several numbers of micro-batches, also fewer than stages.
class Grid : public testing::TestWithParam<int> {
 protected:
  const int stages = GetParam();
};

constexpr int kMicroBatches[] = {1, 2, 3, 4, 5, 7, 8, 12, 16};

TEST_P(Grid, BothHaveTheTextbookTimeAndBubble) {
  for (const int micro_batches : kMicroBatches) {
    SCOPED_TRACE(micro_batches);
    for (const Schedule& compute : {one_f_one_b(stages, micro_batches), gpipe(stages, micro_batches)}) {
      ASSERT_TRUE(validate(compute).empty());
      const Schedule lowered = add_transfers(compute);
      ASSERT_TRUE(validate(lowered).empty());
      const Simulation simulation = simulate(lowered, uniform_costs(stages));
      const double busy = micro_batches * (kForward + kBackward);
      const double bubble = (stages - 1) * (kForward + kBackward);
      EXPECT_DOUBLE_EQ(simulation.iteration.value, busy + bubble);
      EXPECT_NEAR(simulation.bubble_share, bubble / (busy + bubble), 1e-12);
      for (const Seconds rank_busy : simulation.busy) EXPECT_DOUBLE_EQ(rank_busy.value, busy);
    }
  }
}

TEST_P(Grid, OneFOneBKeepsAtMostStagesMinusStageInFlight) {
  for (const int micro_batches : kMicroBatches) {
    SCOPED_TRACE(micro_batches);
    const Simulation simulation = simulate(add_transfers(one_f_one_b(stages, micro_batches)), uniform_costs(stages));
    for (int stage = 0; stage < stages; ++stage) {
      EXPECT_EQ(simulation.peak_in_flight[stage], std::min(micro_batches, stages - stage));
    }
  }
}

TEST_P(Grid, GPipeKeepsAllInFlight) {
  for (const int micro_batches : kMicroBatches) {
    SCOPED_TRACE(micro_batches);
    const Simulation simulation = simulate(add_transfers(gpipe(stages, micro_batches)), uniform_costs(stages));
    EXPECT_THAT(simulation.peak_in_flight, testing::Each(micro_batches));
  }
}

TEST_P(Grid, WarmUpDepthIsWhatIsInFlight) {
  for (const int micro_batches : kMicroBatches) {
    SCOPED_TRACE(micro_batches);
    for (int extra = 1; extra <= 3; ++extra) {
      std::vector<int> depths;
      for (int stage = 0; stage < stages; ++stage) depths.push_back(extra * (stages - stage));
      const Schedule compute = one_f_one_b(stages, micro_batches, depths);
      EXPECT_TRUE(validate(add_transfers(compute)).empty());
      for (int stage = 0; stage < stages; ++stage) {
        const std::vector<Action>& row = compute.ranks[stage];
        const auto first_backward =
            std::find_if(row.begin(), row.end(), [](const Action& action) { return action.op == Op::Backward; });
        EXPECT_EQ(first_backward - row.begin(), std::min(micro_batches, depths[stage]));
        int most = 0, now = 0;
        for (const Action& action : row) most = std::max(most, now += action.op == Op::Forward ? 1 : -1);
        EXPECT_EQ(most, std::min(micro_batches, depths[stage]));
      }
    }
  }
}

TEST_P(Grid, ForwardOnlyIsAFullPipeline) {
  for (const int micro_batches : kMicroBatches) {
    SCOPED_TRACE(micro_batches);
    const Schedule lowered = add_transfers(forward_only(stages, micro_batches));
    EXPECT_TRUE(validate(lowered).empty());
    EXPECT_DOUBLE_EQ(simulate(lowered, uniform_costs(stages)).iteration.value, (stages + micro_batches - 1) * kForward);
  }
}

TEST_P(Grid, DoesNotDeadlockWhereSendsWaitForTheirReceives) {
  for (const int micro_batches : kMicroBatches) {
    SCOPED_TRACE(micro_batches);
    for (const Schedule& compute : {one_f_one_b(stages, micro_batches), gpipe(stages, micro_batches)}) {
      for (const int ahead : {1, 2, 3}) {
        const auto problems = validate(add_transfers(compute, ahead), {.sends_wait = true});
        EXPECT_TRUE(problems.empty()) << problems.front().message << ", receives " << ahead << " ahead";
      }
    }
  }
}

/// F = I = W = 1: a tick is one pass.
PipelineCosts ticks(int stages) {
  StageCosts cost;
  cost.forward = cost.backward_input = cost.backward_weight = Seconds{1.0};
  cost.backward = Seconds{2.0};
  PipelineCosts costs;
  costs.stages.assign(static_cast<std::size_t>(stages), cost);
  costs.transfer = [](int, int, Bytes) { return Seconds{0.0}; };
  return costs;
}

TEST_P(Grid, ZeroBubbleH1HasThePapersBubbleInTheMemoryOf1F1B) {
  std::vector<int> textbook;
  for (int stage = 0; stage < stages; ++stage) textbook.push_back(stages - stage);
  for (const int micro_batches : kMicroBatches) {
    SCOPED_TRACE(micro_batches);
    const Schedule compute = zero_bubble(stages, micro_batches, textbook);
    const Schedule lowered = add_transfers(compute);
    EXPECT_TRUE(validate(lowered).empty());
    const Simulation simulation = simulate(lowered, ticks(stages));
    // The last stage's work after the first forwards, or a pipeline that never fills: forwards up, gradients down.
    EXPECT_DOUBLE_EQ(simulation.iteration.value,
                     std::max(3 * micro_batches + stages - 1, 2 * (stages + micro_batches) - 1));
    for (const int in_flight : simulation.peak_in_flight) EXPECT_LE(in_flight, std::min(micro_batches, stages));
  }
}

TEST_P(Grid, InterleavingDividesTheBubbleByTheStagesOfARank) {
  const int ranks = stages;
  for (int local = 1; local <= 3; ++local) {
    for (const int rounds : {1, 2, 3}) {
      const int micro_batches = ranks * rounds;
      SCOPED_TRACE(testing::Message() << local << " stages a rank, " << micro_batches << " micro-batches");
      const Schedule compute = interleaved_one_f_one_b(ranks, ranks * local, micro_batches);
      EXPECT_TRUE(validate(add_transfers(compute)).empty());
      const Simulation simulation = simulate(add_transfers(compute), uniform_costs(ranks * local));
      EXPECT_NEAR(simulation.iteration.value, (kForward + kBackward) * (micro_batches * local + ranks - 1), 1e-9);
    }
  }
}

TEST(Generators, InterleavedWithOneStageARankIs1F1B) {
  for (const int micro_batches : {4, 8, 12}) {
    EXPECT_EQ(interleaved_one_f_one_b(4, 4, micro_batches),
              one_f_one_b(4, micro_batches, std::vector<int>{7, 5, 3, 1}));
  }
}

INSTANTIATE_TEST_SUITE_P(Stages, Grid, testing::Range(1, 9));

TEST(Generators, CountsAndDepthsThatCannotRunAreRefused) {
  EXPECT_THROW((void)one_f_one_b(0, 4), InputError);
  EXPECT_THROW((void)gpipe(2, 0), InputError);
  EXPECT_THROW((void)one_f_one_b(2, 4, std::vector<int>{1}), InputError);
  EXPECT_THROW((void)one_f_one_b(2, 4, std::vector<int>{0, 0}), InputError);
  EXPECT_THROW((void)one_f_one_b(2, 4, std::vector<int>{1, 2}), InputError);
  EXPECT_THROW((void)zero_bubble(2, 0, std::vector<int>{2, 1}), InputError);
  EXPECT_THROW((void)zero_bubble(2, 4, std::vector<int>{1, 2}), InputError);
  EXPECT_THROW((void)zero_bubble(0, 4, {}), InputError);
  EXPECT_THROW((void)interleaved_one_f_one_b(2, 3, 4), InputError);
  EXPECT_THROW((void)interleaved_one_f_one_b(2, 4, 0), InputError);
  EXPECT_THROW((void)interleaved_one_f_one_b(3, 6, 16), InputError);
  EXPECT_THROW((void)make_schedule("3f3b", 4, std::vector<int>{2, 1}), InputError);
}

TEST(Generators, PlaceMovesRowsAndUpdatesEndThem) {
  const std::vector<int> ranks{2, 0};
  const Schedule placed = place(one_f_one_b(2, 1), ranks, 3);
  EXPECT_EQ(to_csv(placed), "1F0,1B0\n\n0F0,0B0\n");
  EXPECT_EQ(to_csv(with_updates(placed, true)), "1F0,1B0,1NORM,1UPDATE\n\n0F0,0B0,0NORM,0UPDATE\n");
  EXPECT_EQ(to_csv(with_updates(placed, false)), "1F0,1B0,1UPDATE\n\n0F0,0B0,0UPDATE\n");
  EXPECT_THROW((void)place(gpipe(2, 1), std::vector<int>{1, 1}, 2), InputError);
  EXPECT_THROW((void)place(gpipe(2, 1), std::vector<int>{0, 2}, 2), InputError);
}

Plan three_stages(const std::string& schedule) {
  Plan plan;
  plan.schedule = schedule;
  plan.micro_batch_size = 2;
  plan.micro_batches = 4;
  for (const int device : {2, 0, 3}) {
    StagePlan stage;
    stage.first_layer = plan.stage_count();
    stage.end_layer = stage.first_layer + 1;
    stage.replicas = {{device, 0, 2}};
    plan.stages.push_back(stage);
  }
  return plan;
}

TEST(ComputeSchedule, IsThePlansGeneratorOnThePlansDevices) {
  const std::vector<int> devices{2, 0, 3};
  Plan plan = three_stages("1f1b");
  EXPECT_EQ(compute_schedule(plan, 4), place(one_f_one_b(3, 4), devices, 4));
  plan.stages[0].warm_up = 4;
  EXPECT_EQ(compute_schedule(plan, 4), place(one_f_one_b(3, 4, std::vector<int>{4, 2, 1}), devices, 4));
  plan.schedule = "zero-bubble";
  EXPECT_EQ(compute_schedule(plan, 4), place(zero_bubble(3, 4, std::vector<int>{4, 2, 1}), devices, 4));
  plan.schedule = "gpipe";
  EXPECT_EQ(compute_schedule(plan, 4), place(gpipe(3, 4), devices, 4));
  plan.schedule = "interleaved-1f1b";
  plan.stages[2].replicas[0].device = 2;
  plan.stages.push_back(plan.stages[1]);
  EXPECT_EQ(compute_schedule(plan, 4), place(interleaved_one_f_one_b(2, 4, 4), std::vector<int>{2, 0}, 4));
}

TEST(ComputeSchedule, ReadsAListedPlansRowsAndSaysWhatDoesNotFit) {
  const Schedule rows = compute_schedule(three_stages("zero-bubble"), 4);
  Plan plan = three_stages("listed");
  plan.actions = csv_rows(rows);
  EXPECT_EQ(compute_schedule(plan, 4), rows);
  EXPECT_EQ(compute_schedule(plan, 6).rank_count(), 6);
  const auto complaint = [&](int devices = 4) -> std::string {
    try {
      (void)compute_schedule(plan, devices);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(complaint(3), testing::HasSubstr("plan: actions: found 4 rows, expected at most 3"));
  plan.micro_batches = 5;
  EXPECT_THAT(complaint(), testing::HasSubstr("plan: actions: found 4 micro-batches, expected 5"));
  plan.micro_batches = 4;
  std::swap(plan.actions[0], plan.actions[2]);
  EXPECT_THAT(complaint(), testing::HasSubstr("stage 0 is computed by device 0, in stages by device 2"));
  plan.actions[0] = "0X1";
  EXPECT_THAT(complaint(), testing::HasSubstr("plan: actions"));
}

}  // namespace
}  // namespace motley
