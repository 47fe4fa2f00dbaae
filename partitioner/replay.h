#pragma once

#include "motley/partitioner/price.h"

namespace motley {

/// Whether replay() may stand in for price(): 1F1B with depths that fall along the pipeline, one device a stage, no
/// recomputation, float32 on the wire at no cost to the computing, no network interface shared.
[[nodiscard]] bool can_replay(const Plan& plan, const Profile& profile);

/// price() for plans of many stages and micro-batches, to the last bit, without a list of actions. In wave k every
/// stage s runs F(k + w_s - 1), then the backwards B(k) run from the last stage to the first, so whatever an action
/// waits for is known when its turn comes: O(stages * micro_batches) time, about 10 ns an action, and O(stages) memory.
[[nodiscard]] Priced replay(const Plan& plan, const Profile& profile, bool clip);

}  // namespace motley
