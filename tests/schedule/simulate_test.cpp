#include "motley/schedule/simulate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/lowering.h"
#include "random_schedule.h"

namespace motley {
namespace {

/// When everything happens, by the rules of lowering.h and simulate.h, evaluated over and over until nothing moves:
/// times only grow, so what is left are the longest paths. No queue, no event order.
class LongestPaths {
 public:
  LongestPaths(const Schedule& lowered, const PipelineCosts& costs)
      : schedule_(lowered), costs_(costs), owner_(lowered.rank_of_stage()) {
    for (const auto& row : lowered.ranks) end.emplace_back(row.size(), 0.0), begin.emplace_back(row.size(), 0.0);
    for (std::size_t r = 0; r < lowered.ranks.size(); ++r) {
      for (std::size_t i = 0; i < lowered.ranks[r].size(); ++i) {
        place_[to_string(lowered.ranks[r][i])] = {r, i};
        const Action& a = lowered.ranks[r][i];
        if (is_send(a.op)) {
          const int to = a.stage + (a.op == Op::SendForward ? 1 : -1);
          channels_[{static_cast<int>(r), owner_[to]}].push_back(a);
        }
      }
    }
    while (pass()) {
    }
  }

  std::vector<std::vector<double>> begin, end;                     // [rank][column]
  std::map<std::string, std::pair<double, double>> transfers;      // by SEND's name: start, end
  std::map<std::string, std::pair<double, double>> message_spans;  // by SEND's name: reached, end

  double finish() const {
    double last = 0.0;
    for (const auto& row : end) {
      if (!row.empty()) last = std::max(last, row.back());
    }
    for (const auto& [name, span] : transfers) last = std::max(last, span.second);
    return last;
  }

  double reached(const std::string& name) const {
    const auto [r, i] = place_.at(name);
    return i == 0 ? 0.0 : end[r][i - 1];
  }
  bool has(const std::string& name) const { return place_.contains(name); }

 private:
  double computed(Op fused, Op input, int stage, int m) const {
    for (const Op op : {fused, input}) {
      if (const auto found = place_.find(to_string({op, stage, m})); found != place_.end()) {
        return end[found->second.first][found->second.second];
      }
    }
    return 0.0;
  }

  double data(std::size_t rank, const Action& a) const {
    const int last = static_cast<int>(owner_.size()) - 1;
    if (a.op == Op::Forward && a.stage > 0) {
      const Action send{Op::SendForward, a.stage - 1, a.micro_batch};
      if (owner_[a.stage - 1] == static_cast<int>(rank))
        return computed(Op::Forward, Op::Forward, a.stage - 1, a.micro_batch);
      const auto found = transfers.find(to_string(send));
      return found == transfers.end() ? 0.0 : found->second.second;
    }
    if ((a.op == Op::Backward || a.op == Op::BackwardInput) && a.stage < last) {
      const Action send{Op::SendBackward, a.stage + 1, a.micro_batch};
      if (owner_[a.stage + 1] == static_cast<int>(rank)) {
        return computed(Op::Backward, Op::BackwardInput, a.stage + 1, a.micro_batch);
      }
      const auto found = transfers.find(to_string(send));
      return found == transfers.end() ? 0.0 : found->second.second;
    }
    return 0.0;
  }

  double duration(const Action& a) const {
    const StageCosts& c = costs_.stages[a.stage];
    const double overhead = costs_.action_overhead.value;
    switch (a.op) {
      case Op::Forward:
        return c.forward.value + overhead;
      case Op::Backward:
        return c.backward.value + overhead;
      case Op::BackwardInput:
        return c.backward_input.value + overhead;
      case Op::BackwardWeight:
        return c.backward_weight.value + overhead;
      case Op::Update:
        return c.update.value + overhead;
      default:
        return 0.0;
    }
  }

  bool pass() {
    bool moved = false;
    const auto raise = [&](double& value, double to) {
      if (to > value) value = to, moved = true;
    };
    double last_norm = 0.0;
    for (std::size_t r = 0; r < schedule_.ranks.size(); ++r) {
      for (std::size_t i = 0; i < schedule_.ranks[r].size(); ++i) {
        if (schedule_.ranks[r][i].op != Op::Norm) continue;
        last_norm = std::max(last_norm, i == 0 ? 0.0 : end[r][i - 1]);
        break;
      }
    }
    for (std::size_t r = 0; r < schedule_.ranks.size(); ++r) {
      for (std::size_t i = 0; i < schedule_.ranks[r].size(); ++i) {
        const Action& a = schedule_.ranks[r][i];
        const double before = i == 0 ? 0.0 : end[r][i - 1];
        raise(begin[r][i], std::max(before, data(r, a)));
        const bool later_norm = i > 0 && schedule_.ranks[r][i - 1].op == Op::Norm;
        if (a.op == Op::Norm) {
          raise(end[r][i], later_norm ? before : last_norm + costs_.norm_exchange.value);
        } else {
          raise(end[r][i], begin[r][i] + duration(a));
        }
      }
    }
    for (const auto& [ends, sends] : channels_) {
      double free = 0.0;
      for (const Action& send : sends) {
        const bool forward = send.op == Op::SendForward;
        const Action receive{forward ? Op::ReceiveForward : Op::ReceiveBackward, send.stage + (forward ? 1 : -1),
                             send.micro_batch};
        const Bytes bytes =
            forward ? costs_.stages[send.stage].boundary_forward : costs_.stages[send.stage - 1].boundary_backward;
        const double start = std::max({reached(to_string(send)), reached(to_string(receive)), free});
        free = start + costs_.transfer(ends.first, ends.second, bytes).value;
        auto& span = transfers[to_string(send)];
        raise(span.first, start);
        raise(span.second, free);
      }
    }
    return moved;
  }

