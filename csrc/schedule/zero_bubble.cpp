#include <algorithm>

#include "motley/base/error.h"
#include "motley/schedule/generators.h"
#include "motley/schedule/list_schedule.h"

namespace motley {

Schedule zero_bubble(int stages, int micro_batches, std::span<const int> warm_up) {
  check_warm_up("zero-bubble", stages, warm_up);
  PipelineCosts costs;
  costs.stages.assign(static_cast<std::size_t>(stages), {});
  for (StageCosts& cost : costs.stages) {
    cost.forward = cost.backward_input = cost.backward_weight = Seconds{1.0};
  }
  costs.transfer = [](int, int, Bytes) { return Seconds{}; };
  std::vector<int> ranks;
  for (int stage = 0; stage < stages; ++stage) {
    ranks.push_back(stage);
  }
  ListOptions options;
  options.depth.assign(warm_up.begin(), warm_up.end());
  options.in_flight.assign(warm_up.size(), warm_up.front());
  options.alternate = true;
  return list_schedule(costs, ranks, stages, micro_batches, options);
}

}  // namespace motley
