#include "motley/schedule/list_schedule.h"

#include <algorithm>
#include <limits>
#include <map>

#include "motley/base/error.h"

namespace motley {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

/// What a stage has done, and when its next passes can start.
struct Progress {
  int rank = 0;
  int forwards = 0;
  int inputs = 0;  // input gradients, or whole backward passes
  int weights = 0;
  std::vector<double> forward_ready;   // [micro-batch], seconds
  std::vector<double> backward_ready;  // likewise
};

struct Choice {
  Op op = Op::Idle;
  int stage = 0;
  double start_s = kNever;
};

class ListScheduler {
 public:
  ListScheduler(const PipelineCosts& costs, std::span<const int> ranks, int rank_count, int micro_batches,
                const ListOptions& options)
      : costs_(costs),
        options_(options),
        micro_batches_(micro_batches),
        free_s_(static_cast<std::size_t>(rank_count)),
        last_was_input_(static_cast<std::size_t>(rank_count)) {
    for (std::size_t s = 0; s < ranks.size(); ++s) {
      Progress& stage = stages_.emplace_back();
      stage.rank = ranks[s];
      stage.forward_ready.assign(static_cast<std::size_t>(micro_batches), s == 0 ? 0.0 : kNever);
      stage.backward_ready.assign(static_cast<std::size_t>(micro_batches), kNever);
    }
    schedule_.ranks.resize(static_cast<std::size_t>(rank_count));
  }

  Schedule run() {
    const std::size_t passes = stages_.size() * static_cast<std::size_t>(micro_batches_) * (options_.fused ? 2 : 3);
    for (std::size_t done = 0; done < passes; ++done) {
      Choice next;
      for (int rank = 0; rank < static_cast<int>(free_s_.size()); ++rank) {
        const Choice choice = best_of(rank);
        if (choice.start_s < next.start_s) {
          next = choice;
        }
      }
      MOTLEY_CHECK(next.op != Op::Idle, "list scheduling stands still after {} of {} passes", done, passes);
      perform(next);
    }
    return std::move(schedule_);
  }

 private:
  [[nodiscard]] const StageCosts& cost(int stage) const { return costs_.stages[static_cast<std::size_t>(stage)]; }

  [[nodiscard]] double duration(const Choice& choice) const {
    const StageCosts& of = cost(choice.stage);
    const double pass_s = choice.op == Op::Forward          ? of.forward.value
                          : choice.op == Op::BackwardWeight ? of.backward_weight.value
                          : options_.fused                  ? of.backward.value
                                                            : of.backward_input.value;
    return pass_s + costs_.action_overhead.value;
  }

  /// What `rank` would do next. Of passes that wait for data the first to be ready counts; what is ready by then is
  /// taken in the order input gradient, forward, weight gradient.
  [[nodiscard]] Choice best_of(int rank) const {
    Choice input, forward, weight;
    const double now_s = free_s_[static_cast<std::size_t>(rank)];
    for (int s = static_cast<int>(stages_.size()) - 1; s >= 0; --s) {
      const Progress& stage = stages_[static_cast<std::size_t>(s)];
      if (stage.rank != rank) {
        continue;
      }
      const auto offer = [&](Choice& best, Op op, double ready_s) {
        const double start_s = std::max(now_s, ready_s);
        if (start_s < best.start_s) {
          best = {op, s, start_s};
        }
      };
      const auto index = static_cast<std::size_t>(s);
      if (stage.inputs < stage.forwards) {
        offer(input, options_.fused ? Op::Backward : Op::BackwardInput,
              stage.backward_ready[static_cast<std::size_t>(stage.inputs)]);
      }
      if (stage.forwards < micro_batches_ && stage.forwards - stage.inputs < options_.depth[index] &&
          stage.forwards - stage.weights < options_.in_flight[index]) {
        offer(forward, Op::Forward, stage.forward_ready[static_cast<std::size_t>(stage.forwards)]);
      }
      if (stage.weights < stage.inputs) {
        offer(weight, Op::BackwardWeight, now_s);
      }
    }
    const bool turn = options_.alternate && last_was_input_[static_cast<std::size_t>(rank)];
    const bool prefer_input = turn ? input.start_s < forward.start_s : input.start_s <= forward.start_s;
    const Choice& urgent = prefer_input ? input : forward;
    if (weight.op == Op::Idle || urgent.start_s <= now_s + options_.patience * duration(weight)) {
      return urgent;
    }
    return weight;
  }