  const Schedule& schedule_;
  const PipelineCosts& costs_;
  std::vector<int> owner_;
  std::map<std::string, std::pair<std::size_t, std::size_t>> place_;
  std::map<std::pair<int, int>, std::vector<Action>> channels_;
};

Schedule random_lowered(std::uint64_t seed) {
  return add_transfers(with_updates(random_schedule(seed), seed % 2 == 0), 1 + static_cast<int>(seed % 3));
}

TEST(Simulate, StartsAndEndsEveryActionAndTransferWhereTheLongestPathDoes) {
  int transfers = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const Schedule lowered = random_lowered(seed);
    const PipelineCosts costs = random_costs(seed, lowered);
    const Simulation simulation = simulate(lowered, costs, {.events = true});
    const LongestPaths oracle(lowered, costs);
    EXPECT_NEAR(simulation.iteration.value, oracle.finish(), 1e-9) << "seed " << seed;
    EXPECT_DOUBLE_EQ(simulate(lowered, costs).iteration.value, simulation.iteration.value);
    std::map<std::string, const Event*> events;
    for (const Event& event : simulation.events) {
      EXPECT_TRUE(events.emplace(to_string(event.action), &event).second);
    }
    for (std::size_t r = 0; r < lowered.ranks.size(); ++r) {
      double busy = 0.0;
      for (std::size_t i = 0; i < lowered.ranks[r].size(); ++i) {
        const Action& action = lowered.ranks[r][i];
        if (!is_compute(action.op) && action.op != Op::Update) continue;
        const Event& event = *events.at(to_string(action));
        EXPECT_EQ(event.rank, static_cast<int>(r));
        EXPECT_NEAR(event.start.value, oracle.begin[r][i], 1e-9) << "seed " << seed << " " << to_string(action);
        EXPECT_NEAR(event.end.value, oracle.end[r][i], 1e-9) << "seed " << seed << " " << to_string(action);
        busy += (event.end - event.start).value;
      }
      EXPECT_NEAR(simulation.busy[r].value, busy, 1e-9);
    }
    for (const auto& [name, span] : oracle.transfers) {
      const Event& event = *events.at(name);
      EXPECT_NEAR(event.start.value, span.first, 1e-9) << "seed " << seed << " " << name;
      EXPECT_NEAR(event.end.value, span.second, 1e-9) << "seed " << seed << " " << name;
      ++transfers;
    }
  }
  EXPECT_GT(transfers, 3000);
}

/// Bytes a rank holds at a moment, added up from what each micro-batch is going through then.
class MemoryAtAMoment {
 public:
  MemoryAtAMoment(const Schedule& lowered, const PipelineCosts& costs, const LongestPaths& times)
      : lowered_(lowered), costs_(costs), times_(times), owner_(lowered.rank_of_stage()) {
    for (std::size_t r = 0; r < lowered.ranks.size(); ++r) {
      for (std::size_t i = 0; i < lowered.ranks[r].size(); ++i) {
        spans_[to_string(lowered.ranks[r][i])] = {times.begin[r][i], times.end[r][i]};
      }
    }
  }

  std::int64_t bytes(int rank, double t) const {
    std::int64_t sum = costs_.base_memory.value;
    for (int s = 0; s < static_cast<int>(owner_.size()); ++s) {
      if (owner_[s] == rank) sum += costs_.stages[s].resident.value;
      for (int m = 0; m < lowered_.micro_batch_count(); ++m) {
        if (owner_[s] == rank) sum += of_micro_batch(s, m, t);
        for (const Op op : {Op::SendForward, Op::SendBackward}) {
          const std::string name = to_string({op, s, m});
          if (owner_[s] == rank && times_.has(name) && t > times_.reached(name) &&
              t < times_.transfers.at(name).second) {
            sum += (op == Op::SendForward ? costs_.stages[s].boundary_forward : costs_.stages[s - 1].boundary_backward)
                       .value;
          }
        }
      }
    }
    return sum;
  }

