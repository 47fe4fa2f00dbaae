// Invariant 2: losses, gradient norms and weights do not depend on the plan, bit for bit.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

#include "comm/ranks.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/tailor.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

constexpr int kSteps = 3;

struct Case {
  std::string name;
  std::vector<int> cuts;
  Schedule compute;
  RunOptions options = {};
};

void expect_same_bits(const Outcome& expected, const Outcome& found) {
  EXPECT_EQ(expected.losses, found.losses);
  EXPECT_EQ(expected.norms, found.norms);
  for (std::size_t layer = 0; layer < expected.weights.size(); ++layer) {
    if (found.weights[layer].defined()) {
      EXPECT_TRUE(at::equal(expected.weights[layer], found.weights[layer])) << "weights of layer " << layer;
    }
  }
}

/// Runs every case on `ranks` ranks and compares with the plain loop of as many micro-batches.
void expect_plain_loop(const Workload& workload, int ranks, const std::vector<Case>& cases) {
  std::map<int, Outcome> plain;
  for (const Case& c : cases) {
    const int micro_batches = c.compute.micro_batch_count();
    if (!plain.contains(micro_batches)) {
      plain[micro_batches] = plain_loop(workload, micro_batches, kSteps);
    }
  }
  run_ranks(ranks, with_deadline(20), [&](Communicator& communicator) {
    for (const Case& c : cases) {
      SCOPED_TRACE(fmt::format("{}: {} on rank {}", workload.name, c.name, communicator.rank()));
      const Outcome found = train(communicator, workload, c.cuts, c.compute, kSteps, c.options);
      expect_same_bits(plain.at(c.compute.micro_batch_count()), found);
    }
  });
}

std::vector<Workload> workloads() {
  return {small_router(), small_transformer()};
}

TEST(PlainLoop, HalvesOfABlockAsLayersTrainTheSameNetwork) {
  // Weights are drawn by layer, so other layers are another start: the halves get the whole blocks' weights.
  const auto make = [](int per_block) {
    return builtin_workloads().make(
        {.name = "transformer",
         .options = workload_options(fmt::format(
             "width = 16\nheads = 2\nblocks = 2\nsequence = 6\nvocabulary = 20\nlayers_per_block = {}", per_block)),
         .folder = {}});
  };
  const Workload whole = make(1);
  const Workload halves = make(2);
  ASSERT_EQ(whole.layers.size(), 4U);
  ASSERT_EQ(halves.layers.size(), 6U);
  Stage one(whole, 0, 4, {}, kSeed, clipped_adamw());
  Stage other(halves, 0, 6, {}, kSeed, clipped_adamw());
  const auto parameters = [](const Stage& stage) {
    std::vector<at::Tensor> all;
    for (const LayerState& layer : stage.layers()) {
      all.insert(all.end(), layer.parameters().begin(), layer.parameters().end());
    }
    return all;
  };
  const std::vector<at::Tensor> from = parameters(one);
  const std::vector<at::Tensor> to = parameters(other);
  ASSERT_EQ(from.size(), to.size());
  for (std::size_t p = 0; p < from.size(); ++p) to[p].detach().copy_(from[p].detach());
  for (int step = 0; step < kSteps; ++step) {
    const auto samples = batch_of(whole, step, 1);
    for (Stage* stage : {&one, &other}) {
      (void)stage->forward(0, step, {}, whole.data->fetch(stage->reads(), Split::Train, samples), true);
      (void)stage->backward(0, {}, 1.0);
      stage->update(step, 1.0);
    }
    EXPECT_EQ(one.take_loss(), other.take_loss());
  }
}

TEST(PlainLoop, LearnsAndClips) {
  // Else equal bits would show little.
  for (const Workload& workload : workloads()) {
    const Outcome outcome = plain_loop(workload, 3, kSteps);
    EXPECT_NE(outcome.losses[0], outcome.losses[2]);
    EXPECT_GT(outcome.norms[0], clipped_adamw().clip_norm);
    const Outcome longer = plain_loop(workload, 3, kSteps + 1);
    for (std::size_t layer = 0; layer < outcome.weights.size(); ++layer) {
      EXPECT_FALSE(at::equal(outcome.weights[layer], longer.weights[layer]));
    }
  }
}

