#include "motley/base/error.h"
#include "motley/schedule/generators.h"

namespace motley {

Schedule gpipe(int stages, int micro_batches) {
  Schedule schedule = forward_only(stages, micro_batches);
  for (int stage = 0; stage < stages; ++stage) {
    for (int micro_batch = 0; micro_batch < micro_batches; ++micro_batch) {
      schedule.ranks[static_cast<std::size_t>(stage)].push_back({Op::Backward, stage, micro_batch});
    }
  }
  return schedule;
}

}  // namespace motley