  int in_flight(int rank, double t) const {
    int count = 0;
    for (int s = 0; s < static_cast<int>(owner_.size()); ++s) {
      for (int m = 0; m < lowered_.micro_batch_count(); ++m) {
        const bool fused = spans_.contains(to_string({Op::Backward, s, m}));
        const double end = spans_.at(to_string({fused ? Op::Backward : Op::BackwardWeight, s, m})).second;
        count += owner_[s] == rank && t > spans_.at(to_string({Op::Forward, s, m})).first && t < end ? 1 : 0;
      }
    }
    return count;
  }

 private:
  std::int64_t posted(Op op, int s, int m, double t, Bytes bytes) const {
    const std::string name = to_string({op, s, m});
    return times_.has(name) && t > times_.reached(name) ? bytes.value : 0;
  }

  std::int64_t of_micro_batch(int s, int m, double t) const {
    const StageCosts& c = costs_.stages[s];
    const auto span = [&](Op op) { return spans_.at(to_string({op, s, m})); };
    const bool fused = spans_.contains(to_string({Op::Backward, s, m}));
    const Op backward = fused ? Op::Backward : Op::BackwardInput;
    // Receives are posted ahead: a gradient's even before the forward that it answers.
    const std::int64_t gradient = posted(Op::ReceiveBackward, s, m, t, c.boundary_backward);
    const std::int64_t input = s > 0 ? posted(Op::ReceiveForward, s, m, t, costs_.stages[s - 1].boundary_forward) : 0;
    if (t < span(Op::Forward).first) return input + gradient;
    if (t < span(Op::Forward).second) {
      return std::max({c.forward_peak.value, input, c.saved.value}) + gradient;
    }
    if (t < span(backward).first) return c.saved.value + gradient;
    if (t < span(backward).second) {
      return fused ? std::max(c.backward_peak.value, c.saved.value + gradient)
                   : std::max({c.backward_input_peak.value, c.saved.value + gradient, c.queued.value});
    }
    if (fused) return 0;
    if (t < span(Op::BackwardWeight).first) return c.queued.value;
    return t < span(Op::BackwardWeight).second ? std::max(c.backward_weight_peak.value, c.queued.value) : 0;
  }

  const Schedule& lowered_;
  const PipelineCosts& costs_;
  const LongestPaths& times_;
  std::vector<int> owner_;
  std::map<std::string, std::pair<double, double>> spans_;
};

TEST(Simulate, PeakMemoryAndFlightAreThoseOfAReplayMomentByMoment) {
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    const Schedule lowered = random_lowered(seed);
    const PipelineCosts costs = random_costs(seed, lowered);
    const Simulation simulation = simulate(lowered, costs);
    const LongestPaths oracle(lowered, costs);
    const MemoryAtAMoment memory(lowered, costs, oracle);
    std::set<double> changes{0.0};
    for (std::size_t r = 0; r < lowered.ranks.size(); ++r) {
      changes.insert(oracle.begin[r].begin(), oracle.begin[r].end());
      changes.insert(oracle.end[r].begin(), oracle.end[r].end());
    }
    for (const auto& [name, span] : oracle.transfers) changes.insert(span.second);
    for (int rank = 0; rank < lowered.rank_count(); ++rank) {
      std::int64_t most = 0;
      int flight = 0;
      double before = 0.0;
      for (const double t : changes) {
        if (t - before > 1e-9) {
          most = std::max(most, memory.bytes(rank, 0.5 * (before + t)));
          flight = std::max(flight, memory.in_flight(rank, 0.5 * (before + t)));
        }
        before = t;
      }
      EXPECT_EQ(simulation.peak_memory[rank].value, most) << "seed " << seed << " rank " << rank;
      EXPECT_EQ(simulation.peak_in_flight[rank], flight) << "seed " << seed << " rank " << rank;
    }
  }
}

TEST(Simulate, MoreSpeedNeverTakesLonger) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const Schedule lowered = random_lowered(seed);
    PipelineCosts costs = random_costs(seed, lowered);
    const double before = simulate(lowered, costs).iteration.value;
    PipelineCosts faster = costs;
    faster.stages[seed % faster.stages.size()].forward = Seconds{0.0};
    EXPECT_LE(simulate(lowered, faster).iteration.value, before);
    faster = costs;
    faster.transfer = [&](int from, int to, Bytes bytes) { return 0.5 * costs.transfer(from, to, bytes); };
    EXPECT_LE(simulate(lowered, faster).iteration.value, before);
  }
}

TEST(Simulate, ARefusalNamesWhereItStuck) {
  const PipelineCosts costs = random_costs(1, one_f_one_b(2, 1));
  try {
    (void)simulate(parse_csv("0F0,0B0,0SEND_F0\n1RECV_F0,1F0,1B0,1SEND_B0\n", "test"), costs);
    ADD_FAILURE();
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("rank 0 at 0B0"));
  }
  EXPECT_THROW((void)simulate(one_f_one_b(3, 1), costs), InputError);
}

}  // namespace
}  // namespace motley
