#include <algorithm>

#include "motley/base/error.h"
#include "motley/schedule/lowering.h"

namespace motley {

Schedule replicate(Schedule schedule, const Shares& shares) {
  for (const std::vector<Share>& stage : shares) {
    const std::vector<Action> row = schedule.ranks.at(static_cast<std::size_t>(stage.front().rank));
    for (auto replica = stage.begin() + 1; replica != stage.end(); ++replica) {
      std::vector<Action>& target = schedule.ranks.at(static_cast<std::size_t>(replica->rank));
      if (!target.empty() && target != row) {
        throw InputError::of("schedule: rank {} has other stages than rank {}, of which it is a replica", replica->rank,
                             stage.front().rank);
      }
      target = row;
    }
  }
  return schedule;
}

Schedule with_recompute(Schedule schedule, const std::vector<bool>& recompute) {
  if (std::find(recompute.begin(), recompute.end(), true) == recompute.end()) {
    return schedule;
  }
  for (std::vector<Action>& row : schedule.ranks) {
    std::vector<Action> longer;
    for (Action& action : row) {
      const std::vector<Action> parts = action.op == Op::OverlapForwardBackward ? action.parts : std::vector{action};
      for (const Action& part : parts) {
        if ((part.op == Op::Backward || part.op == Op::BackwardInput) &&
            recompute.at(static_cast<std::size_t>(part.stage))) {
          longer.push_back({Op::Recompute, part.stage, part.micro_batch});
        }
      }
      longer.push_back(std::move(action));
    }
    row = std::move(longer);
  }
  return schedule;
}

}  // namespace motley
