#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "random_schedule.h"

namespace motley {
namespace {

using Kind = Problem::Kind;

/// SEND right behind the compute that made its data, RECV right before the one that needs it: what one writes first.
Schedule naive_transfers(const Schedule& compute) {
  const std::vector<int> owner = compute.rank_of_stage();
  const int last = compute.stage_count() - 1;
  Schedule lowered;
  for (const auto& row : compute.ranks) {
    auto& out = lowered.ranks.emplace_back();
    for (const Action& action : row) {
      const bool forward = action.op == Op::Forward;
      const bool moves = forward || action.op == Op::Backward || action.op == Op::BackwardInput;
      const int from = action.stage + (forward ? -1 : 1);
      const int to = action.stage + (forward ? 1 : -1);
      const int here = owner[action.stage];
      if (moves && from >= 0 && from <= last && owner[from] != here) {
        out.push_back({forward ? Op::ReceiveForward : Op::ReceiveBackward, action.stage, action.micro_batch});
      }
      out.push_back(action);
      if (moves && to >= 0 && to <= last && owner[to] != here) {
        out.push_back({forward ? Op::SendForward : Op::SendBackward, action.stage, action.micro_batch});
      }
    }
  }
  return lowered;
}

bool deadlocks(const std::vector<Problem>& problems) {
  return std::any_of(problems.begin(), problems.end(), [](const Problem& p) { return p.kind == Kind::Deadlock; });
}

/// Whether the graph "must be done before" has a cycle (Kahn): an action after the one before it in its row, a compute
/// after the SEND of its data was reached, a waiting SEND (RECV) after its counterpart was reached.
bool has_cycle(const Schedule& lowered, const ValidationOptions& options) {
  std::map<std::string, std::pair<int, int>> place;
  std::map<std::pair<int, int>, int> id;
  const std::vector<int> owner = lowered.rank_of_stage();
  for (int rank = 0; rank < lowered.rank_count(); ++rank) {
    for (int i = 0; i < static_cast<int>(lowered.ranks[rank].size()); ++i) {
      place[to_string(lowered.ranks[rank][i])] = {rank, i};
      id.emplace(std::pair(rank, i), static_cast<int>(id.size()));
    }
  }
  std::vector<std::vector<int>> after(id.size());
  std::vector<int> open(id.size(), 0);
  const auto edge = [&](std::pair<int, int> first, std::pair<int, int> second) {
    after[id.at(first)].push_back(id.at(second));
    ++open[id.at(second)];
  };
  // `action` waits until the row of the named one has got there: until what stands before it is done.
  const auto waits_for = [&](std::pair<int, int> self, const Action& named) {
    const auto [rank, i] = place.at(to_string(named));
    if (i > 0) edge({rank, i - 1}, self);
  };
  for (const auto& [self, number] : id) {
    const auto [rank, i] = self;
    const Action& a = lowered.ranks[rank][i];
    if (i > 0) edge({rank, i - 1}, self);
    const int last = static_cast<int>(owner.size()) - 1;
    switch (a.op) {
      case Op::SendForward:
        if (options.sends_wait) waits_for(self, {Op::ReceiveForward, a.stage + 1, a.micro_batch});
        break;
      case Op::SendBackward:
        if (options.sends_wait) waits_for(self, {Op::ReceiveBackward, a.stage - 1, a.micro_batch});
        break;
      case Op::ReceiveForward:
        if (options.receives_wait) waits_for(self, {Op::SendForward, a.stage - 1, a.micro_batch});
        break;
      case Op::ReceiveBackward:
        if (options.receives_wait) waits_for(self, {Op::SendBackward, a.stage + 1, a.micro_batch});
        break;
      case Op::Forward:
        if (a.stage > 0 && owner[a.stage - 1] != rank) waits_for(self, {Op::SendForward, a.stage - 1, a.micro_batch});
        break;
      case Op::Backward:
      case Op::BackwardInput:
        if (a.stage < last && owner[a.stage + 1] != rank) {
          waits_for(self, {Op::SendBackward, a.stage + 1, a.micro_batch});
        }
        break;
      default:
        break;
    }
  }
  std::vector<int> ready;
  for (std::size_t n = 0; n < open.size(); ++n) {
    if (open[n] == 0) ready.push_back(static_cast<int>(n));
  }
  std::size_t done = 0;
  while (!ready.empty()) {
    const int n = ready.back();
    ready.pop_back();
    ++done;
    for (const int next : after[n]) {
      if (--open[next] == 0) ready.push_back(next);
    }
  }
  return done < id.size();
}

TEST(Deadlock, NaiveOneFOneBHasOneAsSoonAsSendsWait) {
  const Schedule naive = naive_transfers(one_f_one_b(2, 4));
  EXPECT_TRUE(validate(naive).empty());
  EXPECT_TRUE(validate(naive, {.receives_wait = true}).empty());
  const auto problems = validate(naive, {.sends_wait = true});
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].kind, Kind::Deadlock);
  EXPECT_EQ(problems[0].message,
            "deadlock: rank 0 at 0SEND_F1 waits for 1RECV_F1; rank 1 at 1SEND_B0 waits for 0RECV_B0");
}