  void perform(const Choice& choice) {
    Progress& stage = stages_[static_cast<std::size_t>(choice.stage)];
    const double end_s = choice.start_s + duration(choice);
    free_s_[static_cast<std::size_t>(stage.rank)] = end_s;
    int micro_batch = 0;
    if (choice.op != Op::BackwardWeight) {
      last_was_input_[static_cast<std::size_t>(stage.rank)] = choice.op != Op::Forward;
    }
    if (choice.op == Op::Forward) {
      micro_batch = stage.forwards++;
      if (choice.stage + 1 < static_cast<int>(stages_.size())) {
        Progress& above = stages_[static_cast<std::size_t>(choice.stage) + 1];
        above.forward_ready[static_cast<std::size_t>(micro_batch)] =
            arrival(stage.rank, above.rank, cost(choice.stage).boundary_forward, end_s);
      } else {
        stage.backward_ready[static_cast<std::size_t>(micro_batch)] = end_s;
      }
    } else if (choice.op == Op::BackwardWeight) {
      micro_batch = stage.weights++;
    } else {
      micro_batch = stage.inputs++;
      stage.weights += options_.fused ? 1 : 0;
      if (choice.stage > 0) {
        Progress& below = stages_[static_cast<std::size_t>(choice.stage) - 1];
        below.backward_ready[static_cast<std::size_t>(micro_batch)] =
            arrival(stage.rank, below.rank, cost(choice.stage - 1).boundary_backward, end_s);
      }
    }
    schedule_.ranks[static_cast<std::size_t>(stage.rank)].push_back({choice.op, choice.stage, micro_batch});
  }

  double arrival(int from, int to, Bytes bytes, double sent_s) {
    if (from == to) {
      return sent_s;
    }
    double& channel_free_s = channel_free_s_[{from, to}];
    channel_free_s = std::max(channel_free_s, sent_s) + costs_.transfer(from, to, bytes).value;
    return channel_free_s;
  }

  const PipelineCosts& costs_;
  const ListOptions& options_;
  int micro_batches_;
  std::vector<Progress> stages_;
  std::vector<double> free_s_;                            // by rank
  std::vector<bool> last_was_input_;                      // by rank: of its forwards and input gradients
  std::map<std::pair<int, int>, double> channel_free_s_;  // by sender and receiver
  Schedule schedule_;
};

}  // namespace

Schedule list_schedule(const PipelineCosts& costs, std::span<const int> ranks, int rank_count, int micro_batches,
                       const ListOptions& options) {
  const std::size_t stages = ranks.size();
  if (stages == 0 || micro_batches < 1) {
    throw InputError::of("schedule: found {} stages and {} micro-batches, expected at least 1 of each", stages,
                         micro_batches);
  }
  if (costs.stages.size() != stages || options.depth.size() != stages || options.in_flight.size() != stages) {
    throw InputError::of("schedule: found costs of {} stages, {} depths and {} counts in flight, expected {} of each",
                         costs.stages.size(), options.depth.size(), options.in_flight.size(), stages);
  }
  for (std::size_t s = 0; s < stages; ++s) {
    if (options.depth[s] < 1 || options.in_flight[s] < 1) {
      throw InputError::of("schedule: depth of stage {} is {} with {} in flight, expected at least 1 of both", s,
                           options.depth[s], options.in_flight[s]);
    }
    if (ranks[s] < 0 || ranks[s] >= rank_count) {
      throw InputError::of("schedule: stage {} on rank {}, expected ranks from 0 to {}", s, ranks[s], rank_count - 1);
    }
  }
  return ListScheduler(costs, ranks, rank_count, micro_batches, options).run();
}

}  // namespace motley
