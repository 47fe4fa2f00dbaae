#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "comm/ranks.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "runtime/pipeline.h"

namespace motley {
namespace {

std::set<std::string> names_of(const std::vector<TraceEvent>& events, const std::string& category) {
  std::set<std::string> names;
  for (const TraceEvent& event : events) {
    if (event.category == category) {
      names.insert(event.name);
    }
  }
  return names;
}

Seconds sum_of(const std::vector<TraceEvent>& events, const std::set<std::string>& categories) {
  Seconds sum;
  for (const TraceEvent& event : events) {
    if (categories.contains(event.category)) {
      sum += event.end - event.start;
    }
  }
  return sum;
}

void expect_no_overlap(const std::vector<TraceEvent>& events) {
  std::map<std::string, std::vector<TraceEvent>> lanes;
  for (const TraceEvent& event : events) {
    EXPECT_LE(event.start, event.end) << event.name;
    lanes[event.lane].push_back(event);
  }
  for (auto& [lane, own] : lanes) {
    std::sort(own.begin(), own.end(), [](const TraceEvent& a, const TraceEvent& b) { return a.start < b.start; });
    for (std::size_t i = 1; i < own.size(); ++i) {
      EXPECT_LE(own[i - 1].end, own[i].start) << lane << ": " << own[i - 1].name << " and " << own[i].name;
    }
  }
}

TEST(Trace, HoldsEveryActionOnceAndNothingOverlapsOnALane) {
  const Workload workload = small_router();
  run_ranks(2, with_deadline(10), [&](Communicator& communicator) {
    at::set_num_threads(1);
    const int rank = communicator.rank();
    const OwnStages own(workload, even_cuts(workload, 2), {0, 1}, rank);
    Executor executor(communicator, workload, own.view(),
                      add_transfers(with_updates(weights_apart(one_f_one_b(2, 3), 1), true)), executor_options(true),
                      Pacer());
    for (int step = 0; step < 3; ++step) {
      const StepResult result = executor.train(step, batch_of(workload, step, 3));
      const RankTimes& times = executor.times();
      const std::vector<TraceEvent>& events = executor.events();
      EXPECT_GT(times.busy.value, 0.0);
      EXPECT_GT(times.transfer.value, 0.0);
      EXPECT_LE(times.busy + times.waiting, result.wall);
      EXPECT_NEAR(sum_of(events, {"compute", "update"}).value, times.busy.value, 1e-9);
      EXPECT_NEAR(sum_of(events, {"wait"}).value, times.waiting.value, 1e-9);
      EXPECT_NEAR(sum_of(events, {"transfer"}).value, times.transfer.value, 1e-9);
      // Between hosts the receiver tells what a message took.
      ASSERT_EQ(executor.links().size(), 1U);
      const LinkTimes& all = executor.links().front();
      EXPECT_EQ(all.kind, rank == 0 ? "1SEND_B" : "0SEND_F");
      EXPECT_EQ(all.from, 1 - rank);
      EXPECT_EQ(all.to, rank);
      EXPECT_EQ(all.messages, 3);
      const std::int64_t samples = 3 * executor_options().micro_batch_size;
      const Boundary boundary = boundaries_of(workload)[static_cast<std::size_t>(even_cuts(workload, 2).at(1))];
      EXPECT_EQ(all.bytes, rank == 0 ? backward_bytes(boundary, samples) : forward_bytes(boundary, samples));
      EXPECT_NEAR(all.time.value, times.transfer.value, 1e-9);
      expect_no_overlap(events);
      std::set<std::string> computes;
      std::set<std::string> sends;
      for (const Action& action : executor.actions()) {
        if (is_compute(action.op)) {
          computes.insert(to_string(action));
        } else if (is_receive(action.op)) {
          sends.insert(to_string(send_of(action, rank)));
        }
      }
      EXPECT_EQ(names_of(events, "compute"), computes);
      EXPECT_EQ(names_of(events, "transfer"), sends);
      EXPECT_THAT(names_of(events, "update"), testing::ElementsAre(rank == 0 ? "0UPDATE" : "1UPDATE"));
      EXPECT_THAT(names_of(events, "wait"), testing::Contains("wait NORM"));
      // Every rank learns the times of the step before.
      EXPECT_EQ(result.ranks.size(), step == 0 ? 0U : 2U);
    }
  });
}

TEST(Trace, WaitsAreThoseOfALinkThatIsSlow) {
  const Workload workload = small_router();
  CommOptions options = with_deadline(10);
  options.emulated_links.push_back({0, 1, {0.0}, {0.03}});
  run_ranks(2, options, [&](Communicator& communicator) {
    at::set_num_threads(1);
    const OwnStages own(workload, even_cuts(workload, 2), {0, 1}, communicator.rank());
    Executor executor(communicator, workload, own.view(), add_transfers(with_updates(gpipe(2, 3), true)),
                      executor_options(true), Pacer());
    const StepResult result = executor.train(0, batch_of(workload, 0, 3));
    EXPECT_GE(result.wall.value, 0.09);
    expect_no_overlap(executor.events());
    if (communicator.rank() == 0) {
      EXPECT_GE(executor.times().transfer.value, 0.09);
    } else {
      EXPECT_GE(executor.times().waiting.value, 0.05);
      EXPECT_THAT(names_of(executor.events(), "wait"), testing::Contains("wait 1RECV_F0"));
    }
  });
}

TEST(Trace, IsEmptyUnlessAskedFor) {
  const Workload workload = small_router();
  run_ranks(1, with_deadline(10), [&](Communicator& communicator) {
    const OwnStages own(workload, even_cuts(workload, 1), {0}, 0);
    Executor executor(communicator, workload, own.view(), with_updates(gpipe(1, 1), true), executor_options(), Pacer());
    (void)executor.train(0, batch_of(workload, 0, 1));
    EXPECT_TRUE(executor.events().empty());
    EXPECT_GT(executor.times().busy.value, 0.0);
  });
}

}  // namespace
}  // namespace motley