TEST(Deadlock, IsFoundWhereTheWaitsFormACycleAndNowhereElse) {
  int found = 0;
  for (std::uint64_t seed = 1; seed <= 600; ++seed) {
    const Schedule compute = random_schedule(seed);
    for (const Schedule& lowered : {naive_transfers(compute), add_transfers(compute, 1), add_transfers(compute, 2)}) {
      for (const ValidationOptions options :
           {ValidationOptions{false, false}, {true, false}, {false, true}, {true, true}}) {
        const auto problems = validate(lowered, options);
        // Naive receives are in the order of use, which need not be that of sending: no deadlock check then.
        if (!problems.empty() && !deadlocks(problems)) continue;
        EXPECT_EQ(deadlocks(problems), has_cycle(lowered, options)) << "seed " << seed;
        found += deadlocks(problems) ? 1 : 0;
      }
    }
  }
  EXPECT_GT(found, 100);
}

std::vector<Kind> kinds(const Schedule& schedule) {
  std::vector<Kind> result;
  for (const Problem& problem : validate(schedule)) result.push_back(problem.kind);
  return result;
}

TEST(Validate, NamesWhatIsMissingDoubledOrMisordered) {
  const auto first = [](const char* csv) {
    const auto problems = validate(parse_csv(csv, "test"));
    return problems.empty() ? std::string("valid") : problems.front().message;
  };
  EXPECT_EQ(first("0F0,0F1,0B0,0B1\n"), "valid");
  EXPECT_EQ(first("0F0,0F1,0B0\n"), "0B1 is missing");
  EXPECT_EQ(first("0F0,0B0,0B1\n"), "0F1 is missing");
  EXPECT_EQ(first("0F0,0I0\n"), "0W0 is missing");
  EXPECT_EQ(first("0F0,0F0,0B0\n"), "0F0 stands twice");
  EXPECT_EQ(first("0F0,0B0,0W0\n"), "0B0 stands beside 0I0 or 0W0");
  EXPECT_EQ(first("0B0,0F0\n"), "0B0 stands before 0F0");
  EXPECT_EQ(first("0F0,0W0,0I0\n"), "0W0 stands before 0I0");
  EXPECT_EQ(first("0F0,0F1,0B1,0B0\n"), "stage 0: weight gradients of micro-batch 1 come before those of 0");
  EXPECT_EQ(first("0F0,1F0,0B0,1B0\n"), "deadlock: rank 0 at 0B0 waits for 1B0");
  EXPECT_EQ(first("0F0,0B0\n0F1,0B1\n"), "0F1 is missing on rank 0");
  EXPECT_EQ(first("0F0,0SEND_F0,0RECV_B0,0B0\n1F0,1B0,1SEND_B0\n"), "0SEND_F0 on rank 0 has no 1RECV_F0");
  EXPECT_EQ(first("0F0,0RECV_B0,0B0\n1RECV_F0,1F0,1B0,1SEND_B0\n"), "1RECV_F0 on rank 1 has no 0SEND_F0");
  EXPECT_EQ(first("0SEND_F0,0F0,0RECV_B0,0B0\n1RECV_F0,1F0,1B0,1SEND_B0\n"), "0SEND_F0 stands before its compute");
  EXPECT_EQ(first("0F0,0SEND_F0,0RECV_B0,0B0\n1F0,1RECV_F0,1B0,1SEND_B0\n"), "1RECV_F0 stands after its compute");
  EXPECT_EQ(first("0F0,0SEND_F0,0F1,0SEND_F1\n1RECV_F1,1RECV_F0,1F0,1F1\n"),
            "message 0 from rank 0 to rank 1 is sent for 1RECV_F0 and received as 1RECV_F1");
}

TEST(Validate, EverySingleMutationOfAScheduleThatTrainsIsNoticed) {
  std::mt19937 random(1);
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const Schedule lowered = add_transfers(random_schedule(seed));
    for (std::size_t rank = 0; rank < lowered.ranks.size(); ++rank) {
      for (std::size_t i = 0; i < lowered.ranks[rank].size(); ++i) {
        const std::string what = to_string(lowered.ranks[rank][i]);
        Schedule dropped = lowered;
        dropped.ranks[rank].erase(dropped.ranks[rank].begin() + static_cast<std::ptrdiff_t>(i));
        EXPECT_FALSE(dropped.ranks.empty() || (dropped.stage_count() > 0 && kinds(dropped).empty()))
            << "seed " << seed << " without " << what;
        Schedule doubled = lowered;
        auto& row = doubled.ranks[rank];
        row.insert(row.begin() + static_cast<std::ptrdiff_t>(random() % (row.size() + 1)), lowered.ranks[rank][i]);
        EXPECT_THAT(kinds(doubled), testing::Contains(Kind::Doubled)) << "seed " << seed << " twice " << what;
      }
    }
  }
}

}  // namespace
}  // namespace motley
