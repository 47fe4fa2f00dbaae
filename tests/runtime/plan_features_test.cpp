// What a plan may ask for beyond one device a stage: replicas, recomputation, wire formats. Each against the plain
// loop.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "comm/ranks.h"
#include "motley/plan/wire.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

constexpr int kSteps = 3;
constexpr int kMicroBatches = 4;

std::vector<Workload> workloads() {
  return {small_router(), small_transformer()};
}

double relative(double a, double b) {
  return std::abs(a - b) / std::max(std::abs(a), std::abs(b));
}

struct Replicated {
  std::string name;
  Shares shares;
  int ranks;
};

/// Two samples a micro-batch: a replica has one of them.
std::vector<Replicated> replicated_plans() {
  const std::vector<Share> both_01{{0, 0, 1}, {1, 1, 2}};
  return {{"data parallel", {both_01}, 2},
          {"two, then one", {both_01, {{2, 0, 2}}}, 3},
          {"one, then two", {{{0, 0, 2}}, {{1, 0, 1}, {2, 1, 2}}}, 3},
          {"two and two", {both_01, {{2, 0, 1}, {3, 1, 2}}}, 4},
          {"two and two, crossed", {both_01, {{3, 0, 1}, {2, 1, 2}}}, 4},
          {"one, two, one", {{{3, 0, 2}}, both_01, {{2, 0, 2}}}, 4}};
}

Schedule replicated(const Schedule& one_each, const Shares& shares, int rank_count) {
  std::vector<int> first;
  for (const auto& stage : shares) first.push_back(stage.front().rank);
  return replicate(place(one_each, first, rank_count), shares);
}

TEST(PlanFeatures, ReplicasAgreeWithThePlainLoopAndBitForBitWithEachOther) {
  for (const Workload& workload : workloads()) {
    const Outcome plain = plain_loop(workload, kMicroBatches, kSteps);
    for (const Replicated& plan : replicated_plans()) {
      const int stages = static_cast<int>(plan.shares.size());
      std::vector<int> depths;
      for (int s = 0; s < stages; ++s) depths.push_back(stages - s);
      for (const Schedule& one_each :
           {one_f_one_b(stages, kMicroBatches), zero_bubble(stages, kMicroBatches, depths)}) {
        SCOPED_TRACE(fmt::format("{}: {}", workload.name, plan.name));
        const Schedule compute = replicated(one_each, plan.shares, plan.ranks);
        std::vector<Outcome> outcomes(static_cast<std::size_t>(plan.ranks));
        RunOptions options;
        options.shares = plan.shares;
        run_ranks(plan.ranks, with_deadline(20), [&](Communicator& communicator) {
          outcomes[static_cast<std::size_t>(communicator.rank())] =
              train(communicator, workload, even_cuts(workload, stages), compute, kSteps, options);
        });
        for (const Outcome& outcome : outcomes) {
          EXPECT_EQ(outcome.losses, outcomes.front().losses);
          EXPECT_EQ(outcome.norms, outcomes.front().norms);
        }
        EXPECT_LT(relative(outcomes.front().losses[0], plain.losses[0]), 1e-6);
        EXPECT_LT(relative(outcomes.front().norms[0], plain.norms[0]), 1e-5);
        // AdamW's first steps depend on little but signs: sums that differ in the last bit may part a weight by more.
        EXPECT_LT(relative(outcomes.front().losses[kSteps - 1], plain.losses[kSteps - 1]), 1e-4);
        for (const auto& stage : plan.shares) {
          for (std::size_t layer = 0; layer < plain.weights.size(); ++layer) {
            const at::Tensor& first = outcomes[static_cast<std::size_t>(stage.front().rank)].weights[layer];
            for (const Share& replica : stage) {
              const at::Tensor& other = outcomes[static_cast<std::size_t>(replica.rank)].weights[layer];
              ASSERT_EQ(first.defined(), other.defined());
              EXPECT_TRUE(!first.defined() || at::equal(first, other)) << "layer " << layer;
            }
          }
        }
      }
    }
  }
}

TEST(PlanFeatures, RecomputationChangesNoBit) {
  for (const Workload& workload : workloads()) {
    const Outcome plain = plain_loop(workload, kMicroBatches, kSteps);
    for (const std::vector<bool>& recompute :
         {std::vector{true, true, true}, {true, false, false}, {false, true, true}}) {
      for (const Schedule& compute : {one_f_one_b(3, kMicroBatches), gpipe(3, kMicroBatches),
                                      zero_bubble(3, kMicroBatches, std::vector<int>{3, 2, 1})}) {
        run_ranks(3, with_deadline(20), [&](Communicator& communicator) {
          const Outcome found =
              train(communicator, workload, even_cuts(workload, 3), with_recompute(compute, recompute), kSteps);
          EXPECT_EQ(found.losses, plain.losses);
          EXPECT_EQ(found.norms, plain.norms);
          for (std::size_t layer = 0; layer < plain.weights.size(); ++layer) {
            EXPECT_TRUE(!found.weights[layer].defined() || at::equal(found.weights[layer], plain.weights[layer]));
          }
        });
      }
    }
  }
}

TEST(PlanFeatures, RoundedEdgesTrainNearlyTheSameAndTheSameEveryTime) {
  for (const Workload& workload : workloads()) {
    const Outcome plain = plain_loop(workload, kMicroBatches, kSteps);
    for (const auto& [wire, tolerance] : {std::pair(Wire::BFloat16, 0.01), std::pair(Wire::Int8, 0.03)}) {
      RunOptions options;
      options.wires = {wire, Wire::Float32, wire};
      std::vector<std::vector<double>> losses;
      for (int time = 0; time < 2; ++time) {
        run_ranks(3, with_deadline(20), [&](Communicator& communicator) {
          const Outcome found =
              train(communicator, workload, even_cuts(workload, 3), one_f_one_b(3, kMicroBatches), kSteps, options);
          if (communicator.rank() == 0) losses.push_back(found.losses);
        });
      }
      EXPECT_EQ(losses[0], losses[1]);
      EXPECT_NE(losses[0], plain.losses) << "nothing was rounded";
      EXPECT_LT(relative(losses[0][kSteps - 1], plain.losses[kSteps - 1]), tolerance);
    }
  }
}

TEST(PlanFeatures, RoundedEdgesSendTheBytesThatThePlanSays) {
  const Workload workload = small_transformer();
  const std::vector<int> cuts = even_cuts(workload, 2);
  const Boundary boundary = boundaries_of(workload)[static_cast<std::size_t>(cuts[1])];
  for (const std::string name : {"float32", "bfloat16", "int8"}) {
    run_ranks(2, with_deadline(20), [&](Communicator& communicator) {
      RunOptions options;
      options.wires = {wire_by_name(name), Wire::Float32};
      const Bytes before = communicator.statistics().peers[static_cast<std::size_t>(1 - communicator.rank())].sent;
      (void)train(communicator, workload, cuts, one_f_one_b(2, kMicroBatches), 1, options);
      const Bytes sent =
          communicator.statistics().peers[static_cast<std::size_t>(1 - communicator.rank())].sent - before;
      const Pass pass = communicator.rank() == 0 ? Pass::Forward : Pass::Backward;
      const Bytes expected = kMicroBatches * wire_bytes(boundary, kMicroBatchSize, name, pass);
      // Beside them the step's exchange of norms.
      EXPECT_GE(sent, expected);
      EXPECT_LT(sent.value, expected.value + 300);
    });
  }
}

}  // namespace
}  // namespace motley