TEST(PlanInvariance, SchedulesOfTwoToFourStagesGiveTheBitsOfThePlainLoop) {
  for (const Workload& workload : workloads()) {
    for (int stages = 1; stages <= 4; ++stages) {
      std::vector<Case> cases;
      const std::vector<int> cuts = even_cuts(workload, stages);
      for (const int m : {1, 2, 3, 5, 8}) {
        cases.push_back({fmt::format("gpipe {} x {}", stages, m), cuts, gpipe(stages, m)});
        cases.push_back({fmt::format("1f1b {} x {}", stages, m), cuts, one_f_one_b(stages, m)});
        // Depths from one (a single micro-batch in flight anywhere) to more than textbook.
        for (const int extra : {-stages, 1, 3}) {
          std::vector<int> depths;
          for (int s = 0; s < stages; ++s) {
            depths.push_back(std::max(1, stages - s + extra));
          }
          cases.push_back({fmt::format("1f1b {} x {}, warm-up from {}", stages, m, depths[0]), cuts,
                           one_f_one_b(stages, m, depths)});
        }
      }
      expect_plain_loop(workload, stages, cases);
    }
  }
}

TEST(PlanInvariance, UnevenCutsGiveTheBitsOfThePlainLoop) {
  for (const Workload& workload : workloads()) {
    const int layers = static_cast<int>(workload.layers.size());
    std::vector<Case> cases;
    for (int a = 1; a + 1 < layers; ++a) {
      for (int b = a + 1; b < layers; ++b) {
        cases.push_back({fmt::format("cuts {} and {}", a, b), {0, a, b, layers}, one_f_one_b(3, 4)});
      }
    }
    expect_plain_loop(workload, 3, cases);
  }
}

TEST(PlanInvariance, PermutedPlacementsAndIdleRanksGiveTheBitsOfThePlainLoop) {
  for (const Workload& workload : workloads()) {
    std::vector<Case> cases;
    for (const std::vector<int>& ranks : {std::vector{3, 1, 0, 2}, {1, 3, 2, 0}, {2, 0}, {3, 0, 1}, {1}}) {
      const int stages = static_cast<int>(ranks.size());
      cases.push_back({fmt::format("{} stages, the first on rank {}", stages, ranks[0]), even_cuts(workload, stages),
                       place(one_f_one_b(stages, 5), ranks, 4)});
    }
    expect_plain_loop(workload, 4, cases);
  }
}

TEST(PlanInvariance, SeveralStagesOnOneRankGiveTheBitsOfThePlainLoop) {
  for (const Workload& workload : workloads()) {
    expect_plain_loop(workload, 1, {{"two stages of one rank", even_cuts(workload, 2), stage_by_stage({0, 0}, 3, 1)}});
    std::vector<Case> cases;
    // Neighbours hand over in memory; stages 0 and 2 on one rank send to and fro over one channel.
    for (const std::vector<int>& ranks : {std::vector{0, 0, 1, 1}, {0, 1, 0, 1}, {1, 0, 0, 1}, {0, 1, 0}}) {
      cases.push_back({fmt::format("{} stages from rank {}", ranks.size(), ranks[0]),
                       even_cuts(workload, static_cast<int>(ranks.size())), stage_by_stage(ranks, 4, 2)});
    }
    // Interleaved 1F1B (Narayanan et al., 2021) of two ranks, two stages each, two micro-batches.
    cases.push_back({"interleaved", even_cuts(workload, 4),
                     parse_csv("0F0,0F1,2F0,2F1,2B0,2B1,0B0,0B1\n1F0,1F1,3F0,3B0,3F1,3B1,1B0,1B1\n", "interleaved")});
    expect_plain_loop(workload, 2, cases);
  }
}

