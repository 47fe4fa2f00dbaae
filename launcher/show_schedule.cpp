#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "motley/launcher/show.h"
#include "motley/schedule/lowering.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

constexpr std::size_t kWidest = 110;  // ticks in a line

/// F = I = W = 1, B = 2, transfers free: what a schedule's own shape costs.
PipelineCosts one_tick_a_pass(int stages) {
  StageCosts cost;
  cost.forward = cost.backward_input = cost.backward_weight = Seconds{1.0};
  cost.backward = Seconds{2.0};
  PipelineCosts costs;
  costs.stages.assign(static_cast<std::size_t>(stages), cost);
  costs.transfer = [](int, int, Bytes) { return Seconds{0.0}; };
  return costs;
}

char letter_of(const Action& action) {
  switch (action.op) {
    case Op::Forward:
      return static_cast<char>('0' + action.micro_batch % 10);  // the last digit is enough to follow it
    case Op::BackwardWeight:
      return 'w';
    case Op::OverlapForwardBackward:
      return '#';
    default:
      return 'b';
  }
}

}  // namespace

std::string in_words(const Schedule& schedule) {
  std::string text = fmt::format("schedule: {} ranks, {} stages, {} micro-batches\n", schedule.rank_count(),
                                 schedule.stage_count(), schedule.micro_batch_count());
  const std::vector<Problem> problems = validate(schedule);
  for (const Problem& problem : problems) {
    text += "problem: " + problem.message + '\n';
  }
  if (std::any_of(problems.begin(), problems.end(),
                  [](const Problem& problem) { return problem.kind != Problem::Kind::WeightOrder; })) {
    return text;
  }
  const Simulation simulation = simulate(schedule, one_tick_a_pass(schedule.stage_count()), {.events = true});
  const auto ticks = static_cast<std::size_t>(std::lround(simulation.iteration.value));
  text += fmt::format("F = I = W = 1, B = 2, free transfers: {} ticks, bubble {:.1f} %\n", ticks,
                      simulation.bubble_share * 100);
  for (int rank = 0; rank < schedule.rank_count(); ++rank) {
    std::string line(std::min(ticks, kWidest), '.');
    for (const Event& event : simulation.events) {
      if (event.rank != rank || event.to >= 0) {
        continue;
      }
      const auto end = std::min(static_cast<std::size_t>(event.end.value), line.size());
      for (auto tick = static_cast<std::size_t>(event.start.value); tick < end; ++tick) {
        line[tick] = letter_of(event.action);
      }
    }
    text += fmt::format("  rank {:<3} {}{}  at most {} in flight\n", rank, line, ticks > kWidest ? "..." : "",
                        simulation.peak_in_flight[static_cast<std::size_t>(rank)]);
  }
  return text + "  (digit: forward of that micro-batch, b: backward, w: weight gradient, #: both at once, .: idle)\n";
}

}  // namespace motley
