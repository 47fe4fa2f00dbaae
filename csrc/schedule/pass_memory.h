#pragma once

#include <algorithm>
#include <cstdint>

#include "motley/schedule/action.h"
#include "motley/schedule/costs.h"

namespace motley {

/// What a pass changes of its rank's memory and micro-batches in flight when it starts and when it ends.
struct PassMemory {
  std::int64_t bytes_at_start = 0;
  std::int64_t bytes_at_end = 0;
  int flights_at_start = 0;
  int flights_at_end = 0;
};

/// Of a pass whose message in has `posted` bytes (of the gradient, of a B or I); a stage that `recomputes` keeps its
/// input alone from F on. What the pass sends is booked by its message. Nothing for other actions.
[[nodiscard]] inline PassMemory pass_memory(Op op, const StageCosts& cost, bool recomputes, Bytes posted) {
  // Before the pass the micro-batch holds `before` here, after it `after`.
  const auto change = [](Bytes before, Bytes peak, Bytes after, int flights_at_start, int flights_at_end) {
    const Bytes most = std::max({peak, before, after});
    return PassMemory{(most - before).value, (after - most).value, flights_at_start, flights_at_end};
  };
  switch (op) {
    case Op::Forward:
      return recomputes ? change(posted, cost.unsaved_peak, cost.input, 1, 0)
                        : change(posted, cost.forward_peak, cost.saved, 1, 0);
    case Op::Recompute:
      return change(cost.input, cost.forward_peak, cost.saved, 0, 0);
    case Op::Backward:
      return change(cost.saved + posted, cost.backward_peak, Bytes{}, 0, -1);
    case Op::BackwardInput:
      return change(cost.saved + posted, cost.backward_input_peak, cost.queued, 0, 0);
    case Op::BackwardWeight:
      return change(cost.queued, cost.backward_weight_peak, Bytes{}, 0, -1);
    default:
      return {};
  }
}

}  // namespace motley
