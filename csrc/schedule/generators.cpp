#include "motley/schedule/generators.h"

#include "motley/base/error.h"

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
  throw InputError::of("schedule: found \"{}\", expected \"1f1b\" or \"gpipe\"", name);
}

Schedule place(const Schedule& schedule, std::span<const int> ranks, int rank_count) {
  MOTLEY_CHECK(static_cast<int>(ranks.size()) == schedule.rank_count(), "{} ranks for {} rows", ranks.size(),
               schedule.rank_count());
  Schedule placed;
  placed.ranks.resize(static_cast<std::size_t>(rank_count));
  for (std::size_t stage = 0; stage < ranks.size(); ++stage) {
    if (ranks[stage] < 0 || ranks[stage] >= rank_count ||
        !placed.ranks[static_cast<std::size_t>(ranks[stage])].empty()) {
      throw InputError::of("schedule: stage {} on rank {}, expected distinct ranks from 0 to {}", stage, ranks[stage],
                           rank_count - 1);
    }
    placed.ranks[static_cast<std::size_t>(ranks[stage])] = schedule.ranks[stage];
  }
  return placed;
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
