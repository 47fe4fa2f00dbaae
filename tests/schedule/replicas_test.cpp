// Replicated, recomputed, encoded and NIC-sharing schedules: lowered, validated and replayed.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"
#include "random_schedule.h"
#include "reference_simulator.h"

namespace motley {
namespace {

using testing::HasSubstr;

Schedule lowered(const ReplicatedSchedule& schedule, std::uint64_t seed) {
  return add_transfers(with_updates(schedule.compute, seed % 2 == 0), 1 + static_cast<int>(seed % 3), schedule.shares);
}

TEST(Replicas, ExchangeExactlyTheSamplesThatBothOwn) {
  const Shares shares{{{0, 0, 8}, {1, 8, 12}}, {{2, 0, 5}, {3, 5, 12}}, {{4, 0, 12}}};
  Schedule rows;
  rows.ranks.resize(5);
  rows.ranks[0] = {{Op::Forward, 0, 0}, {Op::Backward, 0, 0}};
  rows.ranks[2] = {{Op::Forward, 1, 0}, {Op::Backward, 1, 0}};
  rows.ranks[4] = {{Op::Forward, 2, 0}, {Op::Backward, 2, 0}};
  const Schedule all = add_transfers(with_updates(replicate(rows, shares), true), 1, shares);
  EXPECT_EQ(to_csv(all),
            "0RECV_B0[0:5]@2,0RECV_B0[5:8]@3,0F0,0SEND_F0[0:5]@2,0SEND_F0[5:8]@3,0B0,0REDUCE_GRAD,0NORM,0UPDATE\n"
            "0RECV_B0[8:12]@3,0F0,0SEND_F0[8:12]@3,0B0,0REDUCE_GRAD,0NORM,0UPDATE\n"
            "1RECV_F0[0:5]@0,1RECV_B0[0:5]@4,1F0,1SEND_F0[0:5]@4,1B0,1SEND_B0[0:5]@0,1REDUCE_GRAD,1NORM,1UPDATE\n"
            "1RECV_F0[5:8]@0,1RECV_F0[8:12]@1,1RECV_B0[5:12]@4,1F0,1SEND_F0[5:12]@4,1B0,1SEND_B0[5:8]@0,"
            "1SEND_B0[8:12]@1,1REDUCE_GRAD,1NORM,1UPDATE\n"
            "2RECV_F0[0:5]@2,2RECV_F0[5:12]@3,2F0,2B0,2SEND_B0[0:5]@2,2SEND_B0[5:12]@3,2NORM,2UPDATE\n");
  EXPECT_THAT(validate(all), testing::IsEmpty());
}

TEST(Replicas, EverySampleCrossesEveryBoundaryOnceEachWay) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const ReplicatedSchedule schedule = random_replicated_schedule(seed);
    const Schedule all = lowered(schedule, seed);
    const auto problems = validate(all);
    ASSERT_TRUE(problems.empty()) << "seed " << seed << ": " << problems.front().message;
    EXPECT_EQ(compute_only(all), schedule.compute);
    std::map<std::string, std::int64_t> sent, received;  // samples by pass, receiving stage and micro-batch
    for (const auto& row : all.ranks) {
      for (const Action& action : row) {
        const std::int64_t samples = action.sample_end > 0 ? action.sample_end - action.sample_begin : 12;
        const int up = action.op == Op::SendForward ? 1 : -1;
        const Op receive = action.op == Op::SendForward ? Op::ReceiveForward : Op::ReceiveBackward;
        if (is_send(action.op)) sent[to_string({receive, action.stage + up, action.micro_batch})] += samples;
        if (is_receive(action.op)) received[to_string({action.op, action.stage, action.micro_batch})] += samples;
      }
    }
    EXPECT_EQ(sent, received);
    for (const auto& [name, samples] : sent) EXPECT_EQ(samples, 12) << "seed " << seed << " " << name;
  }
}

TEST(Replicas, EveryReceiveKnowsItsSend) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const Schedule all = lowered(random_replicated_schedule(seed), seed);
    std::multiset<std::string> sends, taken;
    for (std::size_t rank = 0; rank < all.ranks.size(); ++rank) {
      for (const Action& action : all.ranks[rank]) {
        if (is_send(action.op)) sends.insert(to_string(action));
        if (is_receive(action.op)) taken.insert(to_string(send_of(action, static_cast<int>(rank))));
      }
    }
    EXPECT_EQ(taken, sends) << "seed " << seed;
  }
}

