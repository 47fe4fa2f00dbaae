#include "motley/report/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "motley/base/error.h"
#include "motley/base/median.h"
#include "motley/schedule/simulate.h"

namespace motley {
namespace {

constexpr std::size_t kWarmUpSteps = 2;  // fill caches and allocators

/// The value that a share of all are below.
double quantile(std::vector<double> values, double share) {
  if (values.empty()) {
    return 0.0;
  }
  std::ranges::sort(values);
  const auto place = static_cast<std::size_t>(share * static_cast<double>(values.size()));
  return values[std::min(place, values.size() - 1)];
}

std::vector<const RecordedStep*> settled(const RunData& run) {
  std::vector<const RecordedStep*> steps;
  for (const RecordedStep& step : run.steps) {
    if (step.step >= run.last_start) {
      steps.push_back(&step);
    }
  }
  if (steps.size() > 2 * kWarmUpSteps) {
    steps.erase(steps.begin(), steps.begin() + kWarmUpSteps);
  }
  return steps;
}

std::optional<RankShare> share_of(const std::vector<const RecordedStep*>& steps, std::size_t rank) {
  std::vector<double> busy, waiting, transfer;
  for (const RecordedStep* step : steps) {
    if (rank < step->ranks.size()) {
      busy.push_back(step->ranks[rank].busy.value);
      waiting.push_back(step->ranks[rank].waiting.value);
      transfer.push_back(step->ranks[rank].transfer.value);
    }
  }
  if (busy.empty()) {
    return std::nullopt;
  }
  return RankShare{Seconds{median(busy)}, Seconds{median(waiting)}, Seconds{median(transfer)}};
}

int rank_of(const Plan& plan, int stage) {
  return plan.stages[static_cast<std::size_t>(stage)].replicas.front().device;
}

void add_ranks(Analysis& analysis, const RunData& run, const std::vector<const RecordedStep*>& steps) {
  for (int s = 0; s < run.plan.stage_count(); ++s) {
    for (const Replica& replica : run.plan.stages[static_cast<std::size_t>(s)].replicas) {
      auto known = std::ranges::find(analysis.ranks, replica.device, &RankAnalysis::rank);
      if (known == analysis.ranks.end()) {
        RankAnalysis rank;
        rank.rank = replica.device;
        rank.device = fmt::format("rank {}", rank.rank);
        known = analysis.ranks.insert(analysis.ranks.end(), std::move(rank));
      }
      known->stages.push_back(s);
    }
  }
  for (RankAnalysis& rank : analysis.ranks) {
    const auto index = static_cast<std::size_t>(rank.rank);
    rank.measured = share_of(steps, index);
    if (rank.measured) {
      rank.busy.measured = rank.measured->busy;
    }
    if (index < run.peak_memory.size()) {
      rank.memory.measured = run.peak_memory[index];
    }
    if (run.profile) {
      rank.device = run.profile->cluster.devices.at(index).name;
      rank.limit = run.profile->cluster.devices.at(index).memory;
    }
    if (const auto& prediction = run.plan.prediction) {
      // A rank's stages share its memory, so a sum says nothing of its peak: only a simulation does.
      Seconds busy;
      for (const int stage : rank.stages) {
        busy += prediction->expected_busy_of(static_cast<std::size_t>(stage));
      }
      rank.busy.predicted = busy;
      if (rank.stages.size() == 1) {
        rank.memory.predicted = prediction->stage_memory.at(static_cast<std::size_t>(rank.stages.front()));
      }
    }
  }
}

void add_edges(Analysis& analysis, const RunData& run) {
  for (int s = 0; s + 1 < run.plan.stage_count(); ++s) {
    EdgeAnalysis edge{s, rank_of(run.plan, s), rank_of(run.plan, s + 1), {}};
    if (const auto& prediction = run.plan.prediction) {
      edge.time.predicted = prediction->edge_time.at(static_cast<std::size_t>(s));
    }
    // Replicas send at the same time, so the slowest counts.
    std::optional<Seconds> up, down;
    for (const RecordedSends& sends : run.sends) {
      std::optional<Seconds>* way = sends.kind == fmt::format("{}SEND_F", s)       ? &up
                                    : sends.kind == fmt::format("{}SEND_B", s + 1) ? &down
                                                                                   : nullptr;
      if (way != nullptr && sends.messages > 0) {
        *way = std::max(way->value_or(Seconds{}), sends.time / static_cast<double>(sends.messages));
      }
    }
    if (up || down) {
      edge.time.measured = up.value_or(Seconds{}) + down.value_or(Seconds{});
    }
    analysis.edges.push_back(edge);
  }
}

void add_links(Analysis& analysis, const RunData& run) {
  std::map<std::pair<int, int>, LinkAnalysis> links;
  for (const RecordedSends& sends : run.sends) {
    LinkAnalysis& link = links[{sends.from, sends.to}];
    link.from = sends.from;
    link.to = sends.to;
    link.messages += sends.messages;
    link.bytes += sends.bytes;
    link.time.measured = link.time.measured.value_or(Seconds{}) + sends.time;
    if (run.profile && sends.messages > 0) {
      const TransferCurve& curve =
          run.profile->cluster.links.at(static_cast<std::size_t>(sends.from)).at(static_cast<std::size_t>(sends.to));
      const Seconds one = curve.time(Bytes{sends.bytes.value / sends.messages});
      link.time.predicted = link.time.predicted.value_or(Seconds{}) + one * static_cast<double>(sends.messages);
    }
  }
  for (const auto& [ends, link] : links) {
    analysis.links.push_back(link);
  }
}

const char* name_of(Op op) {
  switch (op) {
    case Op::Forward:
      return "forward";
    case Op::Backward:
      return "backward";
    case Op::BackwardInput:
      return "input gradient";
    case Op::BackwardWeight:
      return "weight gradient";
    case Op::Recompute:
      return "recompute";
    case Op::Update:
      return "update";
    default:
      return nullptr;
  }
}

/// Durations by stage and operation.
std::map<std::pair<int, Op>, std::vector<double>> durations_of(const std::vector<TraceEvent>& events) {
  std::map<std::pair<int, Op>, std::vector<double>> durations;
  for (const TraceEvent& event : events) {
    if (event.category == "compute" || event.category == "update") {
      const Action action = parse_action(event.name);
      if (name_of(action.op) != nullptr) {
        durations[{action.stage, action.op}].push_back((event.end - event.start).value);
      }
    }
  }
  return durations;
}

void add_passes(Analysis& analysis) {
  const auto measured = durations_of(analysis.measured);
  const auto simulated = durations_of(analysis.simulated);
  for (const auto& [key, values] : measured) {
    PassAnalysis pass{key.first, name_of(key.second), values.size(), {}};
    pass.time.measured = Seconds{median(values)};
    if (const auto twin = simulated.find(key); twin != simulated.end()) {
      pass.time.predicted = Seconds{median(twin->second)};
    }
    analysis.passes.push_back(pass);
  }
}

/// Events of one process, the first at 0.
std::vector<TraceEvent> of_process(const std::vector<TraceEvent>& events, std::string_view process) {
  std::vector<TraceEvent> own;
  for (const TraceEvent& event : events) {
    if (event.process == process) {
      own.push_back(event);
    }
  }
  Seconds origin = own.empty() ? Seconds{} : own.front().start;
  for (const TraceEvent& event : own) {
    origin = std::min(origin, event.start);
  }
  for (TraceEvent& event : own) {
    event.start -= origin;
    event.end -= origin;
  }
  return own;
}

void add_simulation(Analysis& analysis, const RunData& run) {
  if (!run.profile) {
    return;
  }
  try {
    const Simulation simulation = simulate(schedule_of(run.plan, run.profile->cluster.size(), true),
                                           expected_costs_of(run.plan, *run.profile), {.events = true});
    for (RankAnalysis& rank : analysis.ranks) {
      rank.busy.predicted = simulation.busy.at(static_cast<std::size_t>(rank.rank));
      rank.memory.predicted = simulation.peak_memory.at(static_cast<std::size_t>(rank.rank));
    }
    if (!analysis.iteration.predicted) {
      analysis.iteration.predicted = simulation.iteration;
    }
    for (const Event& event : simulation.events) {
      const bool transfer = event.to >= 0;
      analysis.simulated.push_back(
          {to_string(event.action),
           transfer                        ? "transfer"
           : event.action.op == Op::Update ? "update"
                                           : "compute",
           "simulated",
           transfer ? fmt::format("rank {} to {}", event.rank, event.to) : fmt::format("rank {}", event.rank),
           event.start, event.end});
    }
  } catch (const InputError& error) {
    // A plan of a kind that has no price yet still ran; the report is about that run.
    analysis.note += fmt::format("{}The plan is not simulated: {}.", analysis.note.empty() ? "" : " ", error.what());
  }
}

}  // namespace

Analysis analyse(const RunData& run) {
  Analysis analysis;
  analysis.note = run.note;
  analysis.samples = run.plan.micro_batch_size * run.plan.micro_batches;
  const std::vector<const RecordedStep*> steps = settled(run);
  analysis.settled_steps = static_cast<std::int64_t>(steps.size());
  std::vector<double> walls;
  for (const RecordedStep* step : steps) {
    walls.push_back(step->wall.value);
  }
  if (!walls.empty()) {
    analysis.iteration.measured = Seconds{median(walls)};
    analysis.quick_iteration = Seconds{quantile(walls, 0.1)};
    analysis.slow_iteration = Seconds{quantile(walls, 0.9)};
  }
  if (run.plan.prediction) {
    analysis.iteration.predicted = run.plan.prediction->expected;
  }
  add_ranks(analysis, run, steps);
  add_simulation(analysis, run);
  analysis.measured = of_process(run.events, "measured");
  if (analysis.simulated.empty()) {
    analysis.simulated = of_process(run.events, "simulated");
  }
  if (!analysis.measured.empty()) {
    Seconds end;
    for (const TraceEvent& event : analysis.measured) {
      end = std::max(end, event.end);
    }
    analysis.traced_iteration = end;
  }
  Seconds busy;
  bool known = analysis.iteration.measured.has_value() && !analysis.ranks.empty();
  for (const RankAnalysis& rank : analysis.ranks) {
    known = known && rank.busy.measured;
    busy += rank.busy.measured.value_or(Seconds{});
  }
  if (known) {
    analysis.idle_share = 1.0 - busy / (*analysis.iteration.measured * static_cast<double>(analysis.ranks.size()));
  }
  add_passes(analysis);
  add_edges(analysis, run);
  add_links(analysis, run);
  return analysis;
}

}  // namespace motley
