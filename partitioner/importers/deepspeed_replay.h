#pragma once

#include <span>

#include "motley/base/units.h"

namespace motley {

/// One micro-batch on one stage.
struct StagePasses {
  Seconds forward;
  Seconds backward;
};

/// Time of one 1F1B iteration's passes and messages as DeepSpeed orders them (its TrainSchedule; Sailor, SOSP 2025, ran
/// its validation plans on it). Unlike Motley's engine it posts no receive ahead: before a forward a rank sends the
/// gradient of its last backward and then asks for the activation, before a backward it asks for the gradient and then
/// sends the activation of its last forward. These messages go through one stream a rank, in that order, so the two
/// directions between a pair of ranks take turns. A message starts when both ends have come to it; a pass waits for the
/// message that it needs, and for no message that it sends. With the messages free equal stages take the textbook's
/// time, others at least that.
///
/// `messages[s]`: one activation or one gradient between stages s and s + 1; one fewer than stages. O(stages *
/// micro_batches).
[[nodiscard]] Seconds deepspeed_iteration(std::span<const StagePasses> stages, std::span<const Seconds> messages,
                                          int micro_batches);

}  // namespace motley