TEST(Replicas, EverySingleMutationIsNoticed) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const ReplicatedSchedule schedule = random_replicated_schedule(seed);
    const Schedule all = lowered(schedule, 2);
    for (std::size_t rank = 0; rank < all.ranks.size(); ++rank) {
      for (std::size_t i = 0; i < all.ranks[rank].size(); ++i) {
        const Action& action = all.ranks[rank][i];
        if (action.op == Op::Norm || action.op == Op::Update) continue;
        Schedule dropped = all;
        dropped.ranks[rank].erase(dropped.ranks[rank].begin() + static_cast<std::ptrdiff_t>(i));
        // A stage that recomputes its only micro-batch may as well not.
        if (action.op == Op::Recompute && all.micro_batch_count() == 1) continue;
        EXPECT_FALSE(validate(dropped).empty()) << "seed " << seed << " without " << to_string(action);
        if (action.sample_end == 0) continue;
        Schedule changed = all;
        ++changed.ranks[rank][i].sample_end;
        EXPECT_FALSE(validate(changed).empty()) << "seed " << seed << " with a sample more of " << to_string(action);
      }
    }
  }
}

std::string first_problem(const char* csv) {
  const auto problems = validate(parse_csv(csv, "test"));
  return problems.empty() ? "valid" : problems.front().message;
}

TEST(Replicas, ValidateNamesWhatIsWrong) {
  EXPECT_EQ(first_problem("0F0,0B0,0REDUCE_GRAD,0UPDATE\n0F0,0B0,0REDUCE_GRAD,0UPDATE\n"), "valid");
  EXPECT_EQ(first_problem("0F0,0B0,0REDUCE_GRAD,0UPDATE\n0F0,0B0,0UPDATE\n"), "0REDUCE_GRAD is missing on rank 1");
  EXPECT_EQ(first_problem("0F0,0REDUCE_GRAD,0B0,0UPDATE\n0F0,0B0,0REDUCE_GRAD,0UPDATE\n"),
            "0REDUCE_GRAD stands before 0B0 on rank 0");
  EXPECT_EQ(first_problem("0F0,0B0,0NORM,0REDUCE_GRAD,0UPDATE\n0F0,0B0,0REDUCE_GRAD,0NORM,0UPDATE\n"),
            "0REDUCE_GRAD stands after 0NORM on rank 0");
  EXPECT_EQ(first_problem("0F0,0RECOMPUTE0,0B0,0F1,0B1\n"), "stage 0 recomputes some micro-batches and not 1");
  EXPECT_EQ(first_problem("0RECOMPUTE0,0F0,0B0\n"), "0RECOMPUTE0 stands before 0F0");
  EXPECT_EQ(first_problem("0F0,0B0,0RECOMPUTE0\n"), "0B0 stands before 0RECOMPUTE0");
  EXPECT_EQ(first_problem("0F0,0SEND_F0\n1RECV_F0[0:1]@0,1F0\n1RECV_F0[1:2]@0,1F0\n"),
            "0SEND_F0 on rank 0 names no peer, expected @ and a rank");
  EXPECT_EQ(first_problem("0F0,0SEND_F0[0:1]@1,0SEND_F0[1:3]@2\n1RECV_F0[0:1]@0,1F0\n1RECV_F0[1:2]@0,1F0\n"),
            "0SEND_F0[1:3]@2 on rank 0 has no 1RECV_F0[1:3]@0");
  EXPECT_EQ(first_problem("0F0,0SEND_F0[0:1]@1,0SEND_F0[2:3]@2\n1RECV_F0[0:1]@0,1F0\n1RECV_F0[2:3]@0,1F0\n"),
            "stage 1: replicas own samples [0:1] [2:3], expected a whole micro-batch");
}

TEST(Replicas, LoweringRefusesWhatHasNoMeaning) {
  Schedule rows;
  rows.ranks = {{{Op::Forward, 0, 0}, {Op::Forward, 1, 0}}, {}};
  const auto refused = [&](const Shares& shares) {
    try {
      (void)add_transfers(replicate(rows, shares), 1, shares);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refused({{{0, 0, 4}, {1, 4, 8}}, {{0, 0, 5}, {1, 5, 8}}}),
              HasSubstr("rank 0 has samples [0, 4) of stage 0 and [0, 5) of stage 1"));
  EXPECT_THAT(refused({{{0, 0, 8}}, {{1, 0, 8}}}), HasSubstr("stage 1 is computed on rank 0, which has no share"));
  rows.ranks[1] = {{Op::Forward, 2, 0}};
  EXPECT_THAT(refused({{{0, 0, 4}, {1, 4, 8}}}), HasSubstr("rank 1 has other stages than rank 0"));
}

/// Both replays of the same schedule agree on when everything starts and ends, on memory and on flights.
void expect_same(std::uint64_t seed, bool nics, int& slowed) {
  const ReplicatedSchedule schedule = random_replicated_schedule(seed);
  const Schedule all = lowered(schedule, seed);
  const PipelineCosts costs = random_replicated_costs(seed, schedule, nics);
  const Simulation simulation = simulate(all, costs, {.events = true});
  const ReferenceReplay reference = replay_by_moments(all, costs);
  slowed += reference.slowed ? 1 : 0;
  SCOPED_TRACE(fmt::format("seed {}", seed));
  ASSERT_NEAR(simulation.iteration.value, reference.iteration_s, 1e-9);
  std::map<std::string, ReferenceReplay::Span> spans;
  for (const Event& event : simulation.events) {
    const bool encodes = event.to < 0 && is_send(event.action.op);
    spans[fmt::format("{}: {}{}", event.rank, encodes ? "encode " : "", to_string(event.action))] = {event.start.value,
                                                                                                     event.end.value};
  }
  ASSERT_EQ(spans.size(), reference.spans.size());
  for (const auto& [name, span] : reference.spans) {
    ASSERT_TRUE(spans.contains(name)) << name;
    ASSERT_NEAR(spans[name].start_s, span.start_s, 1e-9) << name;
    ASSERT_NEAR(spans[name].end_s, span.end_s, 1e-9) << name;
  }
  for (std::size_t rank = 0; rank < all.ranks.size(); ++rank) {
    ASSERT_NEAR(simulation.busy[rank].value, reference.busy_s[rank], 1e-9);
    ASSERT_EQ(simulation.peak_in_flight[rank], reference.peak_in_flight[rank]);
    ASSERT_EQ(simulation.peak_memory[rank].value, reference.peak_memory[rank]) << "rank " << rank;
  }
}

TEST(Replicas, TimesAndMemoryAreThoseOfAReplayMomentByMoment) {
  int slowed = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) expect_same(seed, false, slowed);
  EXPECT_EQ(slowed, 0);
}

