#include "motley/schedule/tailor.h"

#include <algorithm>
#include <random>
#include <set>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/list_schedule.h"
#include "motley/schedule/lowering.h"

namespace motley {
namespace {

/// Stages that follow each other on one rank count as one step of the pipeline.
std::vector<int> textbook_depths(std::span<const int> ranks) {
  std::vector<int> depths(ranks.size());
  int depth = 1;
  for (std::size_t s = ranks.size(); s-- > 0;) {
    depth += s + 1 < ranks.size() && ranks[s] != ranks[s + 1] ? 1 : 0;
    depths[s] = depth;
  }
  return depths;
}

class Tailor {
 public:
  Tailor(const PipelineCosts& costs, std::span<const int> ranks, int rank_count, const TailorOptions& options)
      : costs_(costs), ranks_(ranks), rank_count_(rank_count), options_(options), engine_(options.seed) {}

  Tailored run() {
    offer_textbook();
    offer_lists();
    while (best_.evaluations < options_.evaluations && improve()) {
    }
    return std::move(best_);
  }

 private:
  /// Bytes that the fullest rank lacks; none below 0.
  [[nodiscard]] std::int64_t lacking(const Simulation& simulation) const {
    std::int64_t most = 0;
    for (std::size_t rank = 0; rank < options_.memory.size(); ++rank) {
      most = std::max(most, (simulation.peak_memory[rank] - options_.memory[rank]).value);
    }
    return most;
  }

  /// Keeps `compute` when it is better than the best, or as good and `equals` says so.
  bool offer(const Schedule& compute, bool equals = false) {
    if (best_.evaluations >= options_.evaluations && best_.evaluations > 0) {
      return false;
    }
    ++best_.evaluations;
    Simulation simulation;
    try {
      simulation = simulate(add_transfers(with_updates(compute, options_.clip)), costs_);
    } catch (const InputError&) {
      return false;  // ranks wait for each other in a circle
    }
    const std::int64_t lacks = lacking(simulation);
    const double now_s = simulation.iteration.value;
    const double best_s = best_.simulation.iteration.value;
    const bool first = best_.compute.ranks.empty();
    if (!first && (lacks > lacks_ || (lacks == lacks_ && (equals ? now_s > best_s : now_s >= best_s)))) {
      return false;
    }
    lacks_ = lacks;
    best_.fits = lacks == 0;
    best_.compute = compute;
    best_.simulation = std::move(simulation);
    return true;
  }

  void offer_textbook() {
    const int stages = static_cast<int>(ranks_.size());
    const std::set<int> distinct(ranks_.begin(), ranks_.end());
    if (static_cast<int>(distinct.size()) != stages) {
      return;
    }
    const std::vector<int> depths = textbook_depths(ranks_);
    offer(place(one_f_one_b(stages, options_.micro_batches), ranks_, rank_count_));
    offer(place(zero_bubble(stages, options_.micro_batches, depths), ranks_, rank_count_));
  }

  /// Micro-batches in flight that each stage's rank has memory for, `spare` fewer for what is on its way. Stages of one
  /// rank share it evenly.
  [[nodiscard]] std::vector<int> memory_caps(int spare) const {
    std::vector<int> caps(ranks_.size(), options_.micro_batches);
    for (std::size_t s = 0; s < ranks_.size() && !options_.memory.empty(); ++s) {
      Bytes free = options_.memory[static_cast<std::size_t>(ranks_[s])] - costs_.base_memory;
      Bytes working;
      Bytes kept;
      for (std::size_t other = 0; other < ranks_.size(); ++other) {
        if (ranks_[other] == ranks_[s]) {
          const StageCosts& cost = costs_.stages[other];
          free -= cost.resident;
          kept += std::max(cost.saved, cost.queued);
          working = std::max(
              {working, cost.forward_peak, cost.backward_input_peak, cost.backward_weight_peak, cost.backward_peak});
        }
      }
      const std::int64_t each = std::max<std::int64_t>(1, kept.value);
      const std::int64_t fit = 1 + (free - working).value / each - spare;
      caps[s] = static_cast<int>(std::clamp<std::int64_t>(fit, 1, caps[s]));
    }
    return caps;
  }