TEST(PlanInvariance, InputAndWeightGradientsApartGiveTheBitsOfThePlainLoop) {
  for (const Workload& workload : workloads()) {
    std::vector<Case> cases;
    for (const int lag : {0, 1, 2, 99}) {
      cases.push_back({fmt::format("W {} behind", lag), even_cuts(workload, 3), weights_apart(one_f_one_b(3, 5), lag)});
    }
    // ZB-H1 of three stages and four micro-batches, after figure 3 of Qi et al. (ICLR 2024), by hand.
    cases.push_back({"zero bubble", even_cuts(workload, 3),
                     parse_csv("0F0,0F1,0F2,0I0,0F3,0I1,0W0,0I2,0W1,0I3,0W2,0W3\n"
                               "1F0,1F1,1I0,1W0,1F2,1I1,1F3,1I2,1W1,1I3,1W2,1W3\n"
                               "2F0,2I0,2F1,2I1,2W0,2F2,2I2,2W1,2F3,2I3,2W2,2W3\n",
                               "zero bubble")});
    expect_plain_loop(workload, 3, cases);
    expect_plain_loop(workload, 1, {{"alone", even_cuts(workload, 1), weights_apart(one_f_one_b(1, 3), 2)}});
  }
}

TEST(PlanInvariance, ZeroBubbleInterleavedAndTailoredSchedulesGiveTheBitsOfThePlainLoop) {
  for (const Workload& workload : workloads()) {
    std::vector<Case> cases;
    for (const int m : {1, 2, 4, 6}) {
      cases.push_back(
          {fmt::format("zero-bubble x {}", m), even_cuts(workload, 3), zero_bubble(3, m, std::vector<int>{3, 2, 1})});
      cases.push_back({fmt::format("deep zero-bubble x {}", m), even_cuts(workload, 3),
                       zero_bubble(3, m, std::vector<int>{5, 3, 1})});
      // Stages of unlike speed behind slow links.
      PipelineCosts costs;
      for (const double work : {3.0, 1.0, 2.0}) {
        StageCosts cost;
        cost.forward = cost.backward_input = cost.backward_weight = Seconds{work};
        cost.backward = Seconds{1.9 * work};
        cost.boundary_forward = cost.boundary_backward = Bytes{1};
        costs.stages.push_back(cost);
      }
      costs.transfer = [](int from, int to, Bytes) { return Seconds{0.5 * (1 + from + 2 * to)}; };
      TailorOptions options;
      options.micro_batches = m;
      options.evaluations = 400;
      const std::vector<int> ranks{0, 1, 2};
      cases.push_back(
          {fmt::format("tailored x {}", m), even_cuts(workload, 3), tailor_schedule(costs, ranks, 3, options).compute});
    }
    expect_plain_loop(workload, 3, cases);
    expect_plain_loop(workload, 2,
                      {{"interleaved x 4", even_cuts(workload, 4), interleaved_one_f_one_b(2, 4, 4)},
                       {"interleaved x 6", even_cuts(workload, 4), interleaved_one_f_one_b(2, 4, 6)}});
  }
}

TEST(PlanInvariance, OverlapActionsGiveTheBitsOfThePlainLoop) {
  for (const Workload& workload : workloads()) {
    expect_plain_loop(workload, 2,
                      {{"overlap", even_cuts(workload, 2),
                        parse_csv("0F0,0F1,0F2,(0F3;0B0)OVERLAP_F_B,0B1,0B2,0B3\n"
                                  "1F0,(1F1;1B0)OVERLAP_F_B,(1F2;1I1)OVERLAP_F_B,1W1,1F3,1B2,1B3\n",
                                  "overlap")}});
  }
}

TEST(PlanInvariance, NeitherReceivesAheadNorTheNormActionChangeABit) {
  for (const Workload& workload : workloads()) {
    std::vector<Case> cases;
    for (const int ahead : {1, 2, 7}) {
      cases.push_back({fmt::format("{} receives ahead", ahead),
                       even_cuts(workload, 3),
                       one_f_one_b(3, 5),
                       {.receive_ahead = ahead}});
    }
    // Without NORM in the schedule the first UPDATE of a rank exchanges the norms: the clip is the same.
    cases.push_back({"no NORM", even_cuts(workload, 3), one_f_one_b(3, 5), {.clip_action = false}});
    expect_plain_loop(workload, 3, cases);
  }
}

}  // namespace
}  // namespace motley