TEST(SharedNics, TimesAndMemoryAreThoseOfAReplayMomentByMoment) {
  int slowed = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) expect_same(seed, true, slowed);
  EXPECT_GT(slowed, 150);
}

TEST(SharedNics, OnlyEverDelay) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const ReplicatedSchedule schedule = random_replicated_schedule(seed);
    const Schedule all = lowered(schedule, seed);
    PipelineCosts costs = random_replicated_costs(seed, schedule, true);
    std::map<std::string, double> shared;
    for (const Event& event : simulate(all, costs, {.events = true}).events) {
      shared[fmt::format("{} {}", event.rank, to_string(event.action))] = event.end.value;
    }
    costs.host_of_rank.clear();
    for (const Event& event : simulate(all, costs, {.events = true}).events) {
      EXPECT_LE(event.end.value, shared.at(fmt::format("{} {}", event.rank, to_string(event.action))) + 1e-9);
    }
  }
}

TEST(Replicas, AReusedSimulatorGivesTheSameBits) {
  Simulator simulator;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const ReplicatedSchedule schedule = random_replicated_schedule(seed);
    const Schedule all = lowered(schedule, seed);
    const PipelineCosts costs = random_replicated_costs(seed, schedule, seed % 2 == 0);
    const Simulation fresh = simulate(all, costs);
    const Simulation reused = simulator.run(Program(all), costs);
    EXPECT_EQ(fresh.iteration, reused.iteration);
    EXPECT_EQ(fresh.busy, reused.busy);
    EXPECT_EQ(fresh.peak_memory, reused.peak_memory);
    EXPECT_EQ(fresh.bottleneck, reused.bottleneck);
  }
}

TEST(Replicas, TheBottleneckIsTheBusiestResource) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const ReplicatedSchedule schedule = random_replicated_schedule(seed);
    const Schedule all = lowered(schedule, seed);
    const PipelineCosts costs = random_replicated_costs(seed, schedule, true);
    const Simulation simulation = simulate(all, costs, {.events = true});
    double most = 0.0;
    std::map<std::pair<int, int>, double> channels;
    std::map<std::pair<int, bool>, double> nics;
    std::vector<double> ranks(all.ranks.size(), 0.0);
    for (const Event& event : simulation.events) {
      if (event.to < 0) {
        ranks[event.rank] += (event.end - event.start).value;
        continue;
      }
      const bool forward = event.action.op == Op::SendForward;
      const Edge edge{event.action.stage - (forward ? 0 : 1), forward ? Pass::Forward : Pass::Backward};
      const std::int64_t samples = event.action.sample_end - event.action.sample_begin;
      const Bytes bytes = samples > 0 ? costs.part_bytes(edge, samples)
                          : forward   ? costs.stages[edge.stage].boundary_forward
                                      : costs.stages[edge.stage].boundary_backward;
      channels[{event.rank, event.to}] += costs.transfer(event.rank, event.to, bytes).value;
      const int from = costs.host_of_rank[event.rank];
      const int to = costs.host_of_rank[event.to];
      if (from == to) continue;
      if (const double rate = costs.nics[from].send.value; rate > 0)
        nics[{from, true}] += bytes / BytesPerSecond{rate} / 1.0_s;
      if (const double rate = costs.nics[to].receive.value; rate > 0)
        nics[{to, false}] += bytes / BytesPerSecond{rate} / 1.0_s;
    }
    for (const double busy : ranks) most = std::max(most, busy);
    for (const auto& [ends, busy] : channels) most = std::max(most, busy);
    for (const auto& [port, busy] : nics) most = std::max(most, busy);
    EXPECT_NEAR(simulation.bottleneck.value, most, 1e-9);
    EXPECT_LE(simulation.bottleneck.value, simulation.iteration.value + 1e-9);
  }
}

}  // namespace
}  // namespace motley
