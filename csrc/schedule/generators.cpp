#include "motley/schedule/generators.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "motley/base/error.h"
#include "motley/base/nearest.h"

namespace motley {

Schedule forward_only(int stages, int micro_batches) {
  if (stages < 1 || micro_batches < 1) {
    throw InputError::of("schedule: found {} stages and {} micro-batches, expected at least 1 of each", stages,
                         micro_batches);
  }
  Schedule schedule;
  for (int stage = 0; stage < stages; ++stage) {
    std::vector<Action>& row = schedule.ranks.emplace_back();
    for (int micro_batch = 0; micro_batch < micro_batches; ++micro_batch) {
      row.push_back({Op::Forward, stage, micro_batch});
    }
  }
  return schedule;
}

void check_warm_up(const std::string& schedule, int stages, std::span<const int> warm_up) {
  if (stages < 1 || warm_up.size() != static_cast<std::size_t>(stages)) {
    throw InputError::of("{}: found {} warm-up depths, expected {} (one a stage)", schedule, warm_up.size(), stages);
  }
  for (std::size_t stage = 0; stage < warm_up.size(); ++stage) {
    if (warm_up[stage] < 1 || (stage + 1 < warm_up.size() && warm_up[stage] < warm_up[stage + 1])) {
      throw InputError::of(
          "{}: warm-up depth of stage {} is {}, expected at least 1 and at least that of the next stage", schedule,
          stage, warm_up[stage]);
    }
  }
}

Schedule make_schedule(const std::string& name, int micro_batches, std::span<const int> warm_up) {
  const int stages = static_cast<int>(warm_up.size());
  if (name == "1f1b") {
    return one_f_one_b(stages, micro_batches, warm_up);
  }
  if (name == "gpipe") {
    return gpipe(stages, micro_batches);
  }
  if (name == "zero-bubble") {
    return zero_bubble(stages, micro_batches, warm_up);
  }
  throw InputError::of("schedule: found \"{}\", expected {}", name, one_of(name, {"1f1b", "zero-bubble", "gpipe"}));
}

Schedule place(const Schedule& schedule, std::span<const int> ranks, int rank_count) {
  MOTLEY_CHECK(static_cast<int>(ranks.size()) == schedule.rank_count(), "{} ranks for {} rows", ranks.size(),
               schedule.rank_count());
  Schedule placed;
  placed.ranks.resize(static_cast<std::size_t>(rank_count));
  for (std::size_t row = 0; row < ranks.size(); ++row) {
    if (ranks[row] < 0 || ranks[row] >= rank_count || !placed.ranks[static_cast<std::size_t>(ranks[row])].empty()) {
      throw InputError::of("schedule: row {} on rank {}, expected distinct ranks from 0 to {}", row, ranks[row],
                           rank_count - 1);
    }
    placed.ranks[static_cast<std::size_t>(ranks[row])] = schedule.ranks[row];
  }
  return placed;
}

namespace {

Schedule listed(const Plan& plan, std::span<const int> devices_of_stages, int devices) {
  Schedule schedule = parse_csv(fmt::format("{}\n", fmt::join(plan.actions, "\n")), "plan: actions");
  if (schedule.rank_count() > devices) {
    throw InputError::of("plan: actions: found {} rows, expected at most {} (one a device)", schedule.rank_count(),
                         devices);
  }
  schedule.ranks.resize(static_cast<std::size_t>(devices));
  const std::vector<int> owners = schedule.rank_of_stage();
  for (std::size_t s = 0; s < std::max(owners.size(), devices_of_stages.size()); ++s) {
    const int found = s < owners.size() ? owners[s] : -1;
    const int expected = s < devices_of_stages.size() ? devices_of_stages[s] : -1;
    if (found != expected) {
      throw InputError::of("plan: actions: stage {} is computed by device {}, in stages by device {} (-1: nowhere)", s,
                           found, expected);
    }
  }
  if (schedule.micro_batch_count() != plan.micro_batches) {
    throw InputError::of("plan: actions: found {} micro-batches, expected {}", schedule.micro_batch_count(),
                         plan.micro_batches);
  }
  return schedule;
}

}  // namespace

Schedule compute_schedule(const Plan& plan, int devices) {
  std::vector<int> warm_up;
  std::vector<int> of_stage;
  for (int s = 0; s < plan.stage_count(); ++s) {
    const StagePlan& stage = plan.stages[static_cast<std::size_t>(s)];
    warm_up.push_back(stage.warm_up > 0 ? stage.warm_up : plan.stage_count() - s);
    of_stage.push_back(stage.replicas.front().device);
  }
  const int micro_batches = static_cast<int>(plan.micro_batches);
  if (plan.schedule == "listed") {
    return listed(plan, of_stage, devices);
  }
  if (plan.schedule == "interleaved-1f1b") {
    const auto round = std::find(of_stage.begin() + 1, of_stage.end(), of_stage.front()) - of_stage.begin();
    const Schedule rows = interleaved_one_f_one_b(static_cast<int>(round), plan.stage_count(), micro_batches);
    return place(rows, std::span(of_stage).first(static_cast<std::size_t>(round)), devices);
  }
  return place(make_schedule(plan.schedule, micro_batches, warm_up), of_stage, devices);
}

Schedule with_updates(Schedule schedule, bool clip) {
  const std::vector<std::vector<int>> ranks_of = schedule.ranks_of_stage();
  const auto append = [&](Op op, bool only_replicas) {
    for (std::size_t stage = 0; stage < ranks_of.size(); ++stage) {
      for (const int rank : ranks_of[stage]) {
        if (!only_replicas || ranks_of[stage].size() > 1) {
          schedule.ranks[static_cast<std::size_t>(rank)].push_back({op, static_cast<int>(stage)});
        }
      }
    }
  };
  append(Op::ReduceGradient, true);
  if (clip) {
    append(Op::Norm, false);
  }
  append(Op::Update, false);
  return schedule;
}

}  // namespace motley