  void offer_lists() {
    const std::set<std::vector<int>> all_caps{memory_caps(0), memory_caps(1), memory_caps(options_.micro_batches)};
    for (const std::vector<int>& caps : all_caps) {
      offer_lists(caps);
    }
  }

  void offer_lists(const std::vector<int>& caps) {
    const std::vector<int> textbook = textbook_depths(ranks_);
    const int most = *std::ranges::max_element(caps);
    for (const bool fused : {false, true}) {
      for (const bool alternate : {true, false}) {
        for (const double patience : {0.0, 0.5, 1.0}) {
          if (fused && patience > 0.0) {
            continue;
          }
          for (const int extra : {0, 1, 2, most}) {
            for (const int behind : {0, 1, 2, most}) {
              if (extra > most || behind > most || (fused && behind > 0)) {
                continue;
              }
              ListOptions options;
              for (std::size_t s = 0; s < textbook.size(); ++s) {
                // Extra depth at each boundary hides a link.
                const int depth = textbook[s] + extra * std::max(1, textbook[s] - 1);
                options.depth.push_back(std::min(caps[s], depth));
                options.in_flight.push_back(std::min(caps[s], std::max(depth, textbook.front() + behind)));
              }
              options.patience = patience;
              options.alternate = alternate;
              options.fused = fused;
              offer(list_schedule(costs_, ranks_, rank_count_, options_.micro_batches, options));
            }
          }
        }
      }
    }
  }

  /// Tries one change at a random place. False when no rank has two actions.
  bool improve() {
    std::vector<std::size_t> busy;
    for (std::size_t rank = 0; rank < best_.compute.ranks.size(); ++rank) {
      if (best_.compute.ranks[rank].size() > 1) {
        busy.push_back(rank);
      }
    }
    if (busy.empty()) {
      return false;
    }
    // Not std::uniform_int_distribution, whose numbers differ between libraries.
    const auto below = [&](std::size_t count) { return static_cast<std::size_t>(engine_() % count); };
    for (int tries = 0; tries < 100; ++tries) {
      const std::size_t rank = busy[below(busy.size())];
      const std::size_t at = below(best_.compute.ranks[rank].size() - 1);
      Schedule changed = best_.compute;
      if (change(changed.ranks[rank], at)) {
        offer(changed, true);
        return true;
      }
    }
    return false;
  }

  /// Swaps, joins or splits at `at`; false where that would break an order.
  bool change(std::vector<Action>& row, std::size_t at) {
    Action& first = row[at];
    Action& second = row[at + 1];
    const bool same = first.stage == second.stage && first.micro_batch == second.micro_batch;
    if (same && first.op == Op::BackwardInput && second.op == Op::BackwardWeight) {
      first.op = Op::Backward;
      row.erase(row.begin() + static_cast<std::ptrdiff_t>(at) + 1);
      return true;
    }
    if (first.op == Op::Backward && engine_() % 2 == 0) {
      first.op = Op::BackwardInput;
      row.insert(row.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                 {Op::BackwardWeight, first.stage, first.micro_batch});
      return true;
    }
    if (first.stage == second.stage) {
      const auto order = [](Op op) { return op == Op::Forward ? 0 : op == Op::BackwardWeight ? 2 : 1; };
      const bool whole = first.op == Op::Backward || second.op == Op::Backward;
      const bool weights = whole && (first.op == Op::BackwardWeight || second.op == Op::BackwardWeight);
      if (same || weights || order(first.op) == order(second.op)) {
        return false;
      }
      // The forward of a micro-batch stays before its gradients: a swap of neighbours with different micro-batches
      // cannot break that.
    }
    std::swap(first, second);
    return true;
  }

  const PipelineCosts& costs_;
  std::span<const int> ranks_;
  int rank_count_;
  const TailorOptions& options_;
  std::mt19937_64 engine_;
  Tailored best_;
  std::int64_t lacks_ = 0;
};

}  // namespace

Tailored tailor_schedule(const PipelineCosts& costs, std::span<const int> ranks, int rank_count,
                         const TailorOptions& options) {
  if (!options.memory.empty() && options.memory.size() != static_cast<std::size_t>(rank_count)) {
    throw InputError::of("schedule: found memory of {} ranks, expected {} or none", options.memory.size(), rank_count);
  }
  return Tailor(costs, ranks, rank_count, options).run();
}

}  // namespace motley
