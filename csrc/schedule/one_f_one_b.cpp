#include "motley/schedule/generators.h"

namespace motley {

Schedule one_f_one_b(int stages, int micro_batches, std::span<const int> warm_up) {
  Schedule schedule = forward_only(stages, micro_batches);  // checks the counts
  check_warm_up("1f1b", stages, warm_up);
  for (int stage = 0; stage < stages; ++stage) {
    const int depth = warm_up[static_cast<std::size_t>(stage)];
    std::vector<Action>& row = schedule.ranks[static_cast<std::size_t>(stage)];
    row.clear();
    int forwards = 0;
    int backwards = 0;
    while (backwards < micro_batches) {
      if (forwards < micro_batches && forwards - backwards < depth) {
        row.push_back({Op::Forward, stage, forwards++});
      } else {
        row.push_back({Op::Backward, stage, backwards++});
      }
    }
  }
  return schedule;
}

Schedule one_f_one_b(int stages, int micro_batches) {
  std::vector<int> depths;
  for (int stage = 0; stage < stages; ++stage) {
    depths.push_back(stages - stage);
  }
  return one_f_one_b(stages, micro_batches, depths);
}

}  // namespace motley
